"""
An event loop that lets answers gather before it wakes: a few at once cost half of what they cost one by one.

A loaded master answers some hundred times a second. Who wakes for each answer finds its code and data gone from the
processor's caches each time. So this loop waits a moment after each time that it was busy, as network cards do with
their interrupts ("moderation"): until a part of its sockets has something to say, so that the master still has the
requests of the others at hand. No timer is late by it, and after a rest the first message is read at once.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

MOST = 0.1  # seconds
_REST = 0.5  # seconds after which the next burst begins without a pause: it may be a short one
_LEAST, _MORE, _LESS = 0.001, 1.5, 0.5
_FEW, _MANY = 1 / 4, 3 / 8  # of the sockets: with more, the pause is shorter the next time; with fewer, longer


class Pacing(selectors.DefaultSelector):
    """A selector that waits for more, once something is there."""

    def __init__(
        self, sockets: int, sleep: Callable[[float], object] = time.sleep, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Let a part of ``sockets`` gather: the requests that are under way at a time."""
        super().__init__()
        self.pause = 0.0
        self._few, self._many = _FEW * sockets, _MANY * sockets
        self._sleep = sleep
        self._clock = clock
        self._woken = clock()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready, as its base; ``timeout`` is the time until something has to be done anyway."""
        begun = self._clock()
        ready = super().select(timeout)
        if not ready:
            return ready
        now = self._clock()
        if now - self._woken > _REST:
            self.pause = 0.0
        rest = self._woken + self.pause - now
        if timeout is not None:
            rest = min(rest, begun + timeout - now)
        if rest > 0:
            self._sleep(rest)
            ready = super().select(0)
        self._woken = self._clock()
        self._adapt(len(ready))
        return ready

    def _adapt(self, ready: int) -> None:
        if ready > self._many:
            self.pause = self.pause * _LESS if self.pause > _LEAST else 0.0
        elif ready < self._few:
            self.pause = min(MOST, max(_LEAST, self.pause * _MORE))


def new_loop(sockets: int) -> asyncio.AbstractEventLoop:
    """Return a loop for a swarm with ``sockets`` for the requests of all."""
    return asyncio.SelectorEventLoop(Pacing(sockets))


def run(work: Coroutine[Any, Any, T], sockets: int) -> T:
    """Do ``work`` in such a loop, as :func:`asyncio.run` does it in another."""
    loop = new_loop(sockets)
    try:
        return loop.run_until_complete(work)
    finally:
        loop.run_until_complete(_end_what_is_left(loop))
        loop.close()


async def _end_what_is_left(loop: asyncio.AbstractEventLoop) -> None:
    left = asyncio.all_tasks(loop) - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    await loop.shutdown_default_executor()
