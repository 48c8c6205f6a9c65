"""Members that share minion data over real links, each with Salt's own cache of a master."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import salt.config
import salt.daemons.masterapi

from saltext_logilab.errors import UnavailableError
from saltext_logilab.masters.data.versions import OUTBOX
from saltext_logilab.masters.mines import MinionData
from saltext_logilab.masters.settings import MastersSettings
from tests.support.minion_keys import KEYS
from tests.unit.masters.test_members import DEADLINE, Site, be_one_group, until

FIRST = "00" * 8
Story = Callable[..., Coroutine[Any, Any, None]]


class Master(Site):
    """A member with the minion data cache of a real master, and Salt's own functions that fill it."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(folder, name)
        self.cachedir = folder / name / "cache"
        own = {"cachedir": str(self.cachedir), "root_dir": str(folder / name), "pki_dir": str(self.pki), "id": name}
        self.opts = {**salt.config.DEFAULT_MASTER_OPTS, **own, "extension_modules": str(folder / "none")}
        self.around.data = self.data = MinionData(self.opts)
        self._functions = salt.daemons.masterapi.RemoteFuncs.__new__(salt.daemons.masterapi.RemoteFuncs)
        self._functions.opts, self._functions.cache = self.opts, self.data._cache

    def mine(self, minion: str) -> dict[str, Any]:
        """What the cache holds."""
        return self.data.read("mine", minion)

    def send(self, minion: str, **values: Any) -> None:
        """Do what a master does when a minion sends its mine."""
        assert self._functions._mine({"id": minion, "data": values, "clear": False}, skip_verify=True)

    def delete_function(self, minion: str, function: str) -> None:
        """Do what a master does on ``mine.delete``."""
        self._functions._mine_delete({"id": minion, "fun": function})

    def seen(self, minion: str) -> int:
        """The counter of the outbox that the engine has seen."""
        bank = self.member._sharing.keeper.ledger.get(("mine", minion))
        return bank.parts[""].version.counter if bank and "" in bank.parts else 0

    def flush(self, minion: str) -> None:
        """Do what a master does on ``mine.flush``."""
        self._functions._mine_flush({"id": minion}, skip_verify=True)

    def grains(self, minion: str, **grains: Any) -> None:
        """Do what a master does when a minion asks for its pillar."""
        self.data.write("grains", minion, grains)


def play(
    folder: Path, story: Story, names: tuple[str, ...] = ("paris", "nantes"), minions: int = 2, kind: type = Master
) -> None:
    """Run ``story`` with masters that are each other's peers and have accepted the keys of m0, m1, …."""

    async def run() -> None:
        sites = [kind(folder, name) for name in names]
        be_one_group(sites)
        for number in range(minions):
            sites[0].place(f"m{number}", KEYS[number % 3])
        for site in sites:
            site.start()
        try:
            for site in sites:
                await until(lambda site=site: len(site.accepted()) == minions, "the keys")
            await story(*sites)
        finally:
            for site in sites:
                if not site._task.done():
                    await site.kill()

    asyncio.run(run())


async def same(sites: tuple[Master, ...], minion: str, wanted: dict[str, Any]) -> None:
    """Wait until all have the mine ``wanted`` of ``minion``."""
    for site in sites:
        await until(lambda site=site: site.mine(minion) == wanted, f"the mine of {minion} at {site.name}")


async def _of_deleted(site: Master, minion: str, function: str) -> Any:
    """Return what ``site`` tells of the data of ``minion``, once it knows that ``function`` is deleted."""
    told = await site.ask("data", minion=minion)
    while not told["mine"].get(function, {}).get("deleted"):  # it is written into the cache first, and noted then
        told = await site.ask("data", minion=minion)
    return told


def test_a_mine_sent_to_one_is_on_all_also_over_a_third(tmp_path: Path) -> None:
    """Values, a deleted function, a flush, and what comes after it; with the age and who has seen it."""

    async def story(*sites: Master) -> None:
        paris, nantes, lyon = sites
        paris.send("m0", up=1, net=["a", {"b": 2}])
        await same(sites, "m0", {"up": 1, "net": ["a", {"b": 2}]})
        nantes.send("m0", up=2)
        await same(sites, "m0", {"up": 2, "net": ["a", {"b": 2}]})
        lyon.delete_function("m0", "net")
        await same(sites, "m0", {"up": 2})
        told = await asyncio.wait_for(_of_deleted(paris, "m0", "net"), DEADLINE)
        assert (told["mine"]["up"]["by"], told["mine"]["net"]["by"]) == ("nantes", "lyon")
        assert 0 <= told["mine"]["up"]["age"] < 60
        paris.flush("m0")
        await same(sites, "m0", {})
        paris.send("m0", up=3)
        await same(sites, "m0", {"up": 3})
        assert (await lyon.ask("data", minion=""))["minions"] == {"mine": 1, "grains": 0}

    play(tmp_path, story, ("paris", "nantes", "lyon"))


