"""A member at work: its links with its peers, its rounds over the key store, and its health, in one asyncio loop."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import Any

from saltext_logilab.masters import health
from saltext_logilab.masters.guard import forever
from saltext_logilab.masters.journal import Journal
from saltext_logilab.masters.peers import Peers
from saltext_logilab.masters.rounds import KeyStore, Rounds, Surroundings
from saltext_logilab.masters.settings import MastersSettings

log = logging.getLogger(__name__)

HEALTH_INTERVAL = 10.0
HEALTH_PAUSE = 0.5


class Member:
    """One member of the group, for one master; to be made in a running loop."""

    def __init__(
        self, settings: MastersSettings, journal: Journal, store: KeyStore, surroundings: Surroundings
    ) -> None:
        self._folder = settings.folder
        self._journal = journal
        self._salt = surroundings.versions["salt"]
        self._news = asyncio.Event()
        self._started = time.time()
        about = {"name": settings.name, **surroundings.versions}
        self._peers = Peers(settings, journal, about, arrived=self._arrived, news=self._news.set)
        self._rounds = Rounds(journal, store, surroundings, send=self._peers.send, news=self._news.set)

    async def run(self) -> None:
        """Work until cancelled."""
        await asyncio.gather(self._peers.run(), self._begin_rounds(), forever(self._keep_health, self._mute))

    def _arrived(self, subjects: set[str]) -> None:
        self._rounds.arrived(subjects)

    async def _begin_rounds(self) -> None:
        await self._peers.first_contact()  # a journal that was set back learns so before it makes records
        await self._rounds.run()

    @staticmethod
    def _mute(error: str) -> None:
        """The health file cannot be written: its age tells so."""
        log.error("The health of this member cannot be written: %s", error)

    async def _keep_health(self) -> None:
        """Write the health file when something has changed, but at most twice a second, and every ten seconds."""
        while True:
            health.write(self._folder, self._health())
            self._news.clear()
            await asyncio.sleep(HEALTH_PAUSE)
            try:
                await asyncio.wait_for(self._news.wait(), HEALTH_INTERVAL - HEALTH_PAUSE)
            except asyncio.TimeoutError:
                continue

    def _health(self) -> dict[str, Any]:
        errors = [*self._rounds.errors.values(), *filter(None, [self._peers.error])]
        return {
            "pid": os.getpid(),
            "salt": self._salt,
            "started": self._started,
            "written": time.time(),
            "listening": self._peers.listening,
            "errors": sorted(errors),
            "waiting": len(self._rounds.unapplied),
            "peers": {state.peer.name: state.facts(self._journal) for state in self._peers.states.values()},
        }
