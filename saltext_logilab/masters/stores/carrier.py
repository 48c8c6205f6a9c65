"""
A store as carrier of a member's records: its log is kept there, and the logs of the others are followed.

One task does all of it, turn by turn: take what is new, write what is lacking, wait for word. When anything fails, the
connection is given up, and after a while all is looked at anew over another one. Each member writes its own records;
those of a member that is not there, or has no store, are written by one of the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from saltext_logilab.errors import UnavailableError, WireError
from saltext_logilab.masters.guard import sentence
from saltext_logilab.masters.journal import FRESH, Journal
from saltext_logilab.masters.records import covers, member_id
from saltext_logilab.masters.stores.backend import CALL_TIME, Backend, ChangedError, Word
from saltext_logilab.masters.stores.duty import GRACE, HEARTBEAT, Duty
from saltext_logilab.masters.stores.letters import NAME_SIZE, Head, open_head, seal_head
from saltext_logilab.masters.stores.reader import Reader
from saltext_logilab.masters.stores.writer import Log, Writer
from saltext_logilab.patience import within

log = logging.getLogger(__name__)

PAUSE = 0.5  # seconds between two heads that only acknowledge
BACKOFF = (0.5, 10.0)
FIRST_CONTACT = 3.0
OPEN_TIME = 2 * CALL_TIME
NOTICE = 3600.0


@dataclass(frozen=True)
class Hooks:
    """
    What a carrier calls.

    :param arrived: called with the subjects that records of others have changed.
    :param news: called when something has changed that the health file shows.
    :param heard: called with a member, what it knows and what it says about itself.
    """

    arrived: Callable[[set[str]], None]
    news: Callable[[], None]
    heard: Callable[[bytes, Mapping[bytes, int], dict[str, str]], None]


class _AnewError(Exception):
    """This master is in another group than before."""


class StoreCarrier:
    """
    The records of one member in a store.

    :param make: makes an unopened connection for the group that it gets by name.
    """

    def __init__(
        self, journal: Journal, about: Mapping[str, str], hooks: Hooks, make: Callable[[str], Backend]
    ) -> None:
        self._journal = journal
        self._about = about
        self._hooks = hooks
        self._make = make
        self._wake = asyncio.Event()
        self._tried = asyncio.Event()
        self._run = secrets.token_bytes(NAME_SIZE)
        self._number = 0
        self._place = ""
        self._error = ""
        self._since = time.time()
        self._up = False
        self._set_back = 0.0
        self._unwritten = 0.0
        self._begin()

    def _begin(self) -> None:
        """Know nothing of any store."""
        self._group = self._journal.founder
        own = member_id(self._journal.identity.public)
        self._writer = Writer(self._journal, self._group, own)
        self._duty = Duty(self._journal, own)
        self._reader = Reader(self._journal, self._group, self._run, self._heard)
        self._resumed = self._damaged = False
        self._words: list[Word] = []
        self._said: Head | None = None
        self._said_key: tuple[object, ...] = ()
        self._said_at = float("-inf")
        self._mended = float("-inf")

    # -- a carrier -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Carry until cancelled."""
        pause = BACKOFF[0]
        while True:
            was_up = time.monotonic()
            try:
                await self._session()
            except _AnewError:
                self._begin()
                continue
            except Exception as err:  # noqa: BLE001 - the outermost loop of a carrier
                self._lost(sentence(err))
            self._tried.set()
            if time.monotonic() - was_up > BACKOFF[1]:
                pause = BACKOFF[0]
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
            pause = min(pause * 2, BACKOFF[1])

    def refresh(self) -> None:
        """Follow the group."""
        self._wake.set()

    def send(self) -> None:
        """Write the new records."""
        self._wake.set()

    async def first_contact(self) -> None:
        """Wait until the store has been looked at once, or could not be, but not for long."""
        with contextlib.suppress(asyncio.TimeoutError):
            await within(FIRST_CONTACT, self._tried.wait())

    def has_compared(self) -> bool:
        """Say whether all that one other member knows now is here."""
        return self._reader.complete

    def facts(self) -> dict[str, Any]:
        """Return what the health file says of the store."""
        names = {short: one.name for short, one in self._journal.group().members.items()}
        waiting = self._writer.waiting()
        self._unwritten = (self._unwritten or time.time()) if waiting else 0.0
        differing = [names.get(short, short.hex()) for short in self._reader.differs]
        return {
            "place": self._place,
            "connected": self._up,
            "since": self._since,
            "error": self._error,
            "waiting": waiting,
            "lagging": self._unwritten,
            "set_back": self._set_back if time.time() - self._set_back < NOTICE else 0.0,
            "troubles": sorted(self._reader.troubles.values()),
            "differs": sorted(differing),
        }

    def _heard(self, short: bytes, head: Head) -> None:
        self._hooks.heard(short, head.frontier, dict(head.about))

    def _lost(self, error: str) -> None:
        if self._up or not self._error:
            self._since = time.time()
        if error != self._error:
            log.warning("The store is away: %s", error)
        self._up, self._error = False, error
        self._hooks.news()

    # -- a session -------------------------------------------------------------------------------------------------

    async def _session(self) -> None:
        while not self._journal.founder:  # in no group yet
            self._tried.set()
            self._wake.clear()
            await self._wake.wait()
        if self._group != self._journal.founder:
            raise _AnewError
        backend = self._make(sha256(self._group).hexdigest()[:16])
        self._place = backend.place
        self._words.clear()
        self._writer.pending.clear()
        try:
            await within(OPEN_TIME, backend.open())
            following = asyncio.ensure_future(backend.follow(self._told))
            following.add_done_callback(lambda _: self._wake.set())
            try:
                await self._look(backend)
                while True:
                    await self._turn(backend)
                    await self._pause(following)
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
        except asyncio.TimeoutError as err:
            raise UnavailableError(f"{self._place} does not answer in time") from err
        finally:
            with contextlib.suppress(Exception):
                await within(CALL_TIME, backend.close())

    def _told(self, word: Word) -> None:
        self._words.append(word)
        self._wake.set()

    async def _pause(self, following: asyncio.Future[None]) -> None:
        """Wait for something to do."""
        if following.done():
            following.result()
            raise UnavailableError(f"{self._place} tells nothing any more")
        due = HEARTBEAT
        if self._is_in():
            pause = PAUSE if self._has_news() else HEARTBEAT
            is_waiting = self._duty.lacking or self._reader.differs
            due = min(self._said_at + pause - time.monotonic(), GRACE if is_waiting else HEARTBEAT)
        with contextlib.suppress(asyncio.TimeoutError):
            await within(max(0.005, due), self._wake.wait())
        self._wake.clear()

    async def _look(self, backend: Backend) -> None:
        """List what lies there; see whether it is what this member has written."""
        heads = await backend.heads()
        self._reader.show_all(heads)
        await self._resume(backend, heads.get(self._own))

    @property
    def _own(self) -> str:
        return self._writer.member.hex()

    async def _resume(self, backend: Backend, sealed: bytes | None) -> None:
        """Go on with the log that stands in the store, or begin a new one when it is not the one that was written."""
        writer, first = self._writer, not self._resumed
        tried = writer.tried
        if tried and sealed == tried[1]:
            writer.wrote(*tried)
        self._resumed = True
        head = self._opened(sealed)
        if first:
            self._reader.intact = sealed is not None and writer.is_noted(sealed)
            if head and head.journal == self._journal.number and not covers(self._journal.frontier(), head.frontier):
                self._reader.reset()
        try:
            if head is None or not (self._reader.intact if first else sealed == writer.head):
                raise WireError("another log stands there")
            writer.wrote(await writer.read(backend, head.end), sealed or b"")
        except WireError as err:
            if writer.head or (first and sealed is None and writer.has_written):
                self._note_set_back(f"what this master has written is not there as it was ({err})")
            writer.begin()

    def _opened(self, sealed: bytes | None) -> Head | None:
        try:
            public = self._journal.identity.public
            return open_head(sealed, self._group, self._writer.member, public) if sealed else None
        except WireError:
            return None

    def _note_set_back(self, told: str) -> None:
        log.warning("%s: %s; it is written again", self._place, told)
        self._set_back = time.time()
        self._hooks.news()

    # -- a turn ----------------------------------------------------------------------------------------------------

    async def _turn(self, backend: Backend) -> None:
        if self._group != self._journal.founder:
            raise _AnewError
        words, self._words = self._words, []
        await self._hear(backend, words)
        if self._reader.set_back:
            self._reader.set_back = False
            self._note_set_back("it shows something older than before")
        await self._take(backend)
        backend.check()
        if self._is_in():
            await self._write(backend)
            await self._clean_gone(backend)
        if not self._up:
            self._up, self._since, self._error = True, time.time(), ""
            self._hooks.news()
        self._tried.set()

    async def _hear(self, backend: Backend, words: list[Word]) -> None:
        own = [word for word in words if word.member == self._own]
        if any(not word.known for word in words):
            heads = await backend.heads()
            self._reader.show_all(heads)
            if any(not word.known for word in own) and not await self._stands(backend, heads.get(self._own)):
                self._damaged = True
        for word in words:
            if word.known and not word.log and word.member != self._own:
                self._reader.show(word.member, word.content)
        if any(self._writer.is_damaged_by(word) for word in own if word.known):
            self._damaged = True
        if self._is_broken() and time.monotonic() - self._mended > HEARTBEAT:
            self._mended, self._damaged = time.monotonic(), True

    def _is_broken(self) -> bool:
        """Say whether a member that is there cannot read what this one has written."""
        log_, heads = self._writer.log.end.log, (seen.head for seen in self._reader.seen.values() if seen.fresh)
        return any(head.broken.get(self._writer.member) == log_ for head in heads)

    async def _stands(self, backend: Backend, head: bytes | None) -> bool:
        end = self._writer.log.end
        return head == self._writer.head and await backend.count(self._own, end.log.hex()) == end.number

    async def _take(self, backend: Backend) -> None:
        changed: set[str] = set()
        while True:
            self._reader.look_again()
            more = await self._reader.take(backend)
            changed |= more
            if not more:
                break
        if changed or self._reader.was_reset:
            self._reader.was_reset = False
            self._hooks.arrived(changed)

    def _is_in(self) -> bool:
        me = self._journal.group().members.get(self._writer.member)
        return me is not None and me.is_active

    # -- what is written -------------------------------------------------------------------------------------------

    async def _write(self, backend: Backend) -> None:
        writer = self._writer
        if self._damaged:
            self._damaged = False
            self._note_set_back("somebody has changed what this master has written")
            writer.begin()
        if writer.log.journal != self._journal.number:
            writer.begin()
        claims = self._duty.claims(writer.log.through, self._reader, time.monotonic())
        log_, parts = writer.extended(writer.log, claims)
        if parts and writer.log.end.number and log_.is_long:
            log_, parts = writer.extended(writer.new_log(), claims)
        if not parts and not self._is_due():
            return
        head, key = self._head(log_), self._key()
        sealed = seal_head(head, self._journal.identity)
        is_new = log_.end.log != writer.log.end.log or writer.log.end.number == 0
        writer.trying(log_, sealed)
        try:
            await backend.write(self._own, log_.end.log.hex(), parts, sealed, writer.head)
        except ChangedError:
            self._damaged, writer.tried = True, None
            self._wake.set()
            return
        writer.wrote(log_, sealed)
        self._said, self._said_key, self._said_at = head, key, time.monotonic()
        if is_new:
            await backend.clean(self._own, log_.end.log.hex())

    async def _clean_gone(self, backend: Backend) -> None:
        """Remove what members have left here that are in the group no more; what counts of it was taken over."""
        active = self._journal.group().active()
        for short, seen in self._reader.seen.items():
            if seen.shown and short not in active and self._duty.rank(self._reader) == 0:
                await backend.clean(short.hex(), "")
                seen.shown = None

    def _head(self, log_: Log) -> Head:
        self._number += 1
        return Head(
            group=self._group, member=self._writer.member, run=self._run, number=self._number, end=log_.end,
            through=log_.through, journal=self._journal.number, frontier=self._journal.frontier(),
            digest=self._journal.digest(), heard=self._runs(), knew=dict(self._reader.knew),
            broken=dict(self._reader.broken), new=self._is_new(), about=self._about,
        )  # fmt: skip

    def _runs(self) -> dict[bytes, bytes]:
        active = self._journal.group().active()
        return {short: seen.head.run for short, seen in self._reader.seen.items() if short in active}

    def _is_new(self) -> bool:
        return bool(self._journal.note(FRESH))

    def _is_due(self) -> bool:
        """Say whether a head is to be written: who waits for one gets it at once, what is only acknowledged waits."""
        now = time.monotonic()
        if self._said_key != self._key() or now - self._said_at > HEARTBEAT:
            return True
        return self._has_news() and now - self._said_at > PAUSE

    def _key(self) -> tuple[object, ...]:
        """Return that of a head for which others wait."""
        reader = self._reader
        journals = {short: number for short, (number, _) in reader.knew.items()}
        return self._runs(), journals, set(reader.doubted), dict(reader.broken), self._is_new()

    def _has_news(self) -> bool:
        said = self._said
        return said is not None and (said.frontier != self._journal.frontier() or said.digest != self._journal.digest())
