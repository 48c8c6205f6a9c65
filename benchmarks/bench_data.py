"""
Minion data: what a master that was away gets from the other one, and what sharing costs while all is well.

1,000 fake minions, hot-hot on two masters of a group, send their mine to both every ten seconds. Then one master is
killed, the minions end, and the other master takes one more value of each, by the function with which Salt takes it:
only the group can bring these to the first. CPU time is that of the engine, beside all processes of its master, which
is the peer. Set ``DATA_BENCH_MINIONS`` for another number.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import salt.config
import salt.daemons.masterapi

from benchmarks.table import Row
from saltext_logilab.lab import configs
from saltext_logilab.lab.lab import Lab
from saltext_logilab.lab.plan import Wish

A, B = "paris", "nantes"
MINIONS = int(os.environ.get("DATA_BENCH_MINIONS", "1000"))
OPTIONS = {"auto_accept": True, "worker_threads": 3, "pillar_roots": {"base": []}}
MINE = {"interval": "10s", "functions": {"said": {"function": "test.echo", "args": ["hello"]}}}
SECONDS = 20.0
PATIENCE = 300.0


def wait(condition: Callable[[], bool]) -> float:
    """Return after how many seconds ``condition`` was true."""
    begin = time.perf_counter()
    while not condition():
        if time.perf_counter() - begin > PATIENCE:
            raise TimeoutError("a condition of the benchmark was never true")
        time.sleep(0.05)
    return time.perf_counter() - begin


@contextmanager
def swarm(lab: Lab) -> Iterator[None]:
    """Let the fake minions be there."""
    masters = [f"{lab.plan.member(name).address}:{lab.plan.ports.request}" for name in (A, B)]
    spec = {"masters": masters, "type": "hot-hot", "groups": {"fake": {"count": MINIONS, "mine": MINE}}}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        (Path(folder) / "swarm.yaml").write_text(json.dumps(spec))
        command = [sys.executable, "-m", "saltext_logilab.swarm.cli", "run", str(Path(folder) / "swarm.yaml")]
        child = subprocess.Popen([*command, "--with-parent"], stdout=subprocess.DEVNULL)
        try:
            yield
        finally:
            child.kill()
            child.wait()


def mines(lab: Lab, master: str) -> Path:
    """Return the folder of the mines that ``master`` has cached."""
    return configs.root(lab.folder, master) / "cache" / "mine"


def count(lab: Lab, master: str, text: bytes) -> int:
    """Return how many mines at ``master`` hold ``text``."""
    folder = mines(lab, master)
    return sum(text in file.read_bytes() for file in folder.glob("*.p")) if folder.exists() else 0


def engine(lab: Lab, master: str) -> psutil.Process:
    """Return the engine of ``master``."""
    health = configs.root(lab.folder, master) / "state" / "masters" / "health.json"
    return psutil.Process(json.loads(health.read_text())["pid"])


def cpu(process: psutil.Process, *, children: bool) -> float:
    """Return the CPU seconds that ``process`` has used, with its ``children`` if so."""
    times = [one.cpu_times() for one in [process, *(process.children(recursive=True) if children else ())]]
    return sum(one.user + one.system for one in times)


def share(lab: Lab) -> tuple[float, float]:
    """Return the CPU seconds of both engines and of both masters, theirs included, over some time."""
    leaders = [psutil.Process(one.pid) for one in lab.status() if one.name in (A, B) and one.pid]
    engines = [engine(lab, name) for name in (A, B)]

    def used() -> tuple[float, float]:
        return sum(cpu(one, children=False) for one in engines), sum(cpu(one, children=True) for one in leaders)

    before = used()
    time.sleep(SECONDS)
    after = used()
    return after[0] - before[0], after[1] - before[1]


def say(lab: Lab, master: str, value: str) -> None:
    """Let ``master`` take ``value`` as the mine of all minions."""
    opts = salt.config.master_config(str(lab.folder / master / "etc" / "master"))
    functions = salt.daemons.masterapi.RemoteFuncs(opts)
    for file in mines(lab, master).glob("*.p"):
        load: dict[str, Any] = {"id": file.stem, "data": {"said": value}}
        functions._mine(load, skip_verify=True)
    functions.mminion.destroy()


def rows() -> list[Row]:
    """Measure both."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        lab = Lab(Path(folder) / "lab")
        lab.up(Wish(masters=(A, B), minions=(), master_options=OPTIONS))
        try:
            with swarm(lab):
                for name in (A, B):
                    wait(lambda name=name: count(lab, name, b"hello") == MINIONS)
                ours, theirs = share(lab)
                lab.kill(B)
            say(lab, A, "once more")
            lab.start(B)
            late = wait(lambda: count(lab, B, b"once more") == MINIONS)
        finally:
            lab.down(grace=0)
    stock = max(theirs - ours, 0.01)
    return [
        Row(f"mine of {MINIONS} minions on a master that was away, after its start", late, "s", bar=5.0),
        Row(
            f"engines, {MINIONS} minions that send their mine every 10 s: CPU of the masters'",
            100 * ours / stock,
            "%",
            f"{stock:.3g} CPU s in {SECONDS:g} s",
            bar=10.0,
        ),
    ]
