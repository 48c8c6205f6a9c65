"""
Members over real connections, with key directories of their own and no Salt.

What they do over each carrier alike stands in tests/functional/masters/test_carriers.py.
"""

import asyncio
import contextlib
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from saltext_logilab.errors import UnavailableError, WireError
from saltext_logilab.identity import load_or_create
from saltext_logilab.masters import archive, control, health, link, service, views
from saltext_logilab.masters.archive import open_journal
from saltext_logilab.masters.exchange import AT_ONCE
from saltext_logilab.masters.journal import Journal
from saltext_logilab.masters.keydirs import KeyDirectories
from saltext_logilab.masters.keys import Key
from saltext_logilab.masters.member import Member
from saltext_logilab.masters.settings import Address, MastersSettings
from tests.support.addresses import free_address
from tests.support.groups import unite
from tests.support.minion_keys import IDENTITIES, KEYS

DEADLINE = 20


@dataclass
class Around:
    """A master's surroundings that note what was asked of them."""

    versions: dict[str, str] = field(default_factory=lambda: {"salt": "3008", "logilab": "0"})
    key: str = "aa:bb"
    jobs: Any = None
    files: Any = None
    data: Any = None
    forgotten: int = 0
    told: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def master_key(self) -> str:
        """Give the fingerprint of a key that all have."""
        return self.key

    def forget(self, _minions: Any) -> None:
        """Count."""
        self.forgotten += 1

    def tell(self, what: str, data: dict[str, Any]) -> None:
        """Keep."""
        self.told.append((what, data))


class Site:
    """A member that can be started and killed."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name, self.pki, self.state = name, folder / name / "pki", folder / name / "state"
        self.pki.mkdir(parents=True)
        self.store = KeyDirectories(self.pki)
        self.identity = load_or_create(self.state / "identity.pem")
        self.address = Address(*free_address())
        self.around = Around()
        self._task: asyncio.Task[None] | None = None
        self._lock = contextlib.ExitStack()

    def start(self) -> None:
        """Begin to work in the running loop."""
        self._lock.enter_context(service._only_one(self.state))
        self.journal = open_journal(self.settings.journal, self.identity)
        self.member = Member(self.settings, self.journal, self.store, self.around)
        self._task = asyncio.ensure_future(self.member.run())

    @property
    def settings(self) -> MastersSettings:
        """What its configuration says."""
        return MastersSettings(self.name, self.address, self.state)

    async def ask(self, command: str, **arguments: Any) -> Any:
        """Do what a runner does, over the control socket."""
        return await asyncio.to_thread(control.call, self.state, command, **arguments)

    async def kill(self) -> None:
        """Stop at whatever line it is."""
        assert self._task
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self.journal.close()
        self._lock.close()

    def place(self, minion: str, key: Key, folder: str = "minions") -> None:
        """Do by hand what an operator does: a whole file appears."""
        temporary = self.pki / ".new"
        temporary.write_text(key.pem)
        temporary.rename(self.pki / folder / minion)

    def delete(self, minion: str) -> None:
        """Delete an accepted key by hand."""
        (self.pki / "minions" / minion).unlink()

    def accepted(self) -> dict[str, Key | None]:
        """The accepted keys by id."""
        return {minion: held.key for minion, held in self.store.scan() if held.state == "accepted"}

    def peer(self, other: "Site") -> dict[str, Any]:
        """What the health file says of ``other``."""
        return self.health().get("peers", {}).get(other.identity.fingerprint, {})

    def health(self) -> dict[str, Any]:
        """What the health file says."""
        return health.read(self.state) or {}


async def is_cut_off(wrong):
    """Read from the link ``wrong`` until the other side ends it."""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        while True:
            await asyncio.wait_for(wrong.receive(), DEADLINE)
    return True


async def until(condition, what):
    """Wait for ``condition``."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.01)


def be_one_group(sites):
    """Let ``sites``, which have not started yet, be members of one group."""
    journals = [Journal(site.settings.journal, site.identity) for site in sites]
    unite(journals, [str(site.address) for site in sites], [site.name for site in sites])
    for journal in journals:
        archive.keep(journal)
        journal.close()


