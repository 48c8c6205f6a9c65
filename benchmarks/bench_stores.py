"""
Masters that only share a store: how soon a key that is accepted on A is accepted on B, and what they cost at rest.

As :mod:`benchmarks.bench_keys`, but no master reaches the other: etcd or PostgreSQL, over TLS, carries all. What an
exchange is at rest is what goes over the connections of one engine with the store, both ways, in the ten seconds of a
heartbeat of a link, as the kernel tells (ss).
"""

from __future__ import annotations

import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from benchmarks import memory
from benchmarks.bench_group import KEYS, engine, fill
from benchmarks.bench_keys import PATIENCE, SINGLE, A, B, Watch, keys, lab_of, new_key, one_at_a_time
from benchmarks.table import Row
from saltext_logilab.lab.lab import Lab
from saltext_logilab.masters.exchange import HEARTBEAT
from saltext_logilab.masters.stores.settings import EtcdSettings, StoreSettings
from tests.support.certificates import Authority
from tests.support.labs import reach_at
from tests.support.stores import KINDS, new_store

NOWHERE = "127.0.0.1:1"
REST = 60.0


def configured(settings: StoreSettings) -> dict[str, Any]:
    """Return ``settings`` as they stand in a configuration."""
    if isinstance(settings, EtcdSettings):
        assert settings.tls
        files = {name: str(getattr(settings.tls, name)) for name in ("ca", "certificate", "key")}
        return {"etcd": {"endpoints": list(map(str, settings.endpoints)), "prefix": settings.prefix, **files}}
    return {"postgresql": {"dsn": settings.dsn, "password_file": str(settings.password_file)}}


def rows() -> list[Row]:
    """Measure a pair of masters on each kind of store."""
    pem = new_key()
    return [row for kind in KINDS for row in measure(kind, pem)]


def measure(kind: str, pem: str) -> Iterator[Row]:
    """Measure a pair of masters that share a store of ``kind``."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        Path(folder).chmod(0o755)
        store = new_store(kind, Path(folder), Authority())
        try:
            options = {"logilab": {"masters": {"store": configured(store.settings())}}}
            with lab_of({**options, **memory.beside(Path(folder))}) as lab:
                reach_at(lab, {A: NOWHERE, B: NOWHERE})
                yield from singles(kind, lab, pem)
                yield from many(kind, lab, pem)
                yield from rest(kind, lab, Path(folder), store.server.port)
        finally:
            store.server.stop()


def singles(kind: str, lab: Lab, pem: str) -> Iterator[Row]:
    """Accept keys one by one; the bars are etcd's."""
    delays = sorted(one_at_a_time(lab, Watch(lab), pem, SINGLE, PATIENCE))
    yield Row(f"{kind}: salt-key -a of {SINGLE}: arrived on B", len(delays), "keys", bar=SINGLE, at_least=True)
    bars = (75, 300) if kind == "etcd" else (None, None)
    yield Row("  median delay", statistics.median(delays), "ms", bar=bars[0])
    yield Row("  99th percentile", delays[int(0.99 * len(delays)) - 1], "ms", bar=bars[1])


def many(kind: str, lab: Lab, pem: str) -> Iterator[Row]:
    """Let A accept many keys at once."""
    begin = time.perf_counter()
    before = sum(engine(lab, B).cpu_times()[:2])
    fill(lab, pem)
    place = keys(lab, B) / "minions"
    while sum(1 for _ in place.iterdir()) < SINGLE + KEYS and time.perf_counter() - begin < PATIENCE:
        time.sleep(0.02)
    arrived = sum(1 for _ in place.iterdir()) - SINGLE
    yield Row(f"{kind}: {KEYS} keys written on A: arrived on B", arrived, "keys", bar=KEYS, at_least=True)
    yield Row("  from the first", time.perf_counter() - begin, "s")
    spent = sum(engine(lab, B).cpu_times()[:2]) - before
    yield Row("  CPU of the engine of B per 1,000 keys", 1000 * spent / KEYS, "s", bar=1.0)


def rest(kind: str, lab: Lab, folder: Path, port: int) -> Iterator[Row]:
    """Let both rest; look at the engines and at what goes over their connections with the store."""
    time.sleep(30)
    engines = [engine(lab, master) for master in (A, B)]
    before, sent = [sum(one.cpu_times()[:2]) for one in engines], traffic(engines, port)
    time.sleep(REST)
    shares = [100 * (sum(one.cpu_times()[:2]) - was) / REST for one, was in zip(engines, before, strict=True)]
    yield Row(f"{kind}: at rest: CPU of the busiest engine", max(shares), "% of a core", bar=0.5)
    grown = (traffic(engines, port) - sent) / len(engines) / (REST / HEARTBEAT)
    yield Row("  an exchange with the store", grown, "bytes", bar=2048)
    beyond = max(memory.beyond_bare(one, folder) for one in engines)
    yield Row("  memory of the larger, beyond an engine that does nothing", beyond, "MiB", bar=25)


def traffic(engines: list[psutil.Process], port: int) -> int:
    """Return the bytes that ``engines`` have sent to ``port`` and got from there."""
    command = ["ss", "-tinpHO", "state", "established", f"( dport = {port} )"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    own = [line for line in told.splitlines() if any(f"pid={one.pid}," in line for one in engines)]
    return sum(int(number) for line in own for number in re.findall(r"bytes_(?:sent|received):(\d+)", line))
