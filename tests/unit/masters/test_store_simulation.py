"""
Members that meet only in a store which forgets, goes back in time and tells nothing: they agree in the end.

The store is a dictionary: what a hostile one may do at any moment is done here without waiting for a server. The same
members run over real ones in ``tests/functional/masters``.
"""

import asyncio
import random
import shutil

import pytest

from saltext_logilab.masters.journal import FRESH, Journal
from saltext_logilab.masters.keydirs import Held
from saltext_logilab.masters.keys import effect
from saltext_logilab.masters.kinds import chain
from saltext_logilab.masters.stores.backend import ChangedError
from saltext_logilab.masters.stores.carrier import Hooks, StoreCarrier
from tests.support.groups import unite
from tests.support.minion_keys import IDENTITIES, KEYS
from tests.unit.masters.test_convergence import Site

SAMPLE = [*range(10), 959]  # the last one has found that a run of a member was taken for over that was not
MANY = [one for one in range(1000) if one not in SAMPLE]


class Memory:
    """A store in memory; ``lying`` are heads by member, and parts by member, log and number."""

    place = "memory"

    def __init__(self, lying):
        self.lying = lying

    async def heads(self):
        """Return the heads."""
        return {name[0]: content for name, content in self.lying.items() if len(name) == 1}

    async def parts(self, member, log, after):
        """Return the parts behind a number, two at a time."""
        found = [(name[2], content) for name, content in self.lying.items() if name[:2] == (member, log)]
        return sorted(one for one in found if one[0] > after)[:2]

    async def count(self, member, log):
        """Return the number of parts."""
        return sum(name[:2] == (member, log) for name in self.lying)

    async def write(self, member, log, parts, head, before):
        """Write all, when the head is the expected one."""
        if before and self.lying.get((member,)) != before:
            raise ChangedError("another head")
        self.lying.update({(member, log, number): content for number, content in parts})
        self.lying[(member,)] = head

    async def clean(self, member, keep):
        """Remove other logs."""
        for name in [
            one for one in self.lying if one[0] == member and (not keep or (len(one) == 3 and one[1] != keep))
        ]:
            del self.lying[name]

    def check(self):
        """Nothing is watched here."""


class Stored(Site):
    """A member that meets the others in a store only."""

    is_lost = False

    def begin(self):
        """Start the member's program."""
        self.carrier = StoreCarrier(
            self.journal, {}, Hooks(lambda _: None, lambda: None, lambda *_: None), lambda _: None
        )

    async def meet(self, lying):
        """Connect to the store, look at it, take what is new and write what is lacking."""
        store = Memory(lying)
        self.carrier._said_at = float("-inf")  # no waiting here: an acknowledgement is written at once
        self.carrier._duty.lacking = dict.fromkeys(self.journal.frontier(), float("-inf"))
        await self.carrier._look(store)
        await self.carrier._turn(store)

    def work(self):
        """Do a round, unless the journal is new and nobody was heard yet."""
        if self.journal.note(FRESH):
            if not self.carrier.has_compared():
                return
            self.journal.set_note(FRESH, b"")
        self.round()
        self.journal.collect()


@pytest.fixture
def sites(tmp_path):
    """Three members that know each other."""
    made = [Stored(Journal(tmp_path / f"{n}.db", identity)) for n, identity in enumerate(IDENTITIES)]
    unite([site.journal for site in made])
    for site in made:
        site.begin()
    yield made
    for site in made:
        site.journal.close()


async def heal(sites, lying):
    """Let everybody look into the store and work until nothing changes any more."""
    for _ in range(8):
        for site in sites:
            await site.meet(lying)
            site.work()


def decided(site):
    """Return what the records of ``site`` mean."""
    found = {one: effect(known) for one, known in site.journal.records().items()}
    return {
        one: (means.state.value, means.fingerprint)
        if means.state
        else sorted(each.fingerprint for each in means.rivals)
        for one, means in found.items()
        if means.state is None or means.state.value != "deleted"
    }


def disturb(chance, sites, lying, kept, folder):
    """Let the store, or one member, be set back or lost, but never all members; return a member."""
    victim = chance.choice(sites)
    what = chance.choice(["empty", "older", "parts", "restart", "lost", "lost and older"])
    if what == "empty":
        lying.clear()
    if "older" in what:
        lying.clear()
        lying.update(chance.choice(kept))
    if what == "parts":
        for name in [one for one in lying if len(one) == 3 and chance.random() < 0.5]:
            del lying[name]
    others = [one for one in sites if one is not victim]
    if "lost" in what and not all(one.is_lost for one in others):
        lose(victim, others[0], folder / f"new{chance.random()}.db")
    elif what == "restart":
        victim.begin()
    return victim