def play(folder, story, names=("paris", "nantes"), kind=Site):
    """Run ``story`` with members of ``names`` that are each other's peers, and stop them."""

    async def run():
        sites = [kind(folder, name) for name in names]
        be_one_group(sites)
        for site in sites:
            site.start()
        try:
            await story(*sites)
        finally:
            for site in sites:
                if not site._task.done():
                    await site.kill()

    asyncio.run(run())


def test_another_pending_key_is_kept_and_reported(tmp_path):
    """A key that waits under the same id is not accepted by that: it is denied, and told."""

    async def story(paris, nantes):
        nantes.place("web1", KEYS[1], "minions_pre")
        paris.place("web1", KEYS[0])
        await until(lambda: nantes.accepted() == {"web1": KEYS[0]}, "accepted on nantes")
        assert (nantes.pki / "minions_denied" / "web1").read_text() == KEYS[1].pem
        await until(lambda: [one.kind for one in nantes.journal.reports()] == ["denied"], "reported")

    play(tmp_path, story)


def test_a_lost_accept_is_mended_and_shared(tmp_path):
    """A key that Salt has left as accepted and as pending, at once or later, is accepted everywhere, in one place."""

    async def story(paris, nantes):
        for minion in ("web1", "web2"):
            (paris.pki / "minions" / minion).write_text(KEYS[0].pem)
        (paris.pki / "minions_pre" / "web1").write_text(KEYS[0].pem)
        await until(lambda: set(nantes.accepted()) == {"web1", "web2"}, "accepted on nantes")
        (paris.pki / "minions_pre" / "web2").write_text(KEYS[0].pem)
        await until(lambda: not list((paris.pki / "minions_pre").iterdir()), "nothing pending on paris")
        assert set(paris.accepted()) == set(nantes.accepted()) == {"web1", "web2"}
        assert paris.journal.counts() == {"accepted": 2, "rejected": 0, "deleted": 0}

    play(tmp_path, story)


def test_three_members_pass_on_what_one_cannot_reach(tmp_path):
    """A record reaches a member over another one, and its signature is verified there."""

    async def story(paris, nantes, lyon):
        await until(lyon.journal.frontier, "lyon is up")
        await lyon.kill()
        paris.place("web1", KEYS[0])
        await until(lambda: "web1" in nantes.accepted(), "accepted on nantes")
        await paris.kill()
        lyon.start()
        await until(lambda: lyon.accepted() == {"web1": KEYS[0]}, "lyon has it from nantes")

    play(tmp_path, story, ("paris", "nantes", "lyon"))


def test_a_journal_that_was_set_back_uses_no_counter_twice(tmp_path):
    """A member whose journal comes from a backup decides something while it is alone, then gets all back."""

    async def story(paris, nantes):
        await until(lambda: paris.peer(nantes).get("connected"), "up")
        await paris.kill()
        backup = {path.name: path.read_bytes() for path in paris.state.iterdir() if path.name.startswith("journal")}
        paris.start()
        paris.place("web1", KEYS[0])
        await until(lambda: "web1" in nantes.accepted(), "accepted on nantes")
        await paris.kill()
        await nantes.kill()
        for path in paris.state.glob("journal*"):
            path.unlink()
        for name, content in backup.items():
            (paris.state / name).write_bytes(content)
        paris.place("web2", KEYS[1])
        paris.start()
        await until(lambda: "web2" in paris.journal.records(), "decided while alone")
        nantes.start()
        await until(lambda: set(nantes.accepted()) == {"web1", "web2"}, "nantes has both")
        await until(lambda: paris.journal.digest() == nantes.journal.digest(), "the same records")
        assert set(paris.accepted()) == {"web1", "web2"}

    play(tmp_path, story)


def test_health_tells_who_is_away_and_how_far(tmp_path):
    """A peer that is down is shown with the number of changes that it has not acknowledged."""

    async def story(paris, nantes):
        await until(lambda: paris.peer(nantes).get("connected"), "connected")
        await nantes.kill()
        paris.place("web1", KEYS[0])
        await until(lambda: paris.peer(nantes)["behind"] == 1, "one behind")
        peer = paris.peer(nantes)
        assert not peer["connected"]
        assert peer["error"]
        nantes.start()
        await until(lambda: paris.peer(nantes)["behind"] == 0, "acknowledged")

    play(tmp_path, story)


