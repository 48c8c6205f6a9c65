"""
A swarm beside a program that is not asynchronous, such as a test: its loop runs in a thread of its own.

>>> with Background(spec.from_data({"groups": {"web": {"count": 100}}}), ["127.0.0.1:4506"]) as swarm:
...     swarm.ready()
...     swarm.summary()["joined"]
100
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, TypeVar

from saltext_logilab.swarm import pacing
from saltext_logilab.swarm.behaviour import Spec
from saltext_logilab.swarm.counters import Counts
from saltext_logilab.swarm.seats import Problem
from saltext_logilab.swarm.swarm import Swarm

T = TypeVar("T")


class Background:
    """A :class:`~saltext_logilab.swarm.swarm.Swarm` in a thread; its functions can be called from any other."""

    def __init__(self, spec: Spec, masters: list[str] | tuple[str, ...] = (), **options: Any) -> None:
        """Prepare a swarm; arguments and errors as :class:`Swarm`."""
        self.swarm = Swarm(spec, masters, **options)
        self._loop = pacing.new_loop(spec.width)
        self._thread = threading.Thread(target=self._loop.run_forever, name="fake minions", daemon=True)

    def __enter__(self) -> Background:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    @property
    def ids(self) -> list[str]:
        """The ids of all minions."""
        return [minion.id for minion in self.swarm.minions]

    @property
    def counts(self) -> Counts:
        """What was counted since the start."""
        return self.swarm.counts

    def start(self) -> None:
        """Start the thread and the swarm; raises as :meth:`Swarm.start`."""
        self._thread.start()
        try:
            self._wait(self.swarm.start())
        except BaseException:
            self.stop()
            raise

    def ready(self, timeout: float = 60, share: float = 1.0) -> None:
        """Wait until ``share`` of all minions have joined; raises as :meth:`Swarm.ready`."""
        self._wait(self.swarm.ready(timeout, share))

    def summary(self) -> dict[str, Any]:
        """Return all that is known, as :meth:`Swarm.summary`."""
        return self._ask(self.swarm.summary)

    def problems(self) -> list[Problem]:
        """Return why minions are not joined, as :meth:`Swarm.problems`."""
        return self._ask(self.swarm.problems)

    def stop(self) -> None:
        """Stop the swarm and the thread."""
        if not self._thread.is_alive():
            return
        try:
            self._wait(self.swarm.stop())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _ask(self, function: Callable[[], T]) -> T:
        async def asked() -> T:
            return function()

        return self._wait(asked())

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
