"""Members that decide apart and talk now and then: they agree in the end, and nothing is replaced or revived."""

import random
from dataclasses import dataclass, field

import pytest

from saltext_logilab.masters.journal import Journal
from saltext_logilab.masters.keydirs import Held
from saltext_logilab.masters.keys import effect
from saltext_logilab.masters.kinds import chain, verify
from saltext_logilab.masters.reconcile import Applied, decided, is_settled, local_changes, steps, yielding
from saltext_logilab.masters.records import State
from tests.support.groups import unite
from tests.support.minion_keys import IDENTITIES, KEYS

IDS = ["web1", "web2"]


@dataclass
class Site:
    """A member without its engine: a journal and a key store in memory."""

    journal: Journal
    store: dict[str, Held] = field(default_factory=dict)
    taken_away: list[tuple[str, str, str]] = field(default_factory=list)

    def round(self) -> None:
        """Do what a round of the engine does, over everything."""
        applied, records = self.journal.applied(), self.journal.records()
        changes = local_changes(self.store, applied, records)
        given = [one for one in changes if yielding(one, records.get(one.subject, ()), fresh=False)]
        shown = {one.subject: Applied(one.state, one.fingerprint, {}) for one in given}
        self.journal.set_applied(shown)
        applied.update(shown)
        changes = [one for one in changes if one not in given]
        if changes:
            applied.update(self.journal.originate(changes, at=1))
        records = self.journal.records()
        done: dict[str, Applied] = {}
        for step in steps(records, self.store, applied, records):
            before = decided(self.store.get(step.subject))
            if step.put:
                self.store[step.subject] = Held(step.put[0].value, step.put[1])
                if before and before[0] is State.ACCEPTED and before[1] != step.put[1]:
                    self.taken_away.append((step.subject, before[1].fingerprint, step.put[1].fingerprint))
            elif step.remove:
                del self.store[step.subject]
            done[step.subject] = step.applied
        self.journal.set_applied(done)

    def pull(self, other: "Site") -> None:
        """Take everything from ``other``, as a link does."""
        members = self.journal.group().publics()
        pairs = list(other.journal.beyond(self.journal.frontier()))
        received = [verify(*pair, members) for pair in pairs]
        self.journal.merge([one for one in received if one], other.journal.frontier())

    def act(self, chance: random.Random) -> None:
        """Do what an operator does with salt-key."""
        subject, key = chance.choice(IDS), chance.choice(KEYS)
        held = self.store.get(subject)
        action = chance.choice(["accept", "reject", "delete"])
        if action == "delete":
            self.store.pop(subject, None)
        elif held is None or held.state == "pending":
            self.store[subject] = Held("accepted" if action == "accept" else "rejected", key)
        else:
            self.store[subject] = Held("accepted" if action == "accept" else "rejected", held.key)


@pytest.fixture
def sites(tmp_path):
    """Three members that know each other."""
    made = [Site(Journal(tmp_path / f"{n}.db", identity)) for n, identity in enumerate(IDENTITIES)]
    unite([site.journal for site in made])
    yield made
    for site in made:
        site.journal.close()


def anew(founder, path):
    """A journal of the third member that was lost, and knows only who is in the group."""
    journal = Journal(path, IDENTITIES[2])
    journal.enter(founder.identity.public)
    journal.merge(chain(founder.identity.public, founder.beyond({}, "member")), {})
    return journal


def heal(sites):
    """Let everybody talk with everybody until nothing changes any more."""
    for _ in range(4):
        for site in sites:
            site.round()
        for site in sites:
            for other in sites:
                if other is not site:
                    site.pull(other)
    for site in sites:
        site.round()