def test_an_address_in_use_does_not_stop_the_exchange(tmp_path):
    """A member that cannot listen says so and dials; when the address is free again it listens."""

    async def run():
        paris, nantes = Site(tmp_path, "paris"), Site(tmp_path, "nantes")
        be_one_group([paris, nantes])
        with socket.socket() as squatter:
            squatter.bind((paris.address.host, paris.address.port))
            squatter.listen()
            paris.start()
            nantes.start()
            paris.place("web1", KEYS[0])
            await until(lambda: "web1" in nantes.accepted(), "nantes has it all the same")
            await until(lambda: str(paris.address) in str(paris.health()["errors"]), "it says so")
        await until(lambda: not paris.health()["errors"] and paris.health()["listening"], "listening")
        await paris.kill()
        await nantes.kill()

    asyncio.run(run())


def test_a_stranger_gets_nothing(tmp_path):
    """Who is no peer is not let in, and who is not the expected one is not talked to."""

    async def story(paris, nantes):
        await until(lambda: paris.health().get("listening"), "listening")
        doors = link.Doors(IDENTITIES[0], tmp_path)
        with pytest.raises(UnavailableError, match="has not let this master in"):
            await doors.dial(paris.address, paris.identity.fingerprint)
        with pytest.raises(WireError, match="it is not trusted"):
            await doors.dial(paris.address, nantes.identity.fingerprint)

    play(tmp_path, story)


@pytest.mark.parametrize(
    "message",
    [
        ["nonsense"],
        [7],
        ["have", b"", {}, b""],
        ["have", b"", {b"short": 1}, b"", 1, 0],
        ["have", b"", [1], b"", 1, 0],
        ["have", 7, {}, b"", 1, 0],
        ["have", b"", {}, b"", 1, "none"],
        ["ask", 1],
        ["told", 1, 2],
        ["reset"],
        ["records", [[b"x", b"y"]], None, b""],
        ["records", 5, None, b""],
        ["hello", 5],
    ],
    ids=str,
)
def test_what_no_member_sends_ends_the_link_and_nothing_else(tmp_path, message):
    """A peer that sends something malformed is cut off with a reason, and the member goes on."""

    async def story(paris, nantes):
        await until(lambda: paris.health().get("listening"), "listening")
        await nantes.kill()
        doors = link.Doors(nantes.identity, tmp_path)
        wrong = await doors.dial(paris.address, paris.identity.fingerprint)
        await wrong.send(message)
        assert await is_cut_off(wrong)
        wrong.close()
        nantes.start()
        paris.place("web1", KEYS[0])
        await until(lambda: "web1" in nantes.accepted(), "paris goes on")

    play(tmp_path, story)


def test_a_message_that_is_too_large_ends_the_link(tmp_path):
    """The announced size is looked at before anything is read."""

    async def story(paris, nantes):
        await until(lambda: paris.health().get("listening"), "listening")
        await nantes.kill()
        wrong = await link.Doors(nantes.identity, tmp_path).dial(paris.address, paris.identity.fingerprint)
        wrong.writer.write((link.MESSAGE_LIMIT + 1).to_bytes(4, "big"))
        assert await is_cut_off(wrong)

    play(tmp_path, story)


