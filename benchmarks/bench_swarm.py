"""
Fake minions: what they cost in memory and CPU, beside real minions of the same run.

A swarm is a process of its own, ``salt-swarm run``, at a lab's master with three workers. It has started when the
master has taken the start event of each minion. Memory is PSS. The peer is real minions started in the same run. Set
``SWARM_BENCH_MOST`` to 1000 to leave the longest part out.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.table import Row
from saltext_logilab.errors import WireError
from saltext_logilab.lab import processes
from saltext_logilab.lab.lab import Lab
from saltext_logilab.lab.plan import Wish
from saltext_logilab.swarm.keys import BITS, Pool, generate
from saltext_logilab.swarm.unlocking import unlock

REAL = 3
KEYS = 10
MOST = int(os.environ.get("SWARM_BENCH_MOST", "5000"))
COUNTS = [count for count in (100, 1000, 5000) if count <= MOST]
PATIENCE = 600.0
OPTIONS = {"auto_accept": True, "engines": [], "worker_threads": 3, "pillar_roots": {"base": []}}
KB, MB = 1024, 2**20


@dataclass(frozen=True)
class Seen:
    """A swarm that has joined: memory in bytes, CPU seconds until then, and the report of one ping of all."""

    memory: int
    start_cpu: float
    returns: int
    ping_cpu: float
    master_cpu: float
    stop: float
    after: int


@contextmanager
def lab(minions: int, **wish: Any) -> Iterator[Lab]:
    """Start a lab of one master and ``minions`` real minions."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        made = Lab(Path(folder) / "lab")
        names = tuple(f"real{number}" for number in range(minions))
        made.up(Wish(masters=("paris",), minions=names, master_options=OPTIONS, **wish))
        try:
            yield made
        finally:
            made.down(grace=0)


def swarm(made: Lab, count: int, ping: bool = True, **group: Any) -> Seen:
    """Let ``count`` fake minions join, ping all, and stop; groups and connections as ``group`` says."""
    connections = group.pop("connections", "pooled")
    spec = {"connections": connections, "timeout": 120, "groups": {"fake": {"count": count, **group}}}
    address = f"{made.plan.masters[0].address}:{made.plan.ports.request}"
    pid = next(status.pid for status in made.status() if status.name == "paris")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        (Path(folder) / "swarm.yaml").write_text(json.dumps(spec))
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "saltext_logilab.swarm.cli", "run", str(Path(folder) / "swarm.yaml")]
        command += ["--master", address, "--report", str(report), "--master-pid", str(pid), "--with-parent"]
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            return measured(made, child, report, count, ping)
        finally:
            child.kill()
            child.wait()


def measured(made: Lab, child: subprocess.Popen[bytes], report: Path, count: int, ping: bool) -> Seen:
    """Look at the swarm ``child`` before, during and after a ping of all its minions."""
    values = wait(report, lambda one: one["joined"] == count)
    memory, before = pss(child.pid), wait(report, lambda one: one["seconds"] > values["seconds"])
    after = before
    if ping:
        made.run("paris", "salt", "-t", "300", "fake*", "test.ping", "--out", "txt", timeout=PATIENCE)
        after = wait(report, lambda one: one["counts"]["answered"] >= one["counts"]["asked"] > 0)
    grown = pss(child.pid)
    begun = time.monotonic()
    child.send_signal(signal.SIGTERM)
    child.wait()
    return Seen(
        memory,
        values["cpu"],
        after["counts"]["answered"],
        after["cpu"] - before["cpu"],
        after["master_cpu"] - before["master_cpu"],
        time.monotonic() - begun,
        grown,
    )


def wait(report: Path, good: Any) -> dict[str, Any]:
    """Return the report as soon as it is ``good``."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            values: dict[str, Any] = json.loads(report.read_text())
        except FileNotFoundError:
            values = {}
        if values and good(values):
            return values
        time.sleep(0.05)
    raise TimeoutError(f"{report} was not as expected within {PATIENCE:g} s")


def pss(pid: int) -> int:
    """Return the memory of process ``pid`` in bytes, its share of shared pages included."""
    process = processes.find(pid)
    return processes.memory([process]) if process else 0


def real_minions() -> tuple[float, float]:
    """Return the memory in bytes and the CPU seconds of the start of one real minion, out of a few."""
    with lab(REAL) as made:
        minions = [status for status in made.status() if status.role == "minion"]
        cpu = 0.0
        for status in minions:
            first = psutil.Process(status.pid)
            times = [one.cpu_times() for one in (first, *first.children(recursive=True))]
            cpu += sum(each.user + each.system for each in times)
        return sum(status.memory for status in minions) / REAL, cpu / REAL


def key_rows() -> Iterator[Row]:
    """What a key costs: made once, by all CPUs, and loaded at each sign-in."""
    begun = time.process_time()
    pairs = [generate(number) for number in range(KEYS)]
    made = (time.process_time() - begun) / KEYS
    begun = time.process_time()
    for pair in pairs:
        with suppress(WireError):  # nobody has sealed this for it: as much work as a session
            unlock(pair.private, bytes(BITS // 8))
    used = (time.process_time() - begun) / KEYS
    yield Row("a kept key used once (CPU)", 1000 * used, "ms", f"made anew: {1000 * made:.0f} ms")


def rows() -> list[Row]:
    """Measure swarms of several sizes and kinds."""
    return list(measure())


def measure() -> Iterator[Row]:
    """Measure memory by the difference of two sizes, and CPU by what the processes have used."""
    Pool().ensure(range(1001))
    yield from key_rows()
    memory, cpu = real_minions()
    peer = f"real minion: {memory / MB:.1f} MB, {cpu:.2f} CPU s"
    big = min(MOST, 1000)
    with lab(0) as made:
        empty = swarm(made, 1, ping=False)
        shared = {count: swarm(made, count) for count in COUNTS}
    marginal = (shared[big].memory - empty.memory) / (big - 1)
    yield Row(f"marginal memory of {big}, pooled, shared key", marginal / KB, "kB", peer, bar=8)
    yield Row("  times less than a real minion", memory / marginal, "x", peer, bar=4000, at_least=True)
    with lab(0) as made:
        own = swarm(made, big, ping=False, key="own")
        yield Row(f"marginal memory of {big}, own keys", (own.memory - empty.memory) / big / KB, "kB", peer, bar=18)
        yield Row(f"start of {big}, own cached keys, swarm CPU", own.start_cpu, "s", f"{cpu * big:.0f} s real", bar=1.5)
    with lab(0) as made:
        single = swarm(made, big, ping=False, connections="per-minion")
    yield Row(f"marginal memory of {big}, own sockets", (single.memory - empty.memory) / big / KB, "kB", peer, bar=70)
    yield Row(f"start of {big}, shared key, swarm CPU", shared[big].start_cpu, "s", f"{cpu * big:.0f} s real", bar=1.5)
    for count, seen in shared.items():
        yield Row(f"{count} minions: returns to one ping", seen.returns, "returns", bar=count, at_least=True)
        each = 1000 * seen.ping_cpu / count
        yield Row("  swarm CPU per return", each, "ms", f"master {1000 * seen.master_cpu / count:.1f} ms", bar=0.5)
        yield Row("  share of the master's CPU", seen.ping_cpu / seen.master_cpu, "", bar=0.1)
        yield Row("  memory of the process after it", seen.after / MB, "MB", bar=75)
        yield Row("  SIGTERM to exit", seen.stop, "s", bar=1.0)
