"""
Masters: what a group of them costs: a new member that gets 5,000 keys, a group at rest, the engine's memory.

Two real masters of the installed Salt. The new member's time runs from the begin of ``masters.join`` to the moment at
which all keys stand in its key store; its CPU time is that of all its processes, less what the same master uses while
it idles for as long. Salt 3008's own cluster is not run beside it.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from benchmarks.bench_keys import PATIENCE, A, B, cpu, keys, new_key, two_masters
from benchmarks.table import Row
from saltext_logilab.lab import configs
from saltext_logilab.lab.lab import Lab

KEYS = 5000
REST = 30.0


def engine(lab: Lab, master: str) -> psutil.Process:
    """Return the process of the engine of ``master``."""
    told = configs.root(lab.folder, master) / "state" / "masters" / "health.json"
    return psutil.Process(json.loads(told.read_text())["pid"])


def fill(lab: Lab, pem: str) -> None:
    """Let A accept many keys, and wait until they are records."""
    for number in range(KEYS):
        (keys(lab, A) / "minions" / f"join{number}").write_text(pem)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        told = lab.run(A, "salt-run", "masters.status", "--out", "json").stdout
        if json.loads(told)[A]["records"]["accepted"] >= KEYS:
            return


def joins(lab: Lab, pem: str, folder: Path) -> Iterator[Row]:
    """Let B leave; fill A; let B join again."""
    lab.run(B, "salt-run", "masters.leave")
    for number in range(KEYS):
        (keys(lab, B) / "minions" / f"join{number}").unlink(missing_ok=True)
    fill(lab, pem)
    lab.run(A, "salt-run", "masters.invite", str(folder / "invite"))
    idle = cpu(lab, B)
    time.sleep(5)
    idle = (cpu(lab, B) - idle) / 5
    before, begin = cpu(lab, B), time.perf_counter()
    lab.run(B, "salt-run", "masters.join", str(folder / "invite"))
    place = keys(lab, B) / "minions"
    while sum(1 for _ in place.iterdir()) < KEYS and time.perf_counter() - begin < PATIENCE:
        time.sleep(0.02)
    spent = time.perf_counter() - begin
    used = cpu(lab, B) - before - idle * spent
    arrived = sum(1 for _ in place.iterdir())
    yield Row(f"a new member gets {KEYS} keys: arrived", arrived, "keys", bar=KEYS, at_least=True)
    yield Row("  from the begin of masters.join", spent, "s", bar=4)
    yield Row("  CPU of the new member beyond its idling", used, "s", bar=3)


def rest(lab: Lab) -> Iterator[Row]:
    """Let both rest; look at the engines."""
    time.sleep(15)
    engines = [engine(lab, master) for master in (A, B)]
    before = [sum(one.cpu_times()[:2]) for one in engines]
    time.sleep(REST)
    shares = [100 * (sum(one.cpu_times()[:2]) - was) / REST for one, was in zip(engines, before, strict=True)]
    yield Row(f"at rest with {KEYS} keys: CPU of the busier engine", max(shares), "% of a core", bar=0.5)
    siblings = [one.memory_info().rss for one in psutil.Process(engines[1].ppid()).children()]
    beyond = engines[1].memory_info().rss - min(siblings)
    yield Row("  its memory (RSS) beyond the smallest process of that master", beyond / 2**20, "MiB", bar=25)


def rows() -> list[Row]:
    """Measure a group of two masters."""
    with two_masters({}) as lab, tempfile.TemporaryDirectory() as folder:
        return [*joins(lab, new_key(), Path(folder)), *rest(lab)]
