"""
A simulated group under all kinds of misfortune, by a seed: whatever happens, it agrees in the end, and rightly.

Members decide at random, talk with each other over links that lose, repeat and cut off, lose their journals or get old
ones back, drop tombstones, and are killed in between. All decisions are noted as they are made; at the end they say
which keys must be accepted and which must not.
"""

from __future__ import annotations

import logging
import random
import shutil
from pathlib import Path
from unittest import mock

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from saltext_logilab.identity import Identity
from saltext_logilab.masters.journal import FRESH, Journal
from saltext_logilab.masters.keydirs import Held
from saltext_logilab.masters.keys import KIND, Key, effect
from saltext_logilab.masters.kinds import chain, verify
from saltext_logilab.masters.reconcile import Applied, Change, decided, local_changes, orphans, steps, yielding
from saltext_logilab.masters.records import Record, State, join, member_id
from tests.support.groups import unite

log = logging.getLogger(__name__)

IDS = ["web1", "web2", "web3"]
MASTERS = [Identity(Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)) for number in range(3)]
KEYS = [Key(f"-----BEGIN PUBLIC KEY-----\n{letter * 64}\n-----END PUBLIC KEY-----\n") for letter in "ABC"]
SAMPLE = 25
FOUND = (10330, 20231, 20296)  # once ended wrongly
MANY = 5000


class Member:
    """A member without its engine: a journal, a key store in memory, and what it has not been told yet."""

    def __init__(self, folder: Path, number: int) -> None:
        self.identity = MASTERS[number]
        self.path = folder / f"{number}.db"
        self.journal = Journal(self.path, self.identity)
        self.store: dict[str, Held] = {}
        self.compared = True
        self.backup = folder / f"{number}.backup"

    @property
    def short(self) -> bytes:
        return member_id(self.identity.public)

    def reopen(self) -> None:
        """Be killed, and start again."""
        self.journal.close()
        self.journal = Journal(self.path, self.identity)

    def save(self) -> None:
        """Make a backup of the journal."""
        self.journal.close()
        shutil.copy(self.path, self.backup)
        self.journal = Journal(self.path, self.identity)


