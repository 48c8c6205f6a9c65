"""
A swarm as a program: it runs until it is told to stop, shows how it is, and ends with whoever has started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from saltext_logilab.errors import UnavailableError
from saltext_logilab.swarm import report
from saltext_logilab.swarm.swarm import Swarm

_FAMILY = 30  # looks after which the processes of the master are sought anew
_PR_SET_PDEATHSIG = 1  # prctl(2)


@dataclass(frozen=True)
class Wishes:
    """What somebody wants of a run; ``seconds`` 0 is without end, ``master_pid`` 0 measures no master."""

    report: Path | None = None
    seconds: float = 0.0
    interval: float = 1.0
    master_pid: int = 0
    with_parent: bool = False


@dataclass(frozen=True)
class Voice:
    """How a run speaks: ``show`` gets the state in one line, again and again; ``say`` what has happened, once."""

    show: Callable[[str], None]
    say: Callable[[str], None]


async def run(swarm: Swarm, wishes: Wishes, voice: Voice) -> dict[str, Any]:
    """
    Run ``swarm`` until SIGTERM, SIGINT, or the end of its time; return its last report, empty when it never began.

    :raises UnavailableError: the keys cannot be made, or there is no process ``wishes.master_pid``.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if wishes.with_parent:
        _die_with_parent()
    watch = Watch(swarm, wishes)
    starting = asyncio.create_task(swarm.start())
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():  # keys are being made: those that are made are kept
            starting.cancel()
            return {}
        await starting
        await _follow(watch, wishes, stopped, voice)
        return watch.look()
    finally:
        stopped.cancel()
        await swarm.stop()


async def _follow(watch: Watch, wishes: Wishes, stopped: asyncio.Task[bool], voice: Voice) -> None:
    begun, joined = time.monotonic(), False
    while not stopped.done():
        values = watch.look()
        if wishes.report:
            report.write(wishes.report, values)
        if not joined and values["joined"] >= values["wanted"]:
            joined = True
            _give_back_memory()
            masters = ", ".join(values["masters"])
            voice.say(f"{values['minions']} minions have joined {masters} in {values['seconds']:.1f} s")
        voice.show(report.line(values))
        left = wishes.seconds - (time.monotonic() - begun) if wishes.seconds else wishes.interval
        if left <= 0:
            return
        await asyncio.wait({stopped}, timeout=min(left, wishes.interval))


class Watch:
    """Looks at a swarm and its master now and then, and remembers what it saw."""

    def __init__(self, swarm: Swarm, wishes: Wishes) -> None:
        """Begin; :raises UnavailableError: there is no master with that pid."""
        self._swarm = swarm
        self._samples: list[Mapping[str, Any]] = []
        self._master = _process(wishes.master_pid) if wishes.master_pid else None
        self._family: list[psutil.Process] = []
        self._looks = 0
        self._master_begun = self._master_cpu() or 0.0

    def look(self) -> dict[str, Any]:
        """Return the report of now."""
        values = self._swarm.summary()
        cpu = self._master_cpu()
        sample = {
            "seconds": values["seconds"],
            "answered": values["counts"]["answered"],
            "cpu": values["cpu"],
            "master_cpu": None if cpu is None else round(cpu - self._master_begun, 3),
        }
        last = self._samples[-1] if self._samples else sample
        passed = sample["seconds"] - last["seconds"]
        values["rate"] = round((sample["answered"] - last["answered"]) / passed, 1) if passed > 0 else 0.0
        self._samples = report.kept(self._samples, sample)
        values["samples"] = self._samples
        if sample["master_cpu"] is not None:
            values["master_cpu"] = sample["master_cpu"]
        problems = self._swarm.problems()
        values["problem_count"] = len(problems)
        values["problems"] = [vars(problem) for problem in problems[: report.MOST_PROBLEMS]]
        return values

    def _master_cpu(self) -> float | None:
        """Return the CPU seconds of the master and its processes, or None when it is not watched or gone."""
        if self._master is None:
            return None
        total = 0.0
        try:
            if self._looks % _FAMILY == 0:  # it looks at all processes of the machine
                self._family = [self._master, *self._master.children(recursive=True)]
            self._looks += 1
            for process in self._family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    times = process.cpu_times()
                    total += times.user + times.system
        except psutil.NoSuchProcess:
            return None
        return total


def _process(pid: int) -> psutil.Process:
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess as err:
        raise UnavailableError(f"there is no process {pid}: --master-pid is a salt-master's first") from err


def _give_back_memory() -> None:
    """Let the C library give back what the sign-ins have used (malloc_trim(3), where there is one)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)


def _die_with_parent() -> None:
    """Let the kernel end this process with its parent: an orphan would answer the next run's jobs."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


@contextlib.contextmanager
def live_line(stream: Any = sys.stderr) -> Iterator[Callable[[str], None]]:
    """Give a function that shows a line on a terminal, each instead of the one before; nothing elsewhere."""
    if not stream.isatty():
        yield lambda _text: None
        return

    def show(text: str) -> None:
        stream.write(f"\r\x1b[K{text[:150]}")
        stream.flush()

    try:
        yield show
    finally:
        stream.write("\r\x1b[K")
        stream.flush()
