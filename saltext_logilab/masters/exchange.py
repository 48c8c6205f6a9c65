"""
The exchange of records over one link: each side says what it has, and sends what the other one lacks.

Messages: ``["hello", about]`` once, ``["have", frontier, digest, publics]`` at the start, after new records and as a
heartbeat, ``["records", [[blob, signature], …], through]``. ``through`` is None but in the last part of a batch: then
it says up to which counter of each origin the receiver now has all that the sender has. Any part may be lost or come
twice: what was not acknowledged by a ``have`` is sent again over the next link.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from saltext_logilab.errors import WireError
from saltext_logilab.masters.journal import Journal
from saltext_logilab.masters.link import MESSAGE_LIMIT, Link
from saltext_logilab.masters.records import ORIGIN_SIZE, join, verify

HEARTBEAT = 10.0
SILENCE = 3 * HEARTBEAT
REPAIR_INTERVAL = 60.0
ANSWER_TIME = 5.0

_PART = MESSAGE_LIMIT // 4


@dataclass
class Exchange:
    """
    One link at work.

    :param changed: called with the subjects that received records have changed.
    :param heard: called after each ``have`` of the other side.
    :param trusted: says whether a raw public key is a member's.
    """

    link: Link
    journal: Journal
    about: Mapping[str, str]
    changed: Callable[[set[str]], None]
    heard: Callable[[], None]
    trusted: Callable[[bytes], bool]
    theirs: dict[bytes, int] | None = None
    their_about: dict[str, str] = field(default_factory=dict)
    differs: bool = False
    strangers: int = 0
    _cursor: dict[bytes, int] = field(default_factory=dict)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _acknowledge: bool = True
    _repaired: float = float("-inf")
    _introduced: int = 0
    _met: int = 0
    _repeated: float = float("-inf")
    _sent_at: float = float("-inf")

    def wake(self) -> None:
        """Say that there may be something to send."""
        self._wake.set()

    async def run(self) -> None:
        """
        Exchange until the link ends.

        :raises WireError: the other side has sent something that no member sends.
        :raises OSError, EOFError: the link has ended.
        """
        await self.link.send(["hello", dict(self.about)])
        sender = asyncio.ensure_future(self._send())
        receiver = asyncio.ensure_future(self._receive())
        try:
            await asyncio.wait([sender, receiver], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.link.close()
            for task in (sender, receiver):
                task.cancel()
            results = await asyncio.gather(sender, receiver, return_exceptions=True)
        for error in results:
            if isinstance(error, BaseException) and not isinstance(error, asyncio.CancelledError):
                raise error

    async def _send(self) -> None:
        due = 0.0
        while True:
            known = self.journal.members()
            if self._acknowledge or time.monotonic() >= due or len(known) != self._introduced:
                self._acknowledge, due, self._introduced = False, time.monotonic() + HEARTBEAT, len(known)
                await self.link.send(["have", self.journal.frontier(), self.journal.digest(), list(known.values())])
            if self.theirs is not None:
                await self._send_missing()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), max(0.01, due - time.monotonic()))
            self._wake.clear()

    async def _send_missing(self) -> None:
        through = self.journal.frontier()
        if all(self._cursor.get(origin, 0) >= counter for origin, counter in through.items()):
            return
        part: list[list[bytes]] = []
        size = 0
        for blob, signature in list(self.journal.beyond(self._cursor)):
            if size + len(blob) > _PART:
                await self.link.send(["records", part, None])
                part, size = [], 0
            part.append([blob, signature])
            size += len(blob)
        await self.link.send(["records", part, through])
        self._cursor, self._sent_at = join(self._cursor, through), time.monotonic()

    async def _receive(self) -> None:
        handlers: dict[str, Callable[[list[Any]], None]] = {
            "hello": self._on_hello,
            "have": self._on_have,
            "records": self._on_records,
        }
        while True:
            kind, *fields = await asyncio.wait_for(self.link.receive(), SILENCE)
            handler = handlers.get(kind) if isinstance(kind, str) else None
            if handler is None:
                raise WireError(f"a message of the unknown kind {kind!r} came")
            try:
                handler(fields)
            except (ValueError, TypeError, AttributeError) as err:
                raise WireError(f"a message {kind!r} is malformed") from err

    def _on_hello(self, fields: list[Any]) -> None:
        (about,) = fields
        self.their_about = {str(key): str(value)[:64] for key, value in list(about.items())[:16]}

    def _on_have(self, fields: list[Any]) -> None:
        frontier, digest, publics = fields
        self.theirs = _vector(frontier)
        self._cursor = join({} if self._is_to_repeat(len(publics)) else self._cursor, self.theirs)
        known = self.journal.members().values()
        new = [one for one in publics if one not in known and self.trusted(one)]
        if new:
            self.journal.add_members(new)
            self.strangers = 0
        self._compare(digest)
        self.heard()
        self._wake.set()

    def _is_to_repeat(self, their_members: int) -> bool:
        """
        Say whether to send once more what they do not have, though it was sent.

        They have refused it, as records of a member that they did not know; perhaps they know it now.
        """
        now, met = time.monotonic(), their_members != self._met
        self._met = their_members
        if not met and now - max(self._sent_at + ANSWER_TIME, self._repeated + REPAIR_INTERVAL) < 0:
            return False
        self._repeated = now
        return True

    def _compare(self, digest: bytes) -> None:
        """Equal frontiers and different records cannot be; should it happen all the same, everything is sent again."""
        self.differs = self.theirs == self.journal.frontier() and digest != self.journal.digest()
        if self.differs and time.monotonic() - self._repaired > REPAIR_INTERVAL:
            self._repaired = time.monotonic()
            self._cursor = {}

    def _on_records(self, fields: list[Any]) -> None:
        pairs, through = fields
        members = {member: public for member, public in self.journal.members().items() if self.trusted(public)}
        received = [one for blob, signature in pairs if (one := verify(blob, signature, members))]
        self.strangers += len(pairs) - len(received)
        reached = _vector(through) if through is not None else {}
        changed = self.journal.merge(received, reached, members)
        self._cursor = join(self._cursor, reached)
        self._acknowledge = self._acknowledge or through is not None
        self._wake.set()
        if changed:
            self.changed(changed)


def _vector(value: Any) -> dict[bytes, int]:
    for origin, counter in value.items():
        if (
            not isinstance(origin, bytes)
            or len(origin) != ORIGIN_SIZE
            or type(counter) is not int
            or not 0 <= counter < 2**63
        ):
            raise WireError("a frontier is malformed")
    return dict(value)
