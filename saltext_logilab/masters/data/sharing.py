"""
The sharing of minion data: what has changed here is announced to the other members, and what they announce is got.

By questions over the links (:mod:`saltext_logilab.masters.exchange`): ``["news"]`` announces; ``["digests"]`` gives
one digest for each kind; where they differ ``["sums", kind]`` gives those of 256 buckets of minions, ``["banks", kind,
buckets, after]`` the versions in the buckets that differ, ``["values", kind, minions]`` the values of what is newer.
Members are compared when a link begins, when one announces something, and now and then.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from saltext_logilab.errors import UnavailableError, WireError
from saltext_logilab.masters.data.keeper import SLICE, Keeper
from saltext_logilab.masters.guard import forever, sentence
from saltext_logilab.masters.records import member_id
from saltext_logilab.patience import within

TICK = 1.0
COMPARE_INTERVAL = 30.0
LOOK_INTERVAL = (1.0, 15.0)
LOOK_PAUSE = 0.0015  # seconds without a look for each file that one looks at: at most 0.3 % of a processor
RETRY = 5.0
BUCKETS_AT_ONCE = 64


class Peers(Protocol):
    """What is needed of the links with the other members."""

    def names(self) -> Mapping[str, bytes]:
        """Return the short names of the other active members by name."""
        ...

    def linked(self) -> Mapping[bytes, tuple[str, object, frozenset[str]]]:
        """Return of each active member with a link its name, the link, and the kinds of data that it shares."""
        ...

    async def ask(self, short: bytes, what: str, about: Any, timeout: float) -> Any:
        """Ask one; :raises UnavailableError: it does not answer."""
        ...


class AwayError(UnavailableError):
    """A member does not answer: its link tells why."""


@dataclass
class Sharing:
    """
    The sharing of what ``keeper`` keeps.

    :param news: called when ``errors`` has changed: it tells by member, or of this one, what does not work.
    """

    keeper: Keeper
    peers: Peers
    news: Callable[[], None]
    errors: dict[str, str] = field(default_factory=dict)
    _compared: dict[bytes, tuple[object, float]] = field(default_factory=dict)
    _due: set[bytes] = field(default_factory=set)
    _hurry: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self) -> None:
        """Share until cancelled."""
        try:
            await asyncio.gather(forever(self._follow, self._failed), forever(self._compare_all, self._failed))
        finally:
            for task in self._tasks:
                task.cancel()
            self.keeper.ledger.close()

    def _failed(self, error: str) -> None:
        self.errors[""] = error
        self.news()

    # -- what others ask -----------------------------------------------------------------------------------------------

    def answer(self, public: bytes, about: Any) -> Any:
        """Answer a question of the member with the raw public key ``public``; :raises WireError: it is none."""
        try:
            return self._answer(member_id(public), *about)
        except (TypeError, ValueError) as err:
            raise WireError("a question about minion data is malformed") from err

    def _answer(self, short: bytes, what: str, *about: Any) -> Any:
        answers: dict[str, Callable[..., Any]] = {
            "news": lambda: self._due.add(short),
            "digests": self.keeper.digests,
            "sums": self.keeper.sums,
            "banks": self.keeper.banks,
            "values": self.keeper.values,
        }
        if what not in answers:
            raise WireError(f"{str(what)[:40]!r} is no question about minion data")
        if what == "news":
            self._hurry.set()
        return answers[what](*about)

    def shown(self, minion: str, names: Mapping[bytes, str]) -> dict[str, Any]:
        """
        Return the age of the data of ``minion``, and which member has seen it.

        Without a minion: of how many there is data here, whose is too large, and how long ago each member was compared.
        """
        if minion:
            return self.keeper.shown(minion, names)
        now = time.monotonic()
        members = {names.get(short, short.hex()): round(now - at, 1) for short, (_, at) in self._compared.items()}
        left_out = sorted({minion for _, minion in self.keeper.unshared})
        return {"minions": self.keeper.counts(), "compared": members, "too_large": left_out[:100]}

    # -- what changes here ---------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        while True:
            if self.peers.names() and await self.keeper.look():
                self._announce()
            if self.keeper.lost:
                self.keeper.lost = False
                self._due |= self.peers.linked().keys()
                self._hurry.set()
            self.errors.pop("", None)
            shortest, longest = LOOK_INTERVAL
            await asyncio.sleep(min(max(shortest, LOOK_PAUSE * self.keeper.files), longest))

    def _announce(self) -> None:
        for short, (_, _, kinds) in self.peers.linked().items():
            if kinds & set(self.keeper.kinds):
                task = asyncio.ensure_future(self._tell(short))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _tell(self, short: bytes) -> None:
        with contextlib.suppress(AwayError):  # it compares when it is back
            await self._ask(short, "news")

    # -- what others have ----------------------------------------------------------------------------------------------

    async def _compare_all(self) -> None:
        while True:
            linked, now = self.peers.linked(), time.monotonic()
            for short, (name, link, kinds) in linked.items():
                known, at = self._compared.get(short, (None, 0.0))
                common = kinds & set(self.keeper.kinds)
                if common and (short in self._due or known is not link or now - at > COMPARE_INTERVAL):
                    self._due.discard(short)
                    self._compared[short] = (link, now)
                    await self._compare(short, name, common)
            with contextlib.suppress(asyncio.TimeoutError):
                await within(TICK, self._hurry.wait())
            self._hurry.clear()

    async def _compare(self, short: bytes, name: str, kinds: frozenset[str]) -> None:
        before = dict(self.errors)
        try:
            await self._get_newer(short, kinds)
        except AwayError:
            link, at = self._compared[short]
            self._compared[short] = (link, at - COMPARE_INTERVAL + RETRY)
        except Exception as err:  # noqa: BLE001 - what one member tells does not stop the others
            self.errors[name] = f"the minion data of {name} cannot be had: {sentence(err)}"
        else:
            self.errors.pop(name, None)
        if self.errors != before:
            self.news()

    async def _get_newer(self, short: bytes, kinds: frozenset[str]) -> None:
        if await self.keeper.look():  # what the minions have told both is not got from there
            self._announce()
        theirs = await self._ask(short, "digests")
        got = 0
        for kind, digest in self.keeper.digests().items():
            if kind in kinds and theirs.get(kind) != digest:
                got += await self._get(short, kind)
        if got:
            self._announce()  # a member here need not be one that has a link with that one

    async def _get(self, short: bytes, kind: str) -> int:
        own, theirs = self.keeper.sums(kind), await self._ask(short, "sums", kind)
        if len(theirs) != len(own):
            raise WireError("the sums of minion data are malformed")
        differing = [n for n in range(len(own) // 8) if own[8 * n : 8 * n + 8] != theirs[8 * n : 8 * n + 8]]
        got = 0
        for begin in range(0, len(differing), BUCKETS_AT_ONCE):
            after, more = "", True
            while more:
                told = await self._ask(short, "banks", kind, differing[begin : begin + BUCKETS_AT_ONCE], after)
                for part in _slices(self.keeper.wanted(kind, told["banks"])):
                    got += await self._get_values(short, kind, part)
                more = bool(told["more"] and told["banks"])
                after = told["banks"][-1][0] if more else ""
        return got

    async def _get_values(self, short: bytes, kind: str, wanted: list[tuple[str, list[str]]]) -> int:
        got = 0
        while wanted:
            told = await self._ask(short, "values", kind, wanted)
            got += await self.keeper.take(kind, told)
            wanted = wanted[len(told) :] if told else []
        return got

    def _ask(self, short: bytes, what: str, *about: Any) -> Awaitable[Any]:
        return _or_away(self.peers.ask(short, "data", [what, *about], 10.0))


async def _or_away(asked: Awaitable[Any]) -> Any:
    try:
        return await asked
    except UnavailableError as err:
        raise AwayError(str(err)) from err


def _slices(wanted: list[tuple[str, list[str]]]) -> Iterator[list[tuple[str, list[str]]]]:
    for begin in range(0, len(wanted), SLICE):
        yield wanted[begin : begin + SLICE]