@pytest.mark.parametrize(
    "seed", [*range(40), *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(40, 1000))]
)
def test_members_agree_after_every_history(sites, seed):
    """After any history of decisions and partial syncs the members hold the same records and the same keys."""
    chance = random.Random(seed)
    for _ in range(chance.randrange(5, 40)):
        site = chance.choice(sites)
        what = chance.random()
        if what < 0.5:
            site.act(chance)
        elif what < 0.8:
            site.round()
        else:
            site.pull(chance.choice([one for one in sites if one is not site]))
    heal(sites)
    assert len({site.journal.digest() for site in sites}) == 1
    for subject in sites[0].journal.records():
        means = effect(sites[0].journal.records([subject])[subject])
        shown = [decided(site.store.get(subject)) for site in sites]
        if means.state is None:
            decisions = {(one.state, one.fingerprint) for one in means.rivals}
            assert all(one is None or (one[0], one[1].fingerprint) in decisions for one in shown)
        elif means.state is State.DELETED:
            assert shown == [None] * len(sites)
        else:
            assert [(one[0], one[1].fingerprint) for one in shown if one] == [(means.state, means.fingerprint)] * 3
    assert all(
        is_settled(site.store.get(subject), site.journal.applied().get(subject)) for site in sites for subject in IDS
    )


def test_a_key_accepted_on_one_is_accepted_on_all(sites):
    """The ordinary case."""
    sites[0].store["web1"] = Held("accepted", KEYS[0])
    sites[1].store["web1"] = Held("pending", KEYS[0])
    heal(sites)
    assert [site.store["web1"] for site in sites] == [Held("accepted", KEYS[0])] * 3


def test_what_was_deleted_while_a_member_was_away_stays_deleted(sites):
    """A member that comes back with the key does not revive it."""
    sites[0].store["web1"] = Held("accepted", KEYS[0])
    heal(sites)
    del sites[0].store["web1"]
    heal(sites[:2])
    assert "web1" in sites[2].store
    heal(sites)
    assert all("web1" not in site.store for site in sites)


def test_a_member_that_lost_its_journal_revives_nothing(sites, tmp_path):
    """A journal that was lost: what its store still has is weaker than what the peers know."""
    sites[0].store["web1"] = Held("accepted", KEYS[0])
    heal(sites)
    del sites[0].store["web1"]
    heal(sites[:2])
    sites[2].journal = anew(sites[0].journal, tmp_path / "new.db")
    heal(sites)
    assert all("web1" not in site.store for site in sites)


def test_different_keys_under_one_id_replace_nobody(sites):
    """Two members that accept different keys keep them; one that has neither takes neither; a delete ends it."""
    sites[0].store["web1"] = Held("accepted", KEYS[0])
    sites[1].store["web1"] = Held("accepted", KEYS[1])
    heal(sites)
    assert [site.store.get("web1") for site in sites] == [Held("accepted", KEYS[0]), Held("accepted", KEYS[1]), None]
    del sites[1].store["web1"]
    heal(sites)
    assert [site.store.get("web1") for site in sites] == [Held("accepted", KEYS[0])] * 3


def test_a_reinstalled_minion_is_accepted_everywhere(sites):
    """Delete, then a new key under the same id, in one batch and from another member."""
    sites[0].store["web1"] = Held("accepted", KEYS[0])
    heal(sites)
    sites[1].store["web1"] = Held("accepted", KEYS[1])  # deleted and accepted anew between two readings
    heal(sites)
    assert [site.store.get("web1") for site in sites] == [Held("accepted", KEYS[1])] * 3


def test_a_damaged_file_is_no_delete(sites):
    """A file that is no key is written anew, and nothing is deleted elsewhere."""
    sites[0].store["web1"] = Held("accepted", KEYS[0])
    heal(sites)
    sites[1].store["web1"] = Held("damaged", None)
    heal(sites)
    assert [site.store.get("web1") for site in sites] == [Held("accepted", KEYS[0])] * 3


def test_a_lost_accept_that_was_deleted_elsewhere_is_deleted(sites):
    """A key that stands in two places follows what others decide, as any other."""
    sites[0].store["web1"] = Held("accepted", KEYS[0])
    heal(sites)
    sites[1].store["web1"] = Held("accepted", KEYS[0], doubled=True)
    del sites[0].store["web1"]
    heal(sites)
    assert all("web1" not in site.store for site in sites)


def test_an_accepted_key_taken_back_is_rejected_everywhere(sites):
    """Accepted, rejected, accepted again: each follows the last decision."""
    for state in ("accepted", "rejected", "accepted"):
        sites[0].store["web1"] = Held(state, KEYS[0])
        heal(sites)
        assert [site.store.get("web1") for site in sites] == [Held(state, KEYS[0])] * 3
