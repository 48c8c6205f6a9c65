"""
Members over each of the three carriers, the links between them, etcd and PostgreSQL: the same stories on all.

Where a store carries, the members cannot reach each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from saltext_logilab.masters.addresses import Address
from saltext_logilab.masters.settings import MastersSettings
from tests.support.minion_keys import KEYS
from tests.support.stores import KINDS, Store
from tests.unit.masters.test_members import Site, play, until

Play = Callable[..., None]

NOWHERE = Address("127.0.0.1", 1)


class StoreSite(Site):
    """A member that the others reach over a store only."""

    carried_by: Store

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(folder, name)
        self.listens, self.address = self.address, NOWHERE

    @property
    def settings(self) -> MastersSettings:
        """What its configuration says."""
        return MastersSettings(self.name, self.listens, self.state, address=NOWHERE, store=self.carried_by.settings())

    def told(self) -> dict[str, Any]:
        """What the health file says of the store."""
        return self.health().get("store") or {}


@pytest.fixture(params=["embedded", *KINDS])
def carry(request: pytest.FixtureRequest, tmp_path: Path, store_servers: Callable[[str], Store]) -> Play:
    """Return what plays a story with members over one carrier."""
    kind: type[Site] = Site
    if request.param != "embedded":
        kind = type("StoreSiteOf", (StoreSite,), {"carried_by": store_servers(request.param)})
    return lambda story, names=("paris", "nantes"): play(tmp_path, story, names, kind)


def test_a_key_goes_to_the_other_member_and_back(carry: Play) -> None:
    """Accepted on one, rejected on the other, deleted on the first."""

    async def story(paris: Site, nantes: Site) -> None:
        nantes.place("web1", KEYS[0], "minions_pre")
        paris.place("web1", KEYS[0])
        await until(lambda: nantes.accepted() == {"web1": KEYS[0]}, "accepted on nantes")
        (nantes.pki / "minions" / "web1").rename(nantes.pki / "minions_rejected" / "web1")
        await until(lambda: dict(paris.store.scan())["web1"].state == "rejected", "rejected on paris")
        await until(lambda: paris.around.forgotten == 1, "an accepted key was taken away")
        (paris.pki / "minions_rejected" / "web1").unlink()
        await until(lambda: dict(nantes.store.scan()) == {}, "deleted on nantes")
        assert nantes.around.forgotten == 0

    carry(story)


def test_a_member_that_was_away_learns_what_happened(carry: Play) -> None:
    """Killed, a key deleted and another one accepted meanwhile, started again: the deleted one does not come back."""

    async def story(paris: Site, nantes: Site) -> None:
        paris.place("web1", KEYS[0])
        await until(lambda: "web1" in nantes.accepted(), "accepted on nantes")
        await nantes.kill()
        paris.delete("web1")
        paris.place("web2", KEYS[1])
        await until(lambda: paris.journal.counts()["deleted"] == 1, "noted on paris")
        nantes.start()
        await until(lambda: nantes.accepted() == {"web2": KEYS[1]}, "nantes knows")

    carry(story)


def test_changes_on_both_sides_while_apart_are_all_kept(carry: Play) -> None:
    """Each side accepts while the other one is down."""

    async def story(paris: Site, nantes: Site) -> None:
        await nantes.kill()
        paris.place("web1", KEYS[0])
        await until(lambda: paris.journal.counts()["accepted"] == 1, "noted on paris")
        await paris.kill()
        nantes.place("web2", KEYS[1])
        nantes.start()
        paris.start()
        both = {"web1": KEYS[0], "web2": KEYS[1]}
        await until(lambda: paris.accepted() == nantes.accepted() == both, "both have both")

    carry(story)


def test_a_different_key_is_never_taken_over(carry: Play) -> None:
    """Two keys under one id at the same time: both masters keep theirs and report it; a delete ends it."""

    async def story(paris: Site, nantes: Site) -> None:
        await nantes.kill()
        paris.place("web1", KEYS[0])
        await until(lambda: paris.journal.counts()["accepted"] == 1, "noted on paris")
        nantes.place("web1", KEYS[1])
        nantes.start()
        for site in (paris, nantes):
            await until(lambda site=site: [one.kind for one in site.journal.reports()] == ["conflict"], "reported")
        assert (paris.accepted(), nantes.accepted()) == ({"web1": KEYS[0]}, {"web1": KEYS[1]})
        ((what, about),) = paris.around.told
        both = {KEYS[0].fingerprint, KEYS[1].fingerprint}
        assert (what, about["id"], set(about["fingerprints"])) == ("conflict", "web1", both)
        nantes.delete("web1")
        await until(lambda: nantes.accepted() == {"web1": KEYS[0]}, "the other key is taken then")
        await until(lambda: not paris.journal.reports() and not nantes.journal.reports(), "settled")

    carry(story)


def test_two_members_that_write_at_once_lose_nothing(carry: Play) -> None:
    """Each accepts many keys, one after another, while the other one does."""

    async def story(paris: Site, nantes: Site) -> None:
        for number in range(60):
            paris.place(f"paris{number}", KEYS[0])
            nantes.place(f"nantes{number}", KEYS[1])
            await asyncio.sleep(0)
        for site in (paris, nantes):
            await until(lambda site=site: len(site.accepted()) == 120, "all on both")
        await until(lambda: paris.journal.digest() == nantes.journal.digest(), "the same records")

    carry(story)


def test_many_keys_come_in_parts(carry: Play) -> None:
    """More records than one message or part holds arrive all."""

    async def story(paris: Site, nantes: Site) -> None:
        for number in range(1200):
            (paris.pki / "minions" / f"web{number}").write_text(KEYS[number % 3].pem)
        await until(lambda: len(nantes.accepted()) == 1200, "all on nantes")
        assert paris.journal.digest() == nantes.journal.digest()

    carry(story)


def test_tombstones_are_dropped_when_all_have_acknowledged(carry: Play) -> None:
    """Over any carrier a member tells what it knows."""

    async def story(paris: Site, nantes: Site) -> None:
        paris.place("web1", KEYS[0])
        await until(lambda: "web1" in nantes.accepted(), "accepted on nantes")
        nantes.delete("web1")
        await until(lambda: not paris.accepted(), "deleted on paris")
        for site in (paris, nantes):
            await until(lambda site=site: site.journal.counts()["deleted"] == 0, "no tombstone is left")
        await until(lambda: paris.peer(nantes)["behind"] == 0, "nobody is behind")

    carry(story)


def test_a_member_that_lost_its_journal_gets_all_and_revives_nothing(carry: Play) -> None:
    """Also what a third member has decided, which is away; what was deleted meanwhile goes from its store."""

    async def story(paris: Site, nantes: Site, lyon: Site) -> None:
        lyon.place("web1", KEYS[0])
        nantes.place("web2", KEYS[1])
        for site in (paris, nantes, lyon):
            await until(lambda site=site: set(site.accepted()) == {"web1", "web2"}, f"{site.name} has both")
        await lyon.kill()
        await nantes.kill()
        for path in nantes.state.glob("journal*"):
            path.unlink()
        (nantes.pki / "minions" / "web1").unlink()
        paris.delete("web2")
        await until(lambda: paris.journal.counts()["deleted"] == 1, "noted on paris")
        nantes.start()
        await until(lambda: nantes.accepted() == {"web1": KEYS[0]}, "nantes has what the others know")
        assert paris.accepted() == {"web1": KEYS[0]}

    carry(story, ("paris", "nantes", "lyon"))


def test_a_journal_that_was_set_back_is_told_so(carry: Play) -> None:
    """A member with a journal out of a backup takes everything anew; a key deleted since does not come back."""

    async def story(paris: Site, nantes: Site) -> None:
        await until(lambda: paris.peer(nantes).get("behind") == 0, "up")
        await paris.kill()
        backup = {path.name: path.read_bytes() for path in paris.state.iterdir() if path.name.startswith("journal")}
        paris.start()
        paris.place("web1", KEYS[0])
        await until(lambda: "web1" in nantes.accepted(), "accepted on nantes")
        nantes.delete("web1")
        await until(lambda: not paris.accepted(), "deleted on paris")
        paris.place("web2", KEYS[1])
        await until(lambda: nantes.accepted() == {"web2": KEYS[1]}, "one more on nantes")
        await paris.kill()
        for path in paris.state.glob("journal*"):
            path.unlink()
        for name, content in backup.items():
            (paris.state / name).write_bytes(content)
        paris.start()
        await until(lambda: paris.journal.digest() == nantes.journal.digest(), "the same records")
        assert paris.accepted() == nantes.accepted() == {"web2": KEYS[1]}

    carry(story)


def test_a_member_that_is_evicted_learns_it_and_is_heard_no_more(carry: Play) -> None:
    """It goes on writing, over whatever it can: nobody takes it."""

    async def story(paris: Site, nantes: Site) -> None:
        paris.place("web1", KEYS[0])
        await until(lambda: "web1" in nantes.accepted(), "accepted on nantes")
        await paris.ask("evict", name="nantes", actor="test")
        await until(lambda: nantes.member.membership.me.state == "evicted", "nantes knows")
        nantes.place("web2", KEYS[1])
        paris.place("web3", KEYS[2])
        await until(lambda: paris.journal.counts()["accepted"] == 2, "noted on paris")
        assert "web2" not in paris.accepted()
        assert "web3" not in nantes.accepted()

    carry(story)


def test_records_that_one_lacks_though_it_should_have_them_are_sent_again(carry: Play) -> None:
    """Digests tell that two differ; then all is compared, and what has been lost comes back."""

    async def story(paris: Site, nantes: Site) -> None:
        for number in range(3):
            paris.place(f"web{number}", KEYS[number])
        await until(lambda: len(nantes.accepted()) == 3, "all on nantes")
        await nantes.kill()
        with contextlib.closing(sqlite3.connect(nantes.settings.journal)) as journal:
            for table in ("records", "applied"):
                journal.execute(f"DELETE FROM {table} WHERE subject = 'web1'")
            journal.commit()
        nantes.delete("web1")
        nantes.start()
        await until(lambda: nantes.accepted().get("web1") == KEYS[1], "web1 is back on nantes")
        await until(lambda: paris.journal.digest() == nantes.journal.digest(), "the same records")
        assert len(paris.accepted()) == 3

    carry(story)


def test_what_comes_over_one_carrier_goes_out_over_the_others(
    tmp_path: Path, store_servers: Callable[[str], Store]
) -> None:
    """One member has only links, one only the store, and the third has both: all agree."""
    store = store_servers("etcd")

    class Mixed(Site):
        @property
        def settings(self) -> MastersSettings:
            carried = None if self.name == "lyon" else store.settings()
            reached = NOWHERE if self.name == "nantes" else None
            return MastersSettings(self.name, self.address, self.state, address=reached, store=carried)

    async def story(paris: Site, nantes: Site, lyon: Site) -> None:
        nantes.place("web1", KEYS[0])
        lyon.place("web2", KEYS[1])
        for site in (paris, nantes, lyon):
            await until(lambda site=site: set(site.accepted()) == {"web1", "web2"}, f"{site.name} has both")

    play(tmp_path, story, ("paris", "nantes", "lyon"), Mixed)
