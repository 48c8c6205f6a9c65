"""
The peer of the masters' benchmarks: Salt 3008's own cluster, each master with a file system of its own.

Its masters do not tell each other what ``salt-key`` does: the events of 3008 say "accepted", and its cluster listens
for "accept". So what its transport can do is measured with events that are fired by hand.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from saltext_logilab.lab import configs
from saltext_logilab.lab.lab import Lab
from saltext_logilab.lab.plan import Member, Wish

MASTERS = A, B, C = ("paris", "nantes", "lyon")
BY_PROGRAM = 3
SINGLE = 20
BURST = 1000
JOINED = 5000
PATIENCE = 120.0
FIRE = """
import sys, time
import salt.config, salt.utils.event
opts = salt.config.master_config(sys.argv[1])
pub, pause, minions = open(sys.argv[2]).read(), float(sys.argv[3]), sys.argv[4:]
with salt.utils.event.get_master_event(opts, opts["sock_dir"], listen=False) as bus:
    for minion in minions:
        print(time.perf_counter(), flush=True)
        bus.fire_event({"result": True, "act": "accept", "id": minion, "pub": pub}, "salt/key")
        time.sleep(pause)
    time.sleep(1)
"""


@dataclass(frozen=True)
class Keys:
    """
    What the cluster did with keys: how many of :data:`BY_PROGRAM` accepted by ``salt-key`` came over; the delays of
    :data:`SINGLE` fired events in milliseconds; the seconds and CPU seconds per 1,000 of :data:`BURST` of them on B.
    """

    by_program: int
    delays: list[float]
    burst: float
    cpu: float

    @property
    def median(self) -> str:
        """The median delay, told as such."""
        return f"{statistics.median(self.delays):.3g} ms, fired by hand"


def measure_keys(pem: str, cpu: Callable[[Lab, str], float]) -> Keys:
    """Let a cluster of three share keys, all of them ``pem``; ``cpu`` tells a master's CPU seconds."""
    with cluster() as lab:
        file = lab.folder / "pem"
        file.write_text(pem)
        named = [f"named{number}" for number in range(BY_PROGRAM)]
        for minion in named:
            (keys(lab, A) / "minions_pre" / minion).write_text(pem)
            lab.run(A, "salt-key", "-y", "-a", minion)
        single, burst = ([f"{what}{number}" for number in range(count)] for what, count in _FIRED)
        fired = fire(lab, A, file, single, 0.2)
        by_program = sum((keys(lab, B) / "minions" / minion).exists() for minion in named)
        offset = time.time() - time.perf_counter()
        delays = [
            1000 * ((keys(lab, B) / "minions" / minion).stat().st_mtime - offset - at)
            for minion, at in zip(single, fired, strict=True)
        ]
        used = cpu(lab, B)
        begin = fire(lab, A, file, burst, 0)[0]
        _wait(lambda: accepted(lab, B) >= SINGLE + BURST, "the burst of keys")
        return Keys(by_program, delays, time.perf_counter() - begin, (cpu(lab, B) - used) * 1000 / BURST)


_FIRED = (("single", SINGLE), ("burst", BURST))


def measure_join(pem: str, cpu: Callable[[Lab, str], float]) -> tuple[float, float]:
    """Let a third master join a cluster with :data:`JOINED` keys; return the seconds and CPU seconds from its start."""
    with cluster((A, B)) as lab:
        for master in (A, B):
            for number in range(JOINED):
                (keys(lab, master) / "minions" / f"join{number}").write_text(pem)
        begin = time.perf_counter()
        lab.start(C)
        _wait(lambda: accepted(lab, C) >= JOINED, "the keys of the new member")
        return time.perf_counter() - begin, cpu(lab, C)


def _wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.02)


def keys(lab: Lab, master: str) -> Path:
    """Return the folder with the keys of ``master``."""
    return configs.root(lab.folder, master) / "cluster"


def accepted(lab: Lab, master: str) -> int:
    """Return how many keys are accepted at ``master``."""
    return sum(1 for path in (keys(lab, master) / "minions").iterdir() if not path.name.startswith("tmp"))


@contextmanager
def cluster(masters: Sequence[str] = MASTERS) -> Iterator[Lab]:
    """Start a cluster whose members are ``masters``; the others of :data:`MASTERS` are laid out and do not run."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        lab = Lab(Path(folder) / "lab")
        lab.up(Wish(masters=MASTERS, minions=(), master_options={"engines": []}))
        try:
            for name in MASTERS:
                lab.stop(name)
            for member in lab.plan.masters:
                _configure(lab, member)
            for name in masters:
                start(lab, name)
            yield lab
        finally:
            lab.down(grace=0)


def _configure(lab: Lab, member: Member) -> None:
    """Make ``member`` one of the cluster at its next start; in a cluster a master's id is its address."""
    place = configs.root(lab.folder, member.name)
    for pair in ("*.pem", "*.pub"):
        for path in (place / "pki").glob(pair):
            path.unlink()
    keys(lab, member.name).mkdir()
    options = {
        "id": member.address,
        "cluster_id": "bench",
        "cluster_secret": "bench",
        "cluster_isolated_filesystem": True,
        "cluster_peers": [other.address for other in lab.plan.masters if other.name != member.name],
        "cluster_pool_port": lab.plan.ports.peers,
        "cluster_pki_dir": str(keys(lab, member.name)),
        "keys.cache_driver": "localfs_key",  # with the recommended one a fresh member crashes
    }
    drop_in = lab.folder / member.name / "etc" / "master.d" / "cluster.conf"
    drop_in.parent.mkdir(exist_ok=True)
    drop_in.write_text(yaml.safe_dump(options))


def start(lab: Lab, name: str) -> None:
    """Start the master ``name`` and wait until it has told all that run that it is there: not two at a time."""
    lab.start(name)
    address = lab.plan.member(name).address
    running = [status.name for status in lab.status() if status.state == "up"]
    places = [keys(lab, other) / "peers" / f"{address}.pub" for other in running]
    _wait(lambda: all(place.exists() for place in places), f"{name} in the cluster")


def fire(lab: Lab, master: str, pem: Path, minions: Sequence[str], pause: float) -> list[float]:
    """Tell ``master`` by an event each ``pause`` seconds that keys are accepted; return when each was fired."""
    command = [
        sys.executable,
        "-Wignore",
        "-c",
        FIRE,
        str(lab.folder / master / "etc" / "master"),
        str(pem),
        str(pause),
    ]
    told = subprocess.run([*command, *minions], capture_output=True, text=True, check=True, timeout=300)
    return [float(line) for line in told.stdout.split()]
