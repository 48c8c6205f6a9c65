"""
Masters: how soon a key that is accepted on A is accepted on B, and what that costs B.

Two real masters of the installed Salt, each with its own key store, driven by plain ``salt-key``. A key's delay is from
the moment at which its accepted file stands in A's key store to the moment at which it stands in B's, as the kernel
tells of both (inotify). The peers are the same pair of masters without the engine, and Salt 3008's own cluster.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from asyncinotify import Inotify, Mask
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from benchmarks import cluster
from benchmarks.table import Row
from saltext_logilab.lab import configs
from saltext_logilab.lab.lab import Lab
from saltext_logilab.lab.plan import Wish

SINGLE = 200
BURST = 5000
PEER_PATIENCE = 5.0
PATIENCE = 60.0
A, B = "paris", "nantes"


class Watch:
    """When each key file appeared in the directory of accepted keys of each master."""

    def __init__(self, lab: Lab) -> None:
        """Begin to watch."""
        self.seen: dict[tuple[str, str], float] = {}
        self._inotify = Inotify()
        self._names = {self._inotify.add_watch(keys(lab, name) / "minions", Mask.MOVED_TO): name for name in (A, B)}
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        for event in self._inotify:
            if event.watch is not None:
                self.seen.setdefault((self._names[event.watch], str(event.name)), time.perf_counter())

    def delays(self, minions: list[str], patience: float) -> list[float]:
        """Return the delays of those of ``minions`` that reach B within ``patience`` seconds, in milliseconds."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and not all((B, minion) in self.seen for minion in minions):
            time.sleep(0.02)
        return [1000 * (self.seen[B, one] - self.seen[A, one]) for one in minions if (B, one) in self.seen]


def keys(lab: Lab, master: str) -> Path:
    """Return the folder with the keys of ``master``."""
    return configs.root(lab.folder, master) / "pki"


def pend(lab: Lab, minions: list[str], pem: str) -> None:
    """Let the key ``pem`` of each of ``minions`` wait at A."""
    folder = keys(lab, A) / "minions_pre"
    folder.mkdir(exist_ok=True)
    for minion in minions:
        (folder / minion).write_text(pem)


def cpu(lab: Lab, master: str) -> float:
    """Return the CPU seconds that all processes of ``master`` have used."""
    leader = psutil.Process(next(status.pid for status in lab.status() if status.name == master))
    times = [process.cpu_times() for process in [leader, *leader.children(recursive=True)]]
    return sum(each.user + each.system for each in times)


@contextmanager
def lab_of(options: dict[str, object], masters: tuple[str, ...] = (A, B)) -> Iterator[Lab]:
    """Start a lab of ``masters`` with ``options`` and no minions."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        lab = Lab(Path(folder) / "lab")
        lab.up(Wish(masters=masters, minions=(), master_options=options))
        for name in masters:
            (keys(lab, name) / "minions").mkdir(exist_ok=True)
        try:
            yield lab
        finally:
            lab.down(grace=0)


def one_at_a_time(lab: Lab, watch: Watch, pem: str, count: int, patience: float) -> list[float]:
    """Accept ``count`` keys by a ``salt-key -a`` each; return the delays in milliseconds."""
    minions = [f"one{number}" for number in range(count)]
    pend(lab, minions, pem)
    for minion in minions:
        lab.run(A, "salt-key", "-y", "-a", minion)
    return watch.delays(minions, patience)


def all_at_once(lab: Lab, watch: Watch, pem: str, peer: cluster.Keys) -> Iterator[Row]:
    """Accept many keys by one ``salt-key -A``."""
    fired = f"cluster, {cluster.BURST} fired by hand"
    minions = [f"all{number}" for number in range(BURST)]
    pend(lab, minions, pem)
    time.sleep(2)  # the engine has seen them: what is measured is the accept
    before, begin = cpu(lab, B), time.perf_counter()
    lab.run(A, "salt-key", "-y", "-A")
    end = time.perf_counter()
    arrived = len(watch.delays(minions, PATIENCE))
    late = max(watch.seen.get((B, minion), float("inf")) for minion in minions) - end
    spent = cpu(lab, B) - before
    yield Row(f"salt-key -A of {BURST}: arrived on B", arrived, "keys", "0 keys", bar=BURST, at_least=True)
    yield Row("  by itself", end - begin, "s")
    yield Row("  last on B after its exit", max(late, 0.0), "s", f"{fired}: {peer.burst:.3g} s", bar=1.0)
    yield Row("  CPU of master B per 1,000 keys", 1000 * spent / BURST, "s", f"{fired}: {peer.cpu:.3g} s", bar=1.0)


def by_hand(lab: Lab, watch: Watch, pem: str) -> Iterator[Row]:
    """Accept a key by moving its file; rewrite another one in place."""
    pend(lab, ["moved"], pem)
    (keys(lab, A) / "minions_pre" / "moved").rename(keys(lab, A) / "minions" / "moved")
    (delay,) = watch.delays(["moved"], PATIENCE) or [float("inf")]
    yield Row("a file moved by hand", delay / 1000, "s", "never", bar=15.0)
    fresh = new_key()
    begin = time.perf_counter()
    (keys(lab, A) / "minions" / "moved").write_text(fresh)
    while (keys(lab, B) / "minions" / "moved").read_text() != fresh and time.perf_counter() - begin < PATIENCE:
        time.sleep(0.01)
    yield Row("a file rewritten by hand", time.perf_counter() - begin, "s", "never", bar=15.0)


def new_key() -> str:
    """Return the public key of a new minion."""
    public = generate_private_key(65537, 2048).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def rows() -> list[Row]:
    """Measure the pair with the engine, and how many keys the same pair shares without it."""
    return list(measure(new_key()))


def measure(pem: str) -> Iterator[Row]:
    """Measure both pairs of masters with minions whose key is ``pem``."""
    with lab_of({"engines": []}) as stock:
        shared = len(one_at_a_time(stock, Watch(stock), pem, 3, PEER_PATIENCE))
    peer = cluster.measure_keys(pem, cpu)
    with lab_of({}) as lab:
        watch = Watch(lab)
        delays = sorted(one_at_a_time(lab, watch, pem, SINGLE, PATIENCE))
        stock_pair = f"{shared} of 3 keys; cluster: {peer.by_program} of {cluster.BY_PROGRAM}"
        yield Row(f"salt-key -a of {SINGLE}: arrived on B", len(delays), "keys", stock_pair, bar=SINGLE, at_least=True)
        yield Row("  median delay", statistics.median(delays), "ms", f"cluster: {peer.median}", bar=75)
        yield Row("  99th percentile", delays[int(0.99 * len(delays)) - 1], "ms", "never", bar=300)
        yield from all_at_once(lab, watch, pem, peer)
        yield from by_hand(lab, watch, pem)