def test_a_master_that_was_away_gets_what_it_missed_and_takes_nothing_back(tmp_path: Path) -> None:
    """Function by function, also when a minion has sent it something meanwhile."""

    async def story(paris: Master, nantes: Master) -> None:
        paris.send("m0", a=1, b=1, c=1)
        await same((paris, nantes), "m0", {"a": 1, "b": 1, "c": 1})
        await nantes.kill()
        paris.send("m0", a=2, b=2)
        paris.delete_function("m0", "c")
        nantes.send("m0", b=2)
        nantes.start()
        await same((paris, nantes), "m0", {"a": 2, "b": 2})

    play(tmp_path, story)


def test_what_came_through_an_outbox_is_ordered_by_it(tmp_path: Path) -> None:
    """The higher counter stands, though the other master has seen more changes."""

    async def story(paris: Master, nantes: Master) -> None:
        def sent(counter: int) -> dict[str, Any]:
            return {"a": counter, OUTBOX: {"incarnation": FIRST, "counter": counter}}

        paris.send("m0", **sent(1))
        await same((paris, nantes), "m0", sent(1))
        await nantes.kill()
        for counter in (2, 3, 4):
            paris.send("m0", **sent(counter))
            await until(lambda counter=counter: paris.seen("m0") == counter, "paris has seen it")
        nantes.send("m0", **sent(9))
        nantes.start()
        await same((paris, nantes), "m0", sent(9))

    play(tmp_path, story)


def test_grains_are_shared_but_for_the_masters_own(tmp_path: Path) -> None:
    """``master`` and ``pid`` tell of one connection."""

    async def story(paris: Master, nantes: Master) -> None:
        nantes.grains("m0", os="old", master="nantes", pid=1)
        await until(lambda: paris.data.read("grains", "m0") == {"os": "old"}, "grains at paris")
        paris.grains("m0", os="Debian", master="paris", pid=2)
        wanted = {"os": "Debian", "master": "nantes", "pid": 1}
        await until(lambda: nantes.data.read("grains", "m0") == wanted, "grains at nantes")

    play(tmp_path, story)


def test_nothing_is_kept_for_a_deleted_key_or_taken_for_another_one(tmp_path: Path) -> None:
    """Its mine goes on all masters, and does not come back with a new key under its id."""

    async def story(paris: Master, nantes: Master) -> None:
        for minion in ("m0", "m1"):
            paris.send(minion, a=1)
            await same((paris, nantes), minion, {"a": 1})
        nantes.delete("m0")
        await same((paris, nantes), "m0", {})
        paris.place("m0", KEYS[2])
        await until(lambda: "m0" in nantes.accepted(), "the new key")
        nantes.send("m0", b=1)
        await same((paris, nantes), "m0", {"b": 1})
        assert paris.mine("m1") == {"a": 1}

    play(tmp_path, story)


def test_what_is_forgotten_for_a_moment_is_not_deleted(tmp_path: Path) -> None:
    """A key that the engine looks at anew, though it is in the store all the time, keeps its data."""

    async def story(paris: Master, nantes: Master) -> None:
        for minion in ("m0", "m1"):
            paris.send(minion, a=1)
            await same((paris, nantes), minion, {"a": 1})
        forgotten = paris.member._rounds._applied.pop("m0")
        keeper = paris.member._sharing.keeper
        await keeper.look()
        assert keeper.ledger.get(("mine", "m0")).parts["a"].digest
        paris.member._rounds._applied["m0"] = forgotten
        paris.send("m1", a=2)
        await same((paris, nantes), "m1", {"a": 2})
        await same((paris, nantes), "m0", {"a": 1})

    play(tmp_path, story)


def test_data_of_ids_without_an_accepted_key_is_no_business_of_the_group(tmp_path: Path) -> None:
    """It stays where it is, and goes nowhere."""

    async def story(paris: Master, nantes: Master) -> None:
        paris.send("stranger", a=1)
        paris.send("m0", a=1)
        await same((paris, nantes), "m0", {"a": 1})
        assert (paris.mine("stranger"), nantes.mine("stranger")) == ({"a": 1}, {})

    play(tmp_path, story)


def test_a_cache_that_was_lost_is_filled_again(tmp_path: Path) -> None:
    """A cachedir that is emptied is no deletion of everything, whether the engine runs or not."""

    async def story(paris: Master, nantes: Master) -> None:
        for number in range(20):
            paris.send(f"m{number}", a=number)
        await same((paris, nantes), "m19", {"a": 19})
        for site, other in ((paris, nantes), (nantes, paris)):
            if site is nantes:
                await site.kill()
            shutil.rmtree(site.cachedir)
            if site is nantes:
                site.start()
            for number in range(20):
                await same((site, other), f"m{number}", {"a": number})

    play(tmp_path, story, minions=20)


