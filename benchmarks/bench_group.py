"""
Masters: a new member that gets 5,000 keys, three at rest, the memory of the engine, two that were parted.

Real masters of the installed Salt. The new member's time runs from the begin of ``masters.join`` to the moment at which
all keys stand in its key store; its CPU time is that of all its processes, less what the same master uses while it
idles for as long. The peer is a new member of Salt 3008's own cluster, from its start on.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil

from benchmarks import cluster, memory
from benchmarks.bench_keys import PATIENCE, A, B, cpu, keys, lab_of, new_key
from benchmarks.table import Row
from saltext_logilab.lab import configs
from saltext_logilab.lab.lab import Lab
from saltext_logilab.masters.exchange import HEARTBEAT
from tests.support.labs import reach_at
from tests.support.relays import Relay

MASTERS = (A, B, "lyon")
KEYS = 5000
CHANGES = 500
REST = 30.0


def engine(lab: Lab, master: str) -> psutil.Process:
    """Return the process of the engine of ``master``."""
    told = configs.root(lab.folder, master) / "state" / "masters" / "health.json"
    return psutil.Process(json.loads(told.read_text())["pid"])


def fill(lab: Lab, pem: str) -> None:
    """Let A accept many keys, and wait until they are records."""
    for number in range(KEYS):
        (keys(lab, A) / "minions" / f"join{number}").write_text(pem)
    wait(lambda: accepted(lab, A) >= KEYS, "the records")


def accepted(lab: Lab, master: str) -> int:
    """Return the number of accepted keys that ``master`` has made known."""
    told = lab.run(master, "salt-run", "masters.status", "--out", "json").stdout
    return int(json.loads(told)[master]["records"]["accepted"])


def wait(condition: Callable[[], bool], what: str) -> None:
    """Wait until ``condition`` is true."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.02)


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
    peer, peer_cpu = cluster.measure_join(pem, cpu)
    yield Row(f"a new member gets {KEYS} keys: arrived", arrived, "keys", bar=KEYS, at_least=True)
    yield Row("  from the begin of masters.join", spent, "s", f"cluster, from its start: {peer:.3g} s", bar=4)
    yield Row("  CPU of the new member beyond its idling", used, "s", f"cluster, all: {peer_cpu:.3g} s", bar=3)


def rest(lab: Lab, folder: Path) -> Iterator[Row]:
    """Let all rest; look at the engines and at what goes over a link of two that are equal."""
    time.sleep(15)
    engines = [engine(lab, master) for master in MASTERS]
    before, sent = [sum(one.cpu_times()[:2]) for one in engines], bytes_sent(lab)
    time.sleep(REST)
    shares = [100 * (sum(one.cpu_times()[:2]) - was) / REST for one, was in zip(engines, before, strict=True)]
    yield Row(f"three at rest with {KEYS} keys: CPU of the busiest engine", max(shares), "% of a core", bar=0.5)
    after = bytes_sent(lab)
    pairs = len(MASTERS) * (len(MASTERS) - 1) / 2
    grown = sum(after[link] - sent[link] for link in after.keys() & sent.keys())
    yield Row("  an exchange of two that are equal", grown / (REST / HEARTBEAT * pairs), "bytes", bar=2048)
    beyond = max(memory.beyond_bare(one, folder) for one in engines)
    yield Row("  memory of the largest, beyond an engine that does nothing", beyond, "MiB", bar=25)


def bytes_sent(lab: Lab) -> dict[str, int]:
    """Return what went over each end of each link of the group, by its two addresses, as the kernel tells (ss)."""
    port = lab.plan.ports.peers
    command = ["ss", "-tinHO", "state", "established", f"( sport = {port} or dport = {port} )"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    addresses = [f"{one.address}:{port}" for one in lab.plan.masters]
    ends = [line for line in told.splitlines() if any(address in line for address in addresses)]
    sent = {" ".join(line.split()[2:4]): re.search(r"bytes_sent:(\d+)", line) for line in ends}
    return {ends: int(found[1]) for ends, found in sent.items() if found}


def heal(pem: str) -> Iterator[Row]:
    """Cut the link of two masters; change much on both; let them meet again."""
    with lab_of({}) as lab, ExitStack() as stack:
        relays = [Relay((one.address, lab.plan.ports.peers)) for one in lab.plan.masters]
        for relay in relays:
            relay.start()
            stack.callback(relay.close)
        reach_at(lab, {master: f"127.0.0.1:{relay.port}" for master, relay in zip((A, B), relays, strict=True)})
        wait(lambda: any(relay.connections for relay in relays), "a link through a relay")
        for relay in relays:
            relay.cut()
        for master in (A, B):
            for number in range(CHANGES):
                (keys(lab, master) / "minions" / f"{master}{number}").write_text(pem)
        wait(lambda: all(accepted(lab, master) == CHANGES for master in (A, B)), "both have recorded their own")
        begin = time.perf_counter()
        for relay in relays:
            relay.heal()
        wait(lambda: all(len(list((keys(lab, one) / "minions").iterdir())) == 2 * CHANGES for one in (A, B)), "equal")
        yield Row(f"healed after {CHANGES} changes on each side", time.perf_counter() - begin, "s", bar=3)


def rows() -> list[Row]:
    """Measure a group of three masters, and a pair that is parted."""
    pem = new_key()
    with tempfile.TemporaryDirectory(prefix="bench-") as name, lab_of(memory.beside(Path(name)), MASTERS) as lab:
        return [*joins(lab, pem, Path(name)), *rest(lab, Path(name)), *heal(pem)]
