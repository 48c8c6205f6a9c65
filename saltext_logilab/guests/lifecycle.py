"""
Follow how the guests of a host start, stop, come and go, by libvirt's own events.

Subscribe, then tell, then follow: nothing falls between. Where the connection breaks, it is opened anew with a growing
pause, and whoever is told looks again. libvirt's event loop belongs to one process, which does nothing else.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from saltext_logilab.errors import LogilabError, UnavailableError
from saltext_logilab.guests import connection
from saltext_logilab.guests.connection import Connection
from saltext_logilab.within.pace import Pace

log = logging.getLogger(__name__)

KINDS = ("VIR_DOMAIN_EVENT_ID_LIFECYCLE", "VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE")
DEBOUNCE = 0.08  # seconds for more of the same
ROUND = 1.0  # seconds after which the loop looks whether it goes on
KEEP_ALIVE = (5, 3)  # seconds between two questions whether the daemon lives, and how many may stay unanswered
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 15.0


@dataclass
class Follower:
    """What follows one libvirt: ``tell`` is called at first and after changes; ``alive`` says whether it goes on."""

    uri: str
    tell: Callable[[], None]
    alive: Callable[[], bool]
    _pace: Pace = field(default_factory=Pace, init=False)
    _due: float | None = field(default=None, init=False)
    _timer: int = field(default=-1, init=False)
    _problem: str = field(default="", init=False)

    def run(self) -> None:
        """Follow until ``alive`` says no; a daemon that cannot be reached is tried again and again."""
        if connection.libvirt is None:
            raise UnavailableError(connection.MISSING)
        connection.libvirt.virEventRegisterDefaultImpl()  # before the first connection
        self._timer = connection.libvirt.virEventAddTimeout(round(1000 * ROUND), _nothing, None)
        pause = FIRST_PAUSE
        while self.alive():
            begun = time.monotonic()
            try:
                with connection.opened(self.uri) as link:
                    self._follow(link)
            except LogilabError as err:
                self._complain(str(err))
            pause = FIRST_PAUSE if time.monotonic() - begun > LONGEST_PAUSE else min(2 * pause, LONGEST_PAUSE)
            end = time.monotonic() + pause
            while self.alive() and time.monotonic() < end:
                time.sleep(min(pause, ROUND))

    def _complain(self, problem: str) -> None:
        if problem != self._problem:
            log.warning("the guests of %s cannot be followed: %s", self.uri, problem)
        self._problem = problem

    def _follow(self, link: Connection) -> None:
        link.setKeepAlive(*KEEP_ALIVE)
        for kind in KINDS:
            link.domainEventRegisterAny(None, getattr(connection.libvirt, kind), self._heard, None)
        self._problem = ""
        self._heard()
        while self.alive() and link.isAlive():
            connection.libvirt.virEventRunDefaultImpl()
            if self._due is not None and time.monotonic() >= self._due:
                self._due = None
                self._pace.took(time.monotonic())
                connection.libvirt.virEventUpdateTimeout(self._timer, round(1000 * ROUND))
                self.tell()
        if self.alive():
            raise UnavailableError("the connection broke")

    def _heard(self, *_: Any) -> None:
        """Take note of an event; all that comes until it is told is told at once."""
        if self._due is None:
            now = time.monotonic()
            self._due = max(now + DEBOUNCE, self._pace.due)
            connection.libvirt.virEventUpdateTimeout(self._timer, max(1, round(1000 * (self._due - now))))


def _nothing(*_: Any) -> None:
    """Let the loop come round."""
