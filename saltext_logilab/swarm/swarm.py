"""
A swarm of fake minions, to be used by programs and tests.

>>> async with Swarm(spec.from_data({"groups": {"web": {"count": 100}}}), ["127.0.0.1:4506"]) as swarm:
...     await swarm.ready()
...     swarm.counts.answered
0
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import time
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any

from saltext_logilab.errors import ConfigurationError, UnavailableError
from saltext_logilab.swarm.behaviour import Spec
from saltext_logilab.swarm.chores import Chores
from saltext_logilab.swarm.counters import Counts
from saltext_logilab.swarm.engine import Engine
from saltext_logilab.swarm.jobs import Jobs
from saltext_logilab.swarm.joining import Joining
from saltext_logilab.swarm.keys import SHARED, Pool
from saltext_logilab.swarm.minions import FakeMinion, cast, rehearse
from saltext_logilab.swarm.seats import Master, Problem, resolve

_CHUNK = 100  # minions that begin before anything else gets its turn
_FILES = 2  # file descriptors of a minion with sockets of its own, per master
_SPARE = 256
_LOOK = 0.02  # seconds between looks whether all have come


class Swarm:
    """Fake minions at real masters, from the beginning of ``async with`` to its end."""

    def __init__(
        self,
        spec: Spec,
        masters: Sequence[str] = (),
        *,
        yes_master: Sequence[str] = (),
        keys: Path | None = None,
        progress: Callable[[str], None] = lambda _text: None,
    ) -> None:
        """
        Prepare the minions of ``spec``.

        :param masters: ``HOST`` or ``HOST:PORT`` each; by default those of ``spec``.
        :param yes_master: hosts that may be another machine than this one.
        :param keys: the folder of the minions' keys; by default the user's, shared by all swarms.
        :param progress: gets a line of text now and then while keys are made.
        :raises ConfigurationError: there is no master, or an id or a template is impossible.
        :raises RefusedError: a master is not on this machine, and not among ``yes_master``.
        :raises UnavailableError: a master has no address, or this system allows too few open files.
        """
        wanted = tuple(masters) or spec.masters
        if not wanted:
            raise ConfigurationError("no master is named: give --master HOST[:PORT], or masters in the specification")
        self.spec = spec
        self.minions: list[FakeMinion] = cast(spec)
        if not self.minions:
            raise ConfigurationError("there are no minions: each count is 0")
        rehearse(self.minions)
        self._masters = [resolve(text, tuple(yes_master)) for text in wanted]
        self._keys = keys
        self._progress = progress
        self._engine: Engine | None = None
        self._pool: Pool | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        _allow_files(spec, len(self._masters))

    async def __aenter__(self) -> Swarm:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        await self.stop()

    async def start(self) -> None:
        """
        Make the keys that are missing, and let the minions come.

        :raises UnavailableError: the keys cannot be made or read.
        """
        self._pool = Pool(self._keys)
        await asyncio.to_thread(self._make_keys, self._pool)
        engine = self._engine = Engine(self.spec, self.minions, self._masters, self._pool)
        chores = Chores(engine)
        jobs = Jobs(engine, chores.deeds(), chores.questions())
        joining = Joining(engine, jobs.handle, chores.begin)
        chores.bind(joining)
        self._tasks = [asyncio.create_task(joining.watch(master)) for master in self._masters]
        self._tasks.append(asyncio.create_task(self._begin(engine, joining)))

    async def stop(self) -> None:
        """Stop at once; the masters keep the keys and data of the minions (see ``salt-swarm clean``)."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self._engine:
            self._engine.close()
        if self._engine and self._pool:
            self._pool.close()

    async def ready(self, timeout: float = 60, share: float = 1.0) -> None:
        """
        Wait until ``share`` of all minions have joined: all masters, or with failover one.

        :raises UnavailableError: they have not after ``timeout`` seconds; the text says why for the first of them.
        """
        deadline = time.monotonic() + timeout
        while self.joined() < share * self.wanted:
            if time.monotonic() > deadline:
                taken = f"{self.joined()} of {self.wanted} places are taken after {timeout:g} s"
                raise UnavailableError(taken + self._why())
            await asyncio.sleep(_LOOK)

    @property
    def wanted(self) -> int:
        """How many places at masters there are to take."""
        return len(self.minions) * (len(self._masters) if self.spec.kind == "hot-hot" else 1)

    @property
    def masters(self) -> list[Master]:
        """The masters as their minions see them."""
        return self._masters

    @property
    def counts(self) -> Counts:
        """What was counted since the start."""
        return self._running.counters.counts

    def joined(self) -> int:
        """Return how many places at masters are taken: the master knows that the minion has started."""
        return sum(master.settled for master in self._masters)

    def states(self) -> dict[str, dict[str, int]]:
        """Return how many minions stand how, for each master: ``{"127.0.0.1:4506": {"joined": 1000}}``."""
        return {
            master.name: {state.value: number for state, number in master.tally.items() if number}
            for master in self._masters
        }

    def problems(self) -> list[Problem]:
        """Return why minions are not joined: one entry for each minion and master."""
        return list(chain.from_iterable(master.problems() for master in self._masters))

    def summary(self) -> dict[str, Any]:
        """Return all that is known, as plain data: ``salt-swarm report`` shows it."""
        engine = self._running
        return {
            "seconds": round(engine.now, 3),
            "minions": len(self.minions),
            "masters": [master.name for master in self._masters],
            "connections": self.spec.connections,
            "wanted": self.wanted,
            "joined": self.joined(),
            "states": self.states(),
            **engine.counters.summary(),
        }

    @property
    def _running(self) -> Engine:
        if self._engine is None:
            raise UnavailableError("the swarm has not been started")
        return self._engine

    def _why(self) -> str:
        problems = self.problems()
        if not problems:
            return "; the others have not been answered yet"
        first = problems[0]
        return f"; {first.minion} at {first.master}: {first.state}: {first.text}"

    def _make_keys(self, pool: Pool) -> None:
        numbers = {minion.key_number for minion in self.minions} | {SHARED}
        pool.ensure(numbers, self._key_made)

    def _key_made(self, made: int, count: int) -> None:
        if self._stopping:
            raise UnavailableError(f"stopped when {made} of {count} keys were made; they are kept")
        self._progress(f"making keys: {made} of {count}")

    async def _begin(self, engine: Engine, joining: Joining) -> None:
        for number, minion in enumerate(self.minions):
            delay = minion.group.start.at(minion.chance("start"))
            if delay:
                engine.after(delay, joining.begin, minion)
            else:
                joining.begin(minion)
            if number % _CHUNK == _CHUNK - 1:
                await asyncio.sleep(0)


def _allow_files(spec: Spec, masters: int) -> None:
    """Raise the limit of open files as far as needed; :raises UnavailableError: the system does not allow it."""
    each = spec.count * _FILES if spec.connections == "per-minion" else spec.sockets + 1
    needed = _SPARE + masters * each
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed or soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise UnavailableError(
            f"{spec.count} minions with sockets of their own need {needed} open files, this system allows {hard} "
            "(ulimit -Hn): take connections: pooled, or fewer minions"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