def lose(victim, other, path):
    """Let ``victim`` lose its journal and its keys; it knows only who is in the group."""
    identity = victim.journal.identity
    victim.journal.close()
    victim.journal = Journal(path, identity)
    victim.journal.enter(other.journal.founder)
    victim.journal.merge(chain(other.journal.founder, other.journal.beyond({}, "member")), {})
    victim.journal.set_note(FRESH, b"due")
    victim.store, victim.is_lost = {}, True
    victim.begin()


@pytest.mark.parametrize("seed", [*SAMPLE, *(pytest.param(one, marks=pytest.mark.soak) for one in MANY)])
def test_nothing_is_lost_or_undone(sites, tmp_path, seed):
    """After any history all agree; and after anything that befalls the store, they agree on the same as before."""
    chance, lying, kept = random.Random(seed), {}, [{}]

    async def story():
        for _ in range(chance.randrange(5, 40)):
            site, what = chance.choice(sites), chance.random()
            if what < 0.4:
                site.act(chance)
            elif what < 0.6:
                site.work()
            elif what < 0.85:
                await site.meet(lying)
            elif what < 0.92:
                site.carrier._writer.begin()  # a new log, as when it has grown
            else:
                kept.append(dict(lying))
        await heal(sites, lying)
        assert len({site.journal.digest() for site in sites}) == 1
        before = decided(sites[0])
        assert all(decided(site) == before for site in sites)
        kept.append(dict(lying))
        for _ in range(3):
            victim = disturb(chance, sites, lying, kept, tmp_path)
            if chance.random() < 0.5:
                await victim.meet(lying)
                victim.work()
            for _ in range(chance.randrange(6)):
                site = chance.choice(sites)
                await site.meet(lying)
                site.work()
        await heal(sites, lying)
        assert [decided(site) for site in sites] == [before] * len(sites)

    asyncio.run(story())


async def deleted(sites, lying):
    """Let the first member accept a key and the second delete it, till nothing tells of it but old logs; give one."""
    sites[0].store["web1"] = Held("accepted", KEYS[0])
    await heal(sites, lying)
    old = dict(lying)
    del sites[1].store["web1"]
    await heal(sites, lying)
    assert [site.journal.counts()["deleted"] for site in sites] == [0, 0, 0]
    sites[1].carrier._writer.begin()
    await heal(sites, lying)
    return old


def test_a_new_journal_takes_nothing_out_of_an_old_store(sites, tmp_path):
    """Nobody is there, and the store shows what was once so: a key that was deleted since is not accepted by that."""
    lying = {}

    async def story():
        old = await deleted(sites, lying)
        lose(sites[2], sites[0], tmp_path / "new.db")
        lying.clear()
        lying.update(old)
        await sites[2].meet(lying)
        sites[2].work()
        assert (sites[2].journal.records(), sites[2].store) == ({}, {})
        await heal(sites, lying)
        assert [decided(site) for site in sites] == [{}, {}, {}]

    asyncio.run(story())


def test_a_new_journal_takes_nothing_that_is_no_more(sites, tmp_path):
    """A key's record still lies in the log of who has accepted it, its tombstone nowhere: it is not revived."""
    lying = {}

    async def story():
        await deleted(sites, lying)
        lose(sites[2], sites[0], tmp_path / "new.db")
        await heal(sites, lying)
        assert [decided(site) for site in sites] == [{}, {}, {}]
        assert sites[2].store == {}

    asyncio.run(story())


def test_a_member_out_of_a_backup_takes_everything_anew(sites, tmp_path):
    """It sees its own later word in the store: also when no other member is there it revives nothing."""
    lying = {}

    async def story():
        sites[0].act(random.Random(1))
        await heal(sites, lying)
        shutil.copy(tmp_path / "2.db", tmp_path / "backup.db")
        number = sites[2].journal.number
        for seed in range(12):
            sites[0].act(random.Random(seed))
            await heal(sites, lying)
        sites[2].journal.close()
        sites[2].journal = Journal(tmp_path / "backup.db", IDENTITIES[2])
        sites[2].begin()
        if sites[2].journal.number == number:
            await sites[2].meet(lying)
            assert sites[2].journal.note(FRESH)
        await heal(sites, lying)
        assert decided(sites[2]) == decided(sites[0])

    asyncio.run(story())