class World:
    """The members, and all that was ever decided."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.members = [Member(folder, number) for number in range(len(MASTERS))]
        unite([one.journal for one in self.members])
        self.founder = MASTERS[0].public
        self.decisions: dict[tuple[bytes, int], Record] = {}
        self.replaced: list[tuple[str, str]] = []

    # -- what a round of the engine does -------------------------------------------------------------------------------

    def round(self, member: Member) -> None:
        """Do what a round over everything does."""
        journal = member.journal
        fresh = bool(journal.note(FRESH))
        if fresh and not member.compared:
            return
        changes = self.changes(member, fresh=fresh)
        if changes:
            journal.originate(changes, at=1)
            self.note(journal)
        known = journal.records()
        plan = steps(known, member.store, journal.applied(), known)
        alone = journal.applied().keys() - known.keys()
        gone, unheard = orphans(alone, journal.applied(), journal.frontier(), journal.group().permits)
        journal.forget_applied(unheard)
        done = {}
        for step in [*plan, *gone]:
            before = decided(member.store.get(step.subject))
            if step.put:
                member.store[step.subject] = Held(step.put[0].value, step.put[1])
                if before and before[0] is State.ACCEPTED and before[1] != step.put[1]:
                    self.replaced.append((step.subject, before[1].fingerprint))
            elif step.remove:
                member.store.pop(step.subject, None)
            done[step.subject] = step.applied
            if self.chance.random() < 0.02:  # killed before it was noted
                return
        journal.set_applied(done)
        journal.collect()

    @staticmethod
    def changes(member: Member, *, fresh: bool) -> list[Change]:
        """Return what was decided here; the operator, asked about keys that the group does not know, removes them."""
        journal, known = member.journal, member.journal.records()
        changes = local_changes(member.store, journal.applied(), known)
        given = [one for one in changes if yielding(one, known.get(one.subject, ()), fresh=fresh)]
        journal.set_applied({one.subject: Applied(one.state, one.fingerprint, {}) for one in given})
        changes = [one for one in changes if one not in given]
        if fresh:
            for one in changes:
                if not one.lost:
                    member.store.pop(one.subject, None)
            journal.set_note(FRESH, b"")
            return [one for one in changes if one.lost]
        return changes

    def note(self, journal: Journal) -> None:
        """Note what was decided."""
        for known in journal.records().values():
            self.decisions.update({one.dot: one for one in known})

    # -- what goes over a link -----------------------------------------------------------------------------------------

    def sync(self, member: Member, other: Member, *, whole: bool = False) -> None:
        """Let ``member`` say what it has, and take what ``other`` sends; on a bad link a part, or twice."""
        mine, theirs = member.journal, other.journal
        number, frontier = mine.number, mine.frontier()
        if not theirs.acknowledge(member.short, number, frontier, 1):
            mine.reset()
            member.compared = False
            return
        if theirs.frontier().get(mine.origin, 0) == frontier.get(mine.origin, 0):
            mine.confirm()
        differs = frontier == theirs.frontier() and mine.digest() != theirs.digest()
        pairs = list(theirs.beyond({} if differs else frontier))
        received = [one for pair in pairs if (one := verify(*pair, mine.group().publics()))]
        if not whole and self.chance.random() < 0.3:
            mine.merge(self.chance.sample(received, self.chance.randrange(len(received) + 1)), {}, repair=differs)
            return
        for _ in range(1 + (self.chance.random() < 0.2)):
            mine.merge(received, theirs.frontier(), repair=differs)
        member.compared = True

    # -- what happens --------------------------------------------------------------------------------------------------

    def decide(self, member: Member) -> None:
        """Do what an operator does."""
        subject, key = self.chance.choice(IDS), self.chance.choice(KEYS)
        held = member.store.get(subject)
        what = self.chance.choice(["accept", "accept", "reject", "delete", "resolve"])
        if what == "resolve":
            known = member.journal.records([subject]).get(subject, [])
            rivals = effect(known).rivals if known else ()
            if rivals:
                one = self.chance.choice(rivals)
                context = join(*(each.vector for each in known))
                change = Change(subject, one.state, one.fingerprint, one.value, context, settles=True)
                member.journal.originate([change], at=1, shown=False)
                self.note(member.journal)
        elif what == "delete":
            member.store.pop(subject, None)
        else:
            state = "accepted" if what == "accept" else "rejected"
            member.store[subject] = Held(state, held.key if held and held.key else key)

    def lose(self, member: Member) -> None:
        """Lose the journal, or get an old one back. What no other journal knows was never decided."""
        journal = member.journal
        self.note(journal)
        elsewhere = [one.journal.frontier() for one in self.members if one is not member]
        journal.close()
        if member.backup.exists():
            shutil.copy(member.backup, member.path)
            member.journal = Journal(member.path, member.identity)
        else:
            member.path.unlink()
            member.journal = Journal(member.path, member.identity)
            source = next(one for one in self.members if one is not member).journal
            member.journal.enter(self.founder)
            member.journal.merge(chain(self.founder, source.beyond({}, "member")), {})
            member.journal.set_note(FRESH, b"due")
            member.compared = False
        # An engine that starts first meets its peers: one that was set back learns so before it decides.
        for other in self.members:
            if other is not member:
                self.sync(member, other, whole=True)
        kept = {one.dot for known in member.journal.records().values() for one in known}
        for origin, counter in self.decisions.keys() - kept:
            if not any(one.get(origin, 0) >= counter for one in elsewhere):
                del self.decisions[origin, counter]

    def happen(self) -> None:
        """Let something happen."""
        member, other = self.chance.sample(self.members, 2)
        what = self.chance.random()
        if what < 0.35:
            self.decide(member)
        elif what < 0.60:
            self.round(member)
        elif what < 0.90:
            self.sync(member, other)
        elif what < 0.94:
            member.reopen()
        elif what < 0.97:
            member.save()
        else:
            self.lose(member)

    def heal(self) -> None:
        """Let everybody talk with everybody until nothing changes any more."""
        for _ in range(6):
            for member in self.members:
                self.round(member)
            for member in self.members:
                for other in self.members:
                    if member is not other:
                        self.sync(member, other, whole=True)
        for member in self.members:
            self.round(member)

    # -- what must be so -----------------------------------------------------------------------------------------------

    def violations(self) -> list[str]:
        """Return what is wrong."""
        found = []
        if len({one.journal.digest() for one in self.members}) != 1:
            found.append("different records")
        for subject in IDS:
            found += self.wrong(subject)
        for subject, fingerprint in self.replaced:
            about = [one for one in self.decisions.values() if one.subject == subject]
            if not any(one.settles or (one.fingerprint == fingerprint and one.state is State.DELETED) for one in about):
                found.append(f"{subject}: a key was replaced silently")
        return found

    def wrong(self, subject: str) -> list[str]:
        """Return what is wrong about one id."""
        shown = [decided(one.store.get(subject)) for one in self.members]
        accepted = [{one[1].fingerprint} if one and one[0] is State.ACCEPTED else set() for one in shown]
        known = self.members[0].journal.records([subject]).get(subject, [])
        conflict = bool(known) and effect(known).state is None  # it stands in the status: nothing happened silently
        found = [] if conflict or len({tuple(one) for one in accepted}) == 1 else [f"{subject}: {accepted}"]
        about = [one for one in self.decisions.values() if one.subject == subject]
        for key in KEYS:
            of_key = [one for one in about if one.fingerprint == key.fingerprint]
            denials = [one for one in of_key if one.state is not State.ACCEPTED]
            accepts = [one for one in of_key if one.state is State.ACCEPTED]
            if conflict:
                continue
            if any(key.fingerprint in one for one in accepted):
                if not all(any(one.knows(denial) for one in accepts) for denial in denials):
                    found.append(f"{subject}: a key was resurrected")
            elif any(self.stands(one, about) for one in accepts):
                found.append(f"{subject}: an accepted key was lost")
        return found

    @staticmethod
    def stands(accept: Record, about: list[Record]) -> bool:
        """Say whether nothing was ever decided against ``accept``, neither later nor at the same time."""
        against = [
            one
            for one in about
            if (one.settles and one.fingerprint != accept.fingerprint)
            or (one.fingerprint == accept.fingerprint and one.state is not State.ACCEPTED)
        ]
        return all(accept.knows(one) for one in against)


def simulate(folder: Path, seed: int) -> list[str]:
    """Let one world run, the same one for the same seed; return what is wrong in the end."""
    numbers = random.Random(seed)
    with mock.patch("secrets.token_bytes", numbers.randbytes):
        return _simulate(World(folder, seed))


def _simulate(world: World) -> list[str]:
    try:
        for _ in range(world.chance.randrange(10, 60)):
            world.happen()
        world.heal()
        return world.violations()
    finally:
        for member in world.members:
            member.journal.close()


@pytest.mark.parametrize("runs", [SAMPLE, pytest.param(MANY, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])])
def test_no_history_ends_wrongly(tmp_path: Path, runs: int) -> None:
    """Converged, no accepted key lost, no deleted key resurrected, no key replaced silently: for every seed."""
    wrong = {}
    for seed in (*range(runs), *FOUND):
        folder = tmp_path / str(seed)
        folder.mkdir()
        violations = simulate(folder, seed)
        if violations:
            wrong[seed] = violations
        shutil.rmtree(folder)
    log.info("%d runs, seeds 0 to %d and %s; wrong: %s", runs + len(FOUND), runs - 1, FOUND, wrong)
    assert wrong == {}


def test_the_simulation_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With tombstones dropped before all have them, a deleted key comes back, and the simulation sees it."""

    def careless(journal: Journal) -> int:
        with journal._transaction():
            rows = journal._db.execute("DELETE FROM records WHERE kind = ? AND state = 'deleted'", (KIND,)).rowcount
            journal._db.execute("DELETE FROM frontier WHERE origin NOT IN (SELECT origin FROM records)")
        return rows

    monkeypatch.setattr(Journal, "collect", careless)
    for seed in range(40):
        (tmp_path / str(seed)).mkdir()
        if simulate(tmp_path / str(seed), seed):
            return
    pytest.fail("40 histories without tombstones, and nothing was wrong")
