"""
The mine outbox: how long a minion leaves a healthy master without an answer while its other master is dead.

One hot-hot minion, two real masters, of which the second is killed. The first commands ``mine.send`` once a second and
pings the minion in between, through Salt's own client. The peer is the same minion with Salt's own mine: that one is
deaf in some runs only (for 106 s in the worst one seen), when a request to the dead master is under way as it dies.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import salt.client

from benchmarks.table import Row
from saltext_logilab.lab.lab import Lab
from saltext_logilab.lab.plan import Wish

A, B, MINION = "paris", "nantes", "m1"
SENDS = 30
PATIENCE = 100  # seconds for one ping: Salt's own mine needs about 75
OUTBOX: dict[str, Any] = {"providers": {"mine": "logilab_mine"}, "engines": [{"logilab_mine": {}}]}


@contextmanager
def one_minion(options: dict[str, Any], masters: dict[str, Any] | None = None) -> Iterator[Lab]:
    """Start two masters (with options ``masters``) and a minion with ``options`` whose key both have accepted."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        lab = Lab(Path(folder) / "lab")
        try:
            lab.up(Wish(masters=(A, B), minions=(MINION,), minion_options=options, master_options=masters or {}))
            while not all({A, B} <= set(one.connected) for one in lab.status() if one.name == MINION):
                for master in (A, B) if masters else (A,):
                    lab.run(master, "salt-key", "-A", "-y")
                time.sleep(1)
            yield lab
        finally:
            lab.down(grace=0)


def client(lab: Lab, master: str) -> salt.client.LocalClient:
    """Return Salt's own client of ``master``."""
    return salt.client.LocalClient(c_path=str(lab.folder / master / "etc" / "master"))


def slowest_ping(lab: Lab, sends: int) -> tuple[float, int]:
    """Kill B, then send and ping ``sends`` times; return the slowest ping in seconds, and how many had no answer."""
    asker = client(lab, A)
    lab.kill(B)
    slowest, unanswered = 0.0, 0
    for number in range(sends):
        asker.cmd_async(MINION, "mine.send", ["said", "mine_function=test.echo", str(number)])
        begin = time.perf_counter()
        answered = asker.cmd(MINION, "test.ping", timeout=PATIENCE).get(MINION) is True
        slowest = max(slowest, time.perf_counter() - begin)
        unanswered += not answered
        time.sleep(max(0.0, 1 - (time.perf_counter() - begin)))
    return slowest, unanswered


def rows() -> list[Row]:
    """Measure the minion with the outbox, and the same one with Salt's own mine."""
    with one_minion({}) as stock:
        peer, _ = slowest_ping(stock, SENDS)
    with one_minion(OUTBOX) as lab:
        slowest, unanswered = slowest_ping(lab, SENDS)
        begin = time.perf_counter()
        lab.start(B)
        returned = time.perf_counter()
        reader = client(lab, B)
        while reader.cmd(MINION, "mine.get", [MINION, "said"], timeout=5).get(MINION) != {MINION: str(SENDS - 1)}:
            time.sleep(0.1)
        late = time.perf_counter() - returned
    return [
        Row(f"{SENDS} mine.send with a dead master: slowest ping", slowest, "s", f"{peer:.3g} s", bar=2.0),
        Row("  pings without an answer", unanswered, "pings", bar=0),
        Row("  the latest value on the master that is back, after", late, "s", "never"),
        Row("  its start took", returned - begin, "s"),
    ]