def test_a_cleared_cachedir_is_filled_again_and_a_cleared_mine_is_not(tmp_path: Path) -> None:
    """``saltutil.clear_cache`` takes all, the keys of local users too; ``cache.clear_mine`` takes one file."""

    async def story(paris: Master, nantes: Master) -> None:
        paris.cachedir.mkdir(parents=True, exist_ok=True)
        (paris.cachedir / ".root_key").touch()
        paris.send("m0", a=1)
        await same((paris, nantes), "m0", {"a": 1})
        await until(lambda: ".root_key" in paris.member._sharing.keeper.ledger.note("mine"), "it is known")
        (paris.cachedir / ".root_key").unlink()
        (paris.cachedir / "mine" / "m0.p").unlink()
        await same((paris, nantes), "m0", {"a": 1})
        paris.member._sharing.keeper.emptying = 0.0
        (paris.cachedir / "mine" / "m0.p").unlink()
        await same((nantes, paris), "m0", {})

    play(tmp_path, story)


@pytest.mark.parametrize("damage", ["garbage", "row"])
def test_a_damaged_ledger_is_made_anew(tmp_path: Path, damage: str) -> None:
    """And what the other master knows stands against what is found in the cache then."""

    async def story(paris: Master, nantes: Master) -> None:
        for value in (1, 2):
            paris.send("m0", a=value)
            await same((paris, nantes), "m0", {"a": value})
        await nantes.kill()
        if damage == "garbage":
            (nantes.state / "data.db").write_bytes(b"no database" * 1000)
        else:
            with contextlib.closing(sqlite3.connect(nantes.state / "data.db")) as db, db:
                db.execute("UPDATE banks SET blob = ?", (b"\xc1",))
        nantes.send("m0", a=0)
        nantes.start()
        await same((paris, nantes), "m0", {"a": 2})

    play(tmp_path, story)


def test_data_without_a_place_for_a_ledger_stops_no_keys(tmp_path: Path) -> None:
    """The status names it; keys are shared."""

    async def story(paris: Master, nantes: Master) -> None:
        await nantes.kill()
        for file in nantes.state.glob("data.db*"):
            file.unlink()
        (nantes.state / "data.db").mkdir()
        nantes.start()
        paris.place("m9", KEYS[0])
        await until(lambda: "m9" in nantes.accepted(), "a key on nantes")
        await until(lambda: "ledger of minion data" in str(nantes.health()["errors"]), "the status of nantes")

    play(tmp_path, story)


def test_the_cached_pillar_is_shared_where_it_is_configured(tmp_path: Path) -> None:
    """By default it is not; a master that shares it gets it from none that does not."""

    class Open(Master):
        @property
        def settings(self) -> MastersSettings:
            return replace(super().settings, data=("mine", "pillar") if self.name != "lyon" else ("mine",))

    async def story(*sites: Master) -> None:
        paris, nantes, lyon = sites
        paris.data.write("pillar", "m0", {"secret": "s"})
        paris.send("m0", a=1)
        await same(sites, "m0", {"a": 1})
        await until(lambda: nantes.data.read("pillar", "m0") == {"secret": "s"}, "the pillar at nantes")
        assert lyon.data.read("pillar", "m0") == {}

    play(tmp_path, story, ("paris", "nantes", "lyon"), kind=Open)


def test_a_value_that_is_not_what_was_told_is_refused(tmp_path: Path) -> None:
    """A member that lies changes nothing, and is named."""

    async def story(paris: Master, nantes: Master) -> None:
        paris.member._sharing.keeper.cache.pack = lambda _value: b"\xc0"
        paris.send("m0", a=1)
        await until(lambda: any("paris" in one for one in nantes.health()["errors"]), "the status of nantes")
        assert nantes.mine("m0") == {}
        assert "is not what was told of it" in str(nantes.health()["errors"])

    play(tmp_path, story)


def test_questions_that_are_none_are_answered_by_an_error(tmp_path: Path) -> None:
    """The link goes on."""
    wrong = [
        [],
        ["x"],
        ["banks", "mine", [256], ""],
        ["banks", "mine", 5, ""],
        ["sums", "pillar"],
        ["values", "mine", 5],
    ]

    async def story(paris: Master, nantes: Master) -> None:
        await until(nantes.member._peers.linked, "a link")
        short = next(iter(nantes.member._peers.linked()))
        for about in [*wrong, ["values", "mine", [["../x", ["a"]]]]]:
            with pytest.raises(UnavailableError):
                await nantes.member._peers.ask(short, "data", about)
        paris.send("m0", a=1)
        await same((paris, nantes), "m0", {"a": 1})

    play(tmp_path, story)