def test_questions_that_take_time_hold_up_nobody_and_are_few_at_once(tmp_path):
    """Further ones are refused; an answer that fails is an error of its asker; keys are shared meanwhile."""

    class Slow:
        """A job cache that answers when it is let."""

        def __init__(self):
            self.let = threading.Event()

        def newest(self, _count):
            assert self.let.wait(DEADLINE)
            return {}

        def job(self, _jid):
            raise ZeroDivisionError

    async def story(paris, nantes):
        async def ask(what, about):
            try:
                return await nantes.member._peers.ask(short, what, about, DEADLINE)
            except UnavailableError as err:
                return str(err)

        await until(nantes.member._peers.linked, "a link")
        (short,) = nantes.member._peers.linked()
        asked = [asyncio.ensure_future(ask("jobs", 5)) for _ in range(AT_ONCE + 1)]
        await until(lambda: any(one.done() for one in asked), "one is refused")
        paris.place("web1", KEYS[0])
        await until(lambda: "web1" in nantes.accepted(), "a key")
        paris.around.jobs.let.set()
        told = await asyncio.gather(*asked)
        assert told.count({"jobs": [], "left_out": 0}) == AT_ONCE
        assert told.count("this master is busy with other questions") == 1
        assert "ZeroDivisionError" in await ask("job", ["20250101120000000001", ""])
        assert "no job id" in await ask("job", ["../x", ""])
        assert "does not answer 'x'" in await ask("x", None)

    class Busy(Site):
        """A member with such a job cache."""

        def __init__(self, *args):
            super().__init__(*args)
            self.around.jobs = Slow()

    play(tmp_path, story, kind=Busy)


def test_what_follows_deletes_is_done_once_for_all_of_a_batch(tmp_path):
    """A member that learns of many deletes at once rotates its AES key once."""

    async def story(paris, nantes):
        names = [f"web{number}" for number in range(9)]
        for name in names:
            paris.place(name, KEYS[0])
        await until(lambda: len(nantes.accepted()) == len(names), "all on nantes")
        await nantes.kill()
        for name in names:
            paris.delete(name)
        await until(lambda: paris.journal.counts()["deleted"] == len(names), "noted on paris")
        nantes.start()
        await until(lambda: not nantes.accepted(), "gone from nantes")
        await until(lambda: nantes.around.forgotten, "rotated")
        paris.place("last", KEYS[1])
        await until(lambda: "last" in nantes.accepted(), "what came later")
        assert nantes.around.forgotten == 1

    play(tmp_path, story)


def test_two_that_resolve_a_conflict_differently_leave_it(tmp_path):
    """Neither knew of the other: the conflict stays on both, each with its own key, and a third word ends it."""

    async def story(paris, nantes):
        await nantes.kill()
        paris.place("web1", KEYS[0])
        await until(lambda: paris.journal.counts()["accepted"] == 1, "noted on paris")
        nantes.place("web1", KEYS[1])
        nantes.start()
        for site in (paris, nantes):
            await until(lambda site=site: len(views.conflicts(site.journal).get("web1", ())) == 2, "a conflict")
        await nantes.kill()
        await paris.ask("resolve", minion="web1", fingerprint=KEYS[1].fingerprint, actor="a")
        await until(lambda: paris.accepted() == {"web1": KEYS[1]}, "as resolved on paris")
        await paris.kill()
        nantes.start()
        await until((nantes.state / "control").exists, "nantes is up")
        await nantes.ask("resolve", minion="web1", fingerprint=KEYS[0].fingerprint, actor="b")
        await until(lambda: nantes.accepted() == {"web1": KEYS[0]}, "as resolved on nantes")
        paris.start()
        for site in (paris, nantes):
            await until(lambda site=site: len(views.conflicts(site.journal).get("web1", ())) == 2, "it is back")
        assert (paris.accepted(), nantes.accepted()) == ({"web1": KEYS[1]}, {"web1": KEYS[0]})
        await nantes.ask("resolve", minion="web1", fingerprint=KEYS[1].fingerprint, actor="c")
        for site in (paris, nantes):
            await until(lambda site=site: views.conflicts(site.journal) == {}, "settled")
            await until(lambda site=site: site.accepted() == {"web1": KEYS[1]}, "one key")

    play(tmp_path, story)


def test_many_keys_of_one_minion_are_shown_bounded():
    """Whoever floods pending keys under one id fills no screen."""
    prints = [f"{number:02}" for number in range(9)]
    told = {
        f"master{number}": {"answer": {"pending": {"count": 1, "keys": {"web1": one}}}}
        for number, one in enumerate(prints)
    }
    shown = views.keys({**told, "dead": {"error": "it is not connected"}})
    assert list(shown["keys"]["web1"]["pending"]) == prints[:5]
    assert shown["masters"]["dead"] == {"error": "it is not connected"}
