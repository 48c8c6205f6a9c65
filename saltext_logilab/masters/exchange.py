"""
The exchange of records over one link: each side says what it has, and sends what the other one lacks.

Messages: ``["hello", about]``; ``["have", journal, frontier, digest, members, refused]`` at the start, after new
records and as a heartbeat, with the number of members known and that of records refused because their origin was none;
``["records", [[blob, signature], …], through, journal]``. ``through`` is None but in the last part of a batch: then it
says up to which counter of each origin the receiver now has all that the sender has, if its journal is still the one
that has asked. Any part may be lost or come twice: what was not acknowledged by a ``have`` is sent again over the next
link. ``["reset", journal]`` tells a member that it has known more before: its journal was set back.
``["ask", number, what, about]`` is a question, answered by ``["told", number, answer]``.

With a member that is suspended or gone only the records about members are exchanged: so it learns what has become of
it.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from saltext_logilab.errors import LogilabError, UnavailableError, WireError
from saltext_logilab.masters import group as groups
from saltext_logilab.masters.guard import sentence
from saltext_logilab.masters.journal import Journal
from saltext_logilab.masters.kinds import verify, verify_all
from saltext_logilab.masters.link import MESSAGE_LIMIT, Link
from saltext_logilab.masters.records import Signed, covers, join, member_id, vector
from saltext_logilab.patience import within

HEARTBEAT = 10.0
SILENCE = 3 * HEARTBEAT
REPAIR_INTERVAL = 60.0
ANSWER_TIME = 5.0
LIMITED = 64
AT_ONCE = 4  # questions of one member that take time

_PART = MESSAGE_LIMIT // 4

Answer = Callable[[bytes, Any], Any]
"""What answers a question: of the member with this raw public key, about that; at once, or when it is awaited."""


@dataclass
class Exchange:
    """
    One link at work.

    :param changed: called with the subjects that received records have changed, and when all of the other side is here.
    :param heard: called after each ``have`` of the other side.
    :param answers: what answers which question.
    :param heartbeat: after so many seconds of silence it says that it is there.
    """

    link: Link
    journal: Journal
    about: Mapping[str, str]
    changed: Callable[[set[str]], None]
    heard: Callable[[], None]
    answers: Mapping[str, Answer] = field(default_factory=dict)
    heartbeat: float = HEARTBEAT
    theirs: dict[bytes, int] | None = None
    their_about: dict[str, str] = field(default_factory=dict)
    differs: bool = False
    complete: bool = False
    strangers: int = 0
    _cursor: dict[bytes, int] = field(default_factory=dict)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _acknowledge: bool = True
    _repaired: float = float("-inf")
    _met: int = 0
    _refused: int = 0
    _number: bytes = b""
    _repeated: float = float("-inf")
    _sent_at: float = float("-inf")
    _introduced: int = 0
    _limited: int = 0
    _outbox: list[list[Any]] = field(default_factory=list)
    _asked: dict[int, asyncio.Future[Any]] = field(default_factory=dict)
    _answering: set[asyncio.Task[None]] = field(default_factory=set)

    def wake(self) -> None:
        """Say that there may be something to send."""
        self._wake.set()

    def introduce(self) -> None:
        """Tell the other side what is to be known about this one."""
        self._outbox.append(["hello", dict(self.about)])
        self.wake()

    @property
    def is_full(self) -> bool:
        """Whether both sides take part in the group; else only records about members are exchanged."""
        active = self.journal.group().active()
        return {member_id(self.link.public), member_id(self.journal.identity.public)} <= active.keys()

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
            for task in (sender, receiver, *self._asked.values(), *self._answering):
                task.cancel()
            results = await asyncio.gather(sender, receiver, return_exceptions=True)
        for error in results:
            if isinstance(error, BaseException) and not isinstance(error, asyncio.CancelledError):
                raise error

    async def ask(self, what: str, about: Any, timeout: float = ANSWER_TIME) -> Any:
        """
        Ask the other side; return its answer.

        :raises UnavailableError: it does not answer, or not with what was asked for.
        """
        number = max(self._asked, default=0) + 1
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        self._outbox.append(["ask", number, what, about])
        self.wake()
        try:
            done, told = await within(timeout, answer)
        except (asyncio.TimeoutError, asyncio.CancelledError) as err:
            raise UnavailableError(f"no answer within {timeout:g} s") from err
        finally:
            del self._asked[number]
        if not done:
            raise UnavailableError(str(told)[:500])
        return told

    async def _send(self) -> None:
        due = 0.0
        while True:
            while self._outbox:
                await self.link.send(self._outbox.pop(0))
            if not self.is_full or self.theirs is None:  # the other side may not know yet that both take part
                await self._introduce()
            if self.is_full and (self._acknowledge or time.monotonic() >= due):
                self._acknowledge, due = False, time.monotonic() + self.heartbeat
                await self.link.send(self._have())
            if self.theirs is not None and self.is_full:
                await self._send_missing()
            if time.monotonic() >= due:  # a limited link lives on, too
                due = time.monotonic() + self.heartbeat
                await self.link.send(["hello", dict(self.about)])
            if not self._outbox:
                with contextlib.suppress(asyncio.TimeoutError):
                    await within(max(0.01, due - time.monotonic()), self._wake.wait())
            self._wake.clear()

    def _have(self) -> list[Any]:
        known = self.journal
        return ["have", known.number, known.frontier(), known.digest(), len(known.group().members), self._refused]

    async def _introduce(self) -> None:
        """Send what is known about members, whenever it has grown."""
        pairs = [list(one) for one in self.journal.beyond({}, groups.KIND)]
        if len(pairs) != self._introduced:
            self._introduced = len(pairs)
            await self.link.send(["records", pairs[:LIMITED], None, b""])

    async def _send_missing(self) -> None:
        through = self.journal.frontier()
        if covers(self._cursor, through):
            return
        part: list[list[bytes]] = []
        size = 0
        for blob, signature in list(self.journal.beyond(self._cursor)):
            if size + len(blob) > _PART:
                await self.link.send(["records", part, None, self._number])
                part, size = [], 0
            part.append([blob, signature])
            size += len(blob)
        await self.link.send(["records", part, through, self._number])
        self._cursor, self._sent_at = join(self._cursor, through), time.monotonic()

    async def _receive(self) -> None:
        handlers: dict[str, Callable[[list[Any]], None]] = {
            "hello": self._on_hello,
            "have": self._on_have,
            "records": self._on_records,
            "reset": self._on_reset,
            "ask": self._on_ask,
            "told": self._on_told,
        }
        while True:
            kind, *fields = await within(SILENCE, self.link.receive())
            handler = handlers.get(kind) if isinstance(kind, str) else None
            if handler is None:
                raise WireError(f"a message of the unknown kind {kind!r} came")
            try:
                handler(fields)
            except (ValueError, TypeError, AttributeError) as err:
                raise WireError(f"a message {kind!r} is malformed") from err

    def _on_hello(self, fields: list[Any]) -> None:
        (about,) = fields
        self.their_about = {str(key): str(value)[:128] for key, value in list(about.items())[:16]}
        if self.theirs is not None:
            self.heard()

    def _on_have(self, fields: list[Any]) -> None:
        number, frontier, digest, members, refused = fields
        theirs = vector(frontier)
        types = (type(number), type(digest), type(members), type(refused))
        if types != (bytes, bytes, int, int):
            raise WireError("what a member says that it has is malformed")
        if not self.is_full:
            return
        if not self.journal.acknowledge(member_id(self.link.public), number[:16], theirs, int(time.time())):
            self._outbox.append(["reset", number])
        own = self.journal.origin
        if theirs.get(own, 0) == self.journal.frontier().get(own, 0):
            self.journal.confirm()
        self.theirs = theirs
        anew, self._number = number != self._number, number  # another journal: what was sent to the old one is lost
        self._cursor = join({} if self._is_to_repeat(members, refused) or anew else self._cursor, theirs)
        if not self.complete and covers(self.journal.frontier(), theirs):
            self.complete = True
            self.changed(set())  # who has waited for that need not wait for a record
        self._compare(digest)
        self.heard()
        self._wake.set()

    def _is_to_repeat(self, their_members: int, they_refused: int) -> bool:
        """
        Say whether to send once more what they do not have, though it was sent.

        It was lost; or they have refused it, as records of a member that they did not know, and know one more now.
        """
        now, met = time.monotonic(), bool(they_refused) and their_members != self._met
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
        pairs, through, number = fields
        if not self.is_full:
            self._on_introduced(pairs)
            return
        received, about_members = self._verified(pairs)
        whole = through is not None and number == self.journal.number
        told = vector(through) if through is not None else {}
        reached = told if whole else {}
        changed = self.journal.merge([*about_members, *received], reached, repair=self.differs)
        self._cursor = join(self._cursor, reached)
        self._acknowledge = self._acknowledge or through is not None
        is_news, self.complete = whole and not self.complete, self.complete or whole
        self._wake.set()
        if changed or is_news:
            self.changed(changed)

    def _on_introduced(self, pairs: list[Any]) -> None:
        self._limited += len(pairs)
        if self._limited > 4 * LIMITED:
            raise WireError("a member that is suspended or gone says too much")
        _, about_members = self._verified(pairs)
        changed = self.journal.merge(about_members, {})
        if changed:
            self.changed(changed)

    def _verified(self, pairs: list[Any]) -> tuple[list[Signed], list[Signed]]:
        """
        Return the records that members have signed, and those about members apart.

        These come first, and each of them may name the member that has signed the next. What is here already, for
        another peer was quicker, is passed over: a look is cheaper than a signature's verification.
        """
        publics = self.journal.group().publics()
        received, about_members, unknown = [], [], 0
        fresh = [(blob, signature) for blob, signature in pairs if not self.journal.holds(blob, signature)]
        for pair, checked in zip(fresh, verify_all(fresh, publics), strict=True):
            one = checked or verify(*pair, publics)
            if one is None:
                unknown += 1
            elif one.record.kind == groups.KIND:
                about_members.append(one)
                public = groups.facts(one.record).public
                publics.setdefault(member_id(public), public)
            else:
                received.append(one)
        self.strangers = self.strangers + unknown if unknown else 0
        self._refused += unknown
        return received, about_members

    def _on_reset(self, fields: list[Any]) -> None:
        (number,) = fields
        if self.is_full and number == self.journal.number:
            self.journal.reset()
            self.complete, self._cursor, self._acknowledge = False, {}, True
            self.changed(set())
            self._wake.set()

    def _on_ask(self, fields: list[Any]) -> None:
        number, what, about = fields
        answer = self.answers.get(what)
        try:
            if answer is None or not self.is_full:
                raise UnavailableError(f"this master does not answer {str(what)[:40]!r}")
            if len(self._answering) >= AT_ONCE:
                raise UnavailableError("this master is busy with other questions")
            told = answer(self.link.public, about)
        except LogilabError as err:
            self._tell(number, done=False, told=str(err))
            return
        if not inspect.isawaitable(told):
            self._tell(number, done=True, told=told)
            return
        task = asyncio.ensure_future(self._answer(number, told))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, number: Any, work: Awaitable[Any]) -> None:
        try:
            told = await work
        except Exception as err:  # noqa: BLE001 - the outermost loop of an answer
            self._tell(number, done=False, told=sentence(err))
        else:
            self._tell(number, done=True, told=told)

    def _tell(self, number: Any, *, done: bool, told: Any) -> None:
        self._outbox.append(["told", number, [done, told]])
        self._wake.set()

    def _on_told(self, fields: list[Any]) -> None:
        number, (done, told) = fields
        waiting = self._asked.get(number)
        if waiting and not waiting.done():
            waiting.set_result((bool(done), told))
