"""The links of a member with its peers: who is connected, since when, and how far each one is."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from saltext_logilab.errors import UnavailableError
from saltext_logilab.identity import fingerprint
from saltext_logilab.masters.addresses import parse_address
from saltext_logilab.masters.exchange import ANSWER_TIME, Answer, Exchange
from saltext_logilab.masters.group import Member
from saltext_logilab.masters.guard import forever, sentence
from saltext_logilab.masters.journal import Journal
from saltext_logilab.masters.link import Doors, Link, Serve
from saltext_logilab.masters.records import Vector, member_id
from saltext_logilab.masters.settings import MastersSettings
from saltext_logilab.patience import within

log = logging.getLogger(__name__)

FIRST_CONTACT = 3.0
BACKOFF = (0.25, 1.0)
ELSEWHERE, RARELY = 150.0, 10  # who was heard over another carrier so lately is dialled so much more rarely
COURTESY = 0.3  # seconds for which one of two that hear of each other at the same time lets the other one dial
FAREWELL = 1.0  # seconds in which a link to a member that is gone tells it so


@dataclass
class PeerState:
    """
    What is known of a peer.

    ``since`` is when its state (connected or not) began, ``heard`` when it last spoke, both as Unix time. ``tried`` is
    set once it has been heard or could not be reached, ``alone`` while there is no link with it. ``elsewhere`` is when
    it was last heard otherwise than over a link.
    """

    member: Member
    links: list[Exchange] = field(default_factory=list)
    since: float = field(default_factory=time.time)
    error: str = ""
    tried: asyncio.Event = field(default_factory=asyncio.Event)
    about: dict[str, str] = field(default_factory=dict)
    acknowledged: dict[bytes, int] | None = None
    lagging: float = 0.0
    heard: float = 0.0
    elsewhere: float = 0.0
    alone: asyncio.Event = field(default_factory=asyncio.Event)
    dialling: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self.alone.set()

    def add(self, exchange: Exchange) -> None:
        """Note a link; the newest one is the one to send over."""
        if not self.links:
            self.since, self.error = time.time(), ""
        self.links.append(exchange)
        self.alone.clear()

    def drop(self, exchange: Exchange | None, error: str) -> None:
        """Note that a link has ended (None: that there could be none), and why."""
        if exchange in self.links:
            self.links.remove(exchange)
        if not self.links:
            if not self.error:
                self.since = time.time()
            self.error = error
            self.alone.set()
        else:
            self.links[-1].wake()

    def end(self) -> None:
        """End all that goes on with this peer: it is no member any more."""
        if self.dialling:
            self.dialling.cancel()
        for exchange in self.links:
            exchange.link.close()

    def facts(self, journal: Journal) -> dict[str, Any]:
        """Return what the health file says of the peer."""
        behind = None if self.acknowledged is None else journal.count_beyond(self.acknowledged)
        self.lagging = (self.lagging or time.time()) if behind else 0.0
        return {
            "name": self.member.name,
            "address": self.member.address,
            "state": self.member.state,
            "connected": bool(self.links),
            "since": self.since,
            "heard": max(self.heard, self.elsewhere),
            "elsewhere": self.elsewhere,
            "behind": behind,
            "lagging": self.lagging,
            "differs": any(link.differs for link in self.links),
            "refused": sum(link.strangers for link in self.links),
            "error": self.error,
            "about": self.about,
        }


@dataclass(frozen=True)
class Hooks:
    """
    What links call.

    :param arrived: called with the subjects that records of others have changed.
    :param news: called when something has changed that the health file shows.
    :param invited: serves the link of somebody who has an invite.
    :param answers: what answers which question of a peer.
    """

    arrived: Callable[[set[str]], None]
    news: Callable[[], None]
    invited: Serve
    answers: Mapping[str, Answer]


class Peers:
    """
    All links of one member.

    Each member dials each peer and takes what dials it; one link is enough, whoever has dialled it.
    """

    def __init__(self, settings: MastersSettings, journal: Journal, about: Mapping[str, str], hooks: Hooks) -> None:
        self.states: dict[bytes, PeerState] = {}
        self.listening = False
        self.error = ""
        self._parting: set[asyncio.Task[None]] = set()
        self.doors = Doors(journal.identity, settings.folder)
        self._settings = settings
        self._journal = journal
        self._about = about
        self._hooks = hooks

    async def run(self) -> None:
        """Listen and dial until cancelled."""
        self._follow(courtesy=0.0)
        try:
            await forever(self._listen, self._deaf)
        finally:
            for state in self.states.values():
                state.end()
            for parting in self._parting:
                parting.cancel()
            dialling = [one.dialling for one in self.states.values() if one.dialling]
            await asyncio.gather(*dialling, *self._parting, return_exceptions=True)
            await self.doors.close()

    def refresh(self) -> None:
        """Follow the group: dial new members, leave those that are gone alone."""
        self._follow(COURTESY)

    def _follow(self, courtesy: float) -> None:
        group, own = self._journal.group(), member_id(self._journal.identity.public)
        me = group.members.get(own)
        gone = me is not None and me.state in ("left", "evicted")
        wanted = (
            {} if gone else {key: one for key, one in group.members.items() if one.state in ("active", "suspended")}
        )
        wanted.pop(own, None)
        for short, member in wanted.items():
            state = self.states.get(short)
            if state is None:
                state = self.states[short] = PeerState(member)
                state.dialling = asyncio.ensure_future(self._keep_dialling(state, courtesy if short < own else 0.0))
            state.member = member
        for short in self.states.keys() - wanted.keys():
            state = self.states.pop(short)
            for exchange in state.links:  # it is told what has become of it, and who is evicted tells nothing more
                exchange.wake()
            if state.dialling:
                self._take_leave(state.dialling, FAREWELL if state.links else 0.0)
        self.send()
        self._hooks.news()

    def _take_leave(self, dialling: asyncio.Task[None], seconds: float) -> None:
        """End ``dialling`` in so many seconds: a link that it serves has something to tell before."""
        self._parting.add(dialling)
        dialling.add_done_callback(self._parting.discard)
        asyncio.get_running_loop().call_later(seconds, dialling.cancel)

    async def first_contact(self) -> None:
        """Wait until each peer has said what it knows or could not be reached, but not for long."""
        waits = [asyncio.ensure_future(state.tried.wait()) for state in self.states.values()]
        try:
            if waits:
                await asyncio.wait(waits, timeout=FIRST_CONTACT)
        finally:
            for wait in waits:
                wait.cancel()

    def has_compared(self) -> bool:
        """Say whether all that one peer knows is here, or there is no other member."""
        others = self._journal.group().active().keys() - {member_id(self._journal.identity.public)}
        return not others or any(link.complete for state in self.states.values() for link in state.links)

    def send(self) -> None:
        """Wake the newest link of each peer: the others only listen, so that nothing is sent twice."""
        for state in self.states.values():
            if state.links:
                state.links[-1].wake()

    def introduce(self) -> None:
        """Tell the others what has changed about this member."""
        for state in self.states.values():
            for link in state.links:
                link.introduce()

    def heard_elsewhere(self, short: bytes, frontier: Vector, about: dict[str, str]) -> None:
        """Take note of what a member says of itself over another carrier."""
        state = self.states.get(short)
        if state is None:
            return
        state.elsewhere = time.time()
        if not state.links:
            state.acknowledged, state.about = dict(frontier), about
        self._hooks.news()

    def names(self) -> dict[str, bytes]:
        """Return the short names of the active members by name."""
        return {state.member.name: short for short, state in self.states.items() if state.member.is_active}

    def linked(self) -> dict[bytes, tuple[str, object, frozenset[str]]]:
        """Return of each active member with a link its name, the newest link, and the minion data that it shares."""
        return {
            short: (state.member.name, state.links[-1], frozenset(state.about.get("data", "").split()))
            for short, state in self.states.items()
            if state.links and state.links[-1].theirs is not None and state.member.is_active
        }

    async def ask_all(self, what: str, about: Any) -> dict[str, Any]:
        """Ask all members; return by name ``answer``, what each has answered, or ``error``, a sentence."""
        names = self.names()
        told = await asyncio.gather(*(self._ask(short, what, about) for short in names.values()))
        return dict(zip(names, told, strict=True))

    async def _ask(self, short: bytes, what: str, about: Any) -> dict[str, Any]:
        try:
            return {"answer": await self.ask(short, what, about)}
        except UnavailableError as err:
            return {"error": str(err)}

    async def ask(self, short: bytes, what: str, about: Any, timeout: float = ANSWER_TIME) -> Any:
        """Ask one member; :raises UnavailableError: it is not connected, or does not answer in time."""
        state = self.states.get(short)
        if state and not state.links and not state.tried.is_set():  # this engine has just begun
            with contextlib.suppress(asyncio.TimeoutError):
                await within(FIRST_CONTACT, state.tried.wait())
        links = state.links if state else []
        if not links:
            raise UnavailableError((state and state.error) or "it is not connected")
        return await links[-1].ask(what, about, timeout)

    def _deaf(self, error: str) -> None:
        self.listening = False
        if self.error != error:
            log.error("%s", error)
            self.error = error
            self._hooks.news()

    async def _listen(self) -> None:
        server = await self.doors.listen(self._settings.listen, self._is_known, self._serve, self._hooks.invited)
        self.listening, self.error = True, ""
        self._hooks.news()
        async with server:
            await server.serve_forever()

    def _is_known(self, public: bytes) -> bool:
        return member_id(public) in self._journal.group().members

    async def _keep_dialling(self, state: PeerState, courtesy: float) -> None:
        await asyncio.sleep(courtesy)
        pause = BACKOFF[0]
        while True:
            await state.alone.wait()  # a link that the peer has dialled serves as well
            try:
                address = parse_address(f"the address of {state.member.name}", state.member.address)
                link = await self.doors.dial(address, state.member.fingerprint)
                pause = BACKOFF[0]
                await self._serve(link)
            except Exception as err:  # noqa: BLE001 - the outermost loop of a task
                self._lost(state, sentence(err))
            state.tried.set()
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
            is_heard = time.time() - state.elsewhere < ELSEWHERE
            pause = min(pause * 2, BACKOFF[1] * (RARELY if is_heard else 1))

    async def _serve(self, link: Link) -> None:
        member = self._journal.group().members[member_id(link.public)]
        state = self.states.get(member_id(link.public)) or PeerState(member)  # one that is gone is told so
        exchange = Exchange(
            link,
            self._journal,
            self._about,
            changed=self._changed,
            heard=lambda: self._heard(state, exchange),
            answers=self._hooks.answers,
        )
        state.add(exchange)
        self._hooks.news()
        error = "the link has ended"
        try:
            await exchange.run()
        except (OSError, EOFError, asyncio.TimeoutError) as err:
            error = f"the link has ended: {str(err) or type(err).__name__}"
        except Exception as err:  # noqa: BLE001 - the outermost loop of a link
            error = sentence(err)
            log.warning("%s (%s): %s", state.member.name, fingerprint(link.public), error)
        finally:
            self._lost(state, error, exchange)

    def _changed(self, subjects: set[str]) -> None:
        self._hooks.arrived(subjects)
        self.send()  # a peer of ours need not be one of theirs

    def _heard(self, state: PeerState, exchange: Exchange) -> None:
        theirs = exchange.theirs or {}
        state.about, state.acknowledged, state.heard = exchange.their_about, theirs, time.time()
        state.tried.set()
        self._hooks.news()

    def _lost(self, state: PeerState, error: str, exchange: Exchange | None = None) -> None:
        state.drop(exchange, error)
        self._hooks.news()
