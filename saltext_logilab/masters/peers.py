"""The links of a member with its peers: who is connected, since when, and how far each one is."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from saltext_logilab.identity import fingerprint
from saltext_logilab.masters.exchange import Exchange
from saltext_logilab.masters.guard import forever, sentence
from saltext_logilab.masters.journal import Journal
from saltext_logilab.masters.link import Doors, Link
from saltext_logilab.masters.settings import MastersSettings, Peer

log = logging.getLogger(__name__)

FIRST_CONTACT = 3.0
BACKOFF = (0.25, 2.0)


@dataclass
class PeerState:
    """
    What is known of a peer.

    ``since`` is when its state (connected or not) began, ``heard`` when it last spoke, both as Unix time. ``tried`` is
    set once it has been heard or could not be reached, ``alone`` while there is no link with it.
    """

    peer: Peer
    links: list[Exchange] = field(default_factory=list)
    since: float = field(default_factory=time.time)
    error: str = ""
    tried: asyncio.Event = field(default_factory=asyncio.Event)
    about: dict[str, str] = field(default_factory=dict)
    acknowledged: dict[bytes, int] | None = None
    lagging: float = 0.0
    heard: float = 0.0
    alone: asyncio.Event = field(default_factory=asyncio.Event)

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

    def facts(self, journal: Journal) -> dict[str, Any]:
        """Return what the health file says of the peer."""
        behind = None if self.acknowledged is None else journal.count_beyond(self.acknowledged)
        self.lagging = (self.lagging or time.time()) if behind else 0.0
        return {
            "connected": bool(self.links),
            "since": self.since,
            "heard": self.heard,
            "behind": behind,
            "lagging": self.lagging,
            "differs": any(link.differs for link in self.links),
            "refused": sum(link.strangers for link in self.links),
            "error": self.error,
            "versions": {key: self.about[key] for key in ("salt", "logilab") if key in self.about},
        }


class Peers:
    """
    All links of one member.

    Each member dials each peer and takes what dials it; one link is enough, whoever has dialled it.

    :param arrived: called with the subjects that records of others have changed.
    :param news: called when something has changed that the health file shows.
    """

    def __init__(
        self,
        settings: MastersSettings,
        journal: Journal,
        about: dict[str, str],
        *,
        arrived: Callable[[set[str]], None],
        news: Callable[[], None],
    ) -> None:
        self.states = {peer.fingerprint: PeerState(peer) for peer in settings.peers}
        self.listening = False
        self.error = ""
        self._settings = settings
        self._journal = journal
        self._about = about
        self._arrived = arrived
        self._news = news

    async def run(self) -> None:
        """Listen and dial until cancelled."""
        self._journal.add_members([self._journal.identity.public])
        doors = Doors(self._journal.identity, self._settings.folder)
        dialling = [self._keep_dialling(doors, state) for state in self.states.values()]
        try:
            await asyncio.gather(forever(lambda: self._listen(doors), self._deaf), *dialling)
        finally:
            await doors.close()

    async def first_contact(self) -> None:
        """Wait until each peer has said what it knows or could not be reached, but not for long."""
        waits = [asyncio.ensure_future(state.tried.wait()) for state in self.states.values()]
        try:
            if waits:
                await asyncio.wait(waits, timeout=FIRST_CONTACT)
        finally:
            for wait in waits:
                wait.cancel()

    def send(self) -> None:
        """Wake the newest link of each peer: the others only listen, so that nothing is sent twice."""
        for state in self.states.values():
            if state.links:
                state.links[-1].wake()

    def _deaf(self, error: str) -> None:
        self.listening = False
        if self.error != error:
            log.error("%s", error)
            self.error = error
            self._news()

    async def _listen(self, doors: Doors) -> None:
        server = await doors.listen(self._settings.listen, self.states, self._serve)
        self.listening, self.error = True, ""
        self._news()
        async with server:
            await server.serve_forever()

    async def _keep_dialling(self, doors: Doors, state: PeerState) -> None:
        pause = BACKOFF[0]
        while True:
            await state.alone.wait()  # a link that the peer has dialled serves as well
            try:
                link = await doors.dial(state.peer.address, state.peer.fingerprint)
                pause = BACKOFF[0]
                await self._serve(link)
            except Exception as err:  # noqa: BLE001 - the outermost loop of a task
                self._lost(state, sentence(err))
            state.tried.set()
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
            pause = min(pause * 2, BACKOFF[1])

    async def _serve(self, link: Link) -> None:
        state = self.states[link.fingerprint]
        exchange = Exchange(
            link,
            self._journal,
            self._about,
            changed=self._changed,
            heard=lambda: self._heard(state, exchange),
            trusted=self._is_trusted,
        )
        self._journal.add_members([link.public])
        state.add(exchange)
        self._news()
        error = "the link has ended"
        try:
            await exchange.run()
        except (OSError, EOFError, asyncio.TimeoutError) as err:
            error = f"the link has ended: {str(err) or type(err).__name__}"
        except Exception as err:  # noqa: BLE001 - the outermost loop of a link
            error = sentence(err)
            log.warning("%s: %s", state.peer.name, error)
        finally:
            self._lost(state, error, exchange)

    def _changed(self, subjects: set[str]) -> None:
        self._arrived(subjects)
        self.send()  # a peer of ours need not be one of theirs

    def _is_trusted(self, public: bytes) -> bool:
        return public == self._journal.identity.public or fingerprint(public) in self.states

    def _heard(self, state: PeerState, exchange: Exchange) -> None:
        theirs = exchange.theirs or {}
        state.about, state.acknowledged, state.heard = exchange.their_about, theirs, time.time()
        state.tried.set()
        self._news()

    def _lost(self, state: PeerState, error: str, exchange: Exchange | None = None) -> None:
        state.drop(exchange, error)
        self._news()
