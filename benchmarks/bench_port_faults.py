"""
Docker hosts: the changes that are missed in a series of faults, beside saltext-dockermod's engine in the same run.

Both follow the same private Engine, each in a process of its own. The peer's engine, which returns when its daemon
ends, is started again after a second, as Salt does it. After each fault it is counted which of the changes that can be
known are not told: ours in the history of the registry, the peer's as events.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bench_containers import busy_host, install_peer, peer_folder
from benchmarks.table import Row
from saltext_logilab.containers import database, listing, settings
from saltext_logilab.containers.client import Client
from saltext_logilab.containers.registry import Registry
from tests.support.docker import DockerHost

BURST, ROUNDS, STEPS = 600, 3, 10
PATIENCE, PEERS_PATIENCE = 60.0, 5.0
WORDS = {"start": "started", "die": "died", "destroy": "destroyed", "rename": "renamed"}
NETWORK_WORDS = {"connect": "connected", "disconnect": "disconnected"}
Told = Counter[tuple[str, str]]

OURS = """
import json, sys
from saltext_logilab.containers import service, settings
effects = service.Effects(lambda *_: None, lambda: None, lambda: None)
service.Service(settings.read(json.loads(sys.argv[1])), effects, lambda: True).run()
"""
PEERS = """
import json, sys, time
sys.path.append(sys.argv[1])
from saltext.dockermod.engines import docker_events as engine
engine.__opts__, engine.__salt_system_encoding__ = {}, "utf-8"
engine.__salt__ = {"event.send": lambda _tag, told: print(json.dumps(told), flush=True)}
while True:
    try:
        engine.start(docker_url=sys.argv[2])
    except Exception:
        pass
    time.sleep(1)
"""


class Ours:
    """Our engine: what it has told is in its registry."""

    def __init__(self, folder: Path, host: DockerHost) -> None:
        area = {"daemons": {"docker": host.url}, "history": 10_000}
        self.opts = {"pki_dir": str(folder / "pki"), "logilab": {"containers": area}}
        self.place = settings.read(self.opts).folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        self._process = subprocess.Popen([sys.executable, "-c", OURS, json.dumps(self.opts)])

    def kill(self) -> None:
        """Kill it by SIGKILL."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def told(self) -> Told:
        """Return how often each change of each container is told."""
        with database.opened(self.place) as connection:
            return Counter((one.container, one.what) for _, one in Registry(connection).history("", "", 10_000))

    def twice(self) -> int:
        """Return how many events stand in the history more than once."""
        with database.opened(self.place) as connection:
            keys = Counter(one.key for _, one in Registry(connection).history("", "", 10_000) if one.key)
        return sum(count - 1 for count in keys.values())

    def follows(self) -> bool:
        """Whether the daemon is followed."""
        with database.opened(self.place) as connection:
            return any(one.state == "connected" for one in Registry(connection).daemons().values())

    def differing(self, host: DockerHost) -> int:
        """Return how many containers have other ports in the registry than in the Engine's eyes."""
        said = {one.id: one.ports for one in listing.containers(Client(host.url).listing()) if one.ports}
        with database.opened(self.place) as connection:
            known = {one.id: one.ports for one in Registry(connection).containers("docker").values() if one.ports}
        return sum(said.get(one) != known.get(one) for one in said.keys() | known.keys())


class Peers:
    """The peer's engine: what it has told is what it has sent."""

    def __init__(self, folder: Path, host: DockerHost) -> None:
        self._file = folder / "peer.jsonl"
        self._command = [sys.executable, "-W", "ignore", "-c", PEERS, peer_folder(), host.url]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        with self._file.open("ab") as out:
            self._process = subprocess.Popen(self._command, stdout=out, stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        """Kill it by SIGKILL."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def told(self) -> Told:
        """Return how often each change of each container is told."""
        found: Told = Counter()
        for line in self._file.read_text().splitlines():
            event = json.loads(line)
            actor = event.get("Actor") or {}
            words, name = WORDS, actor.get("ID", "")
            if event.get("Type") == "network":
                words, name = NETWORK_WORDS, (actor.get("Attributes") or {}).get("container", "")
            if what := words.get(str(event.get("Action"))):
                found[name, what] += 1
        return found


@dataclass
class Stage:
    """An Engine, both that follow it, and a container on it."""

    host: DockerHost
    ours: Ours
    peers: Peers
    folder: Path

    def run(self, name: str, **options: Any) -> Any:
        """Start a container."""
        return self.host.client().containers.run(
            self.host.busybox, ["sleep", "100000"], name=name, detach=True, stop_signal="KILL", **options
        )

    def engines(self, work: str) -> None:
        """Start or kill both."""
        for one in (self.ours, self.peers):
            getattr(one, work)()

    def counted(self, fault: Callable[[], Told]) -> tuple[int, int, int]:
        """Let ``fault`` happen; return how many changes there were, and how many each of both has missed."""
        before = self.ours.told(), self.peers.told()
        wanted = fault()

        def missed(one: Ours | Peers, known: Told) -> int:
            return (wanted - (one.told() - known)).total()

        ours = least(lambda: missed(self.ours, before[0]), PATIENCE)
        return wanted.total(), ours, least(lambda: missed(self.peers, before[1]), PEERS_PATIENCE)


def least(count: Callable[[], int], patience: float) -> int:
    """Return ``count()`` as soon as it is 0, or what it is after ``patience`` seconds."""
    end = time.monotonic() + patience
    while (found := count()) and time.monotonic() < end:
        time.sleep(0.1)
    return found


def until(good: Callable[[], object]) -> None:
    """Wait until ``good()``."""
    end = time.monotonic() + PATIENCE
    while not good():
        if time.monotonic() > end:
            raise TimeoutError("the Engine is not as expected")
        time.sleep(0.1)


def burst(stage: Stage) -> Told:
    """Rename a container as often as it goes."""
    one = stage.run("burst")
    for number in range(BURST):
        one.rename(f"burst{number}")
    return Counter({(one.id, "renamed"): BURST, (one.id, "started"): 1})


def killed_engines(stage: Stage) -> Told:
    """Kill both engines in the middle of changes, go on while nobody follows, and start them again."""
    one = stage.run("killed")
    for round_ in range(ROUNDS):
        for step in range(STEPS):
            one.rename(f"killed{round_}x{step}")
            if step == STEPS // 2:
                stage.engines("kill")
        stage.engines("start")
        time.sleep(3)  # both follow again: the peer's Python has to begin first
    return Counter({(one.id, "renamed"): ROUNDS * STEPS})


def killed_daemon(stage: Stage) -> Told:
    """Kill the daemon and its containerd: what ran dies with its restart, what it revives is started."""
    never = stage.run("never", ports={"80/tcp": None})
    stage.run("always", ports={"80/tcp": None}, restart_policy={"Name": "always"})
    until(lambda: stage.ours.differing(stage.host) == 0)
    stage.host.kill()
    until(lambda: not stage.ours.follows())
    stage.host.restart()
    until(stage.ours.follows)
    time.sleep(3)  # the peer has come back, too
    return Counter({(never.id, "died"): 1, (never.id, "closed"): 0})


def networks(stage: Stage) -> Told:
    """Take a container off its network and put it back, again and again."""
    network = stage.host.client().networks.create("faults")
    one = stage.run("net", ports={"80/tcp": None}, network="faults")
    for _ in range(STEPS):
        network.disconnect(one)
        network.connect(one)
    return Counter({(one.id, "disconnected"): STEPS, (one.id, "connected"): STEPS + 1})


def taken_over(stage: Stage) -> Told:
    """Give the name and the port of a container that is gone to another, again and again."""
    wanted: Told = Counter()
    for _ in range(STEPS):
        one = stage.run("taken", ports={"80/tcp": 13001})
        one.remove(force=True)
        wanted.update({(one.id, what): 1 for what in ("started", "died", "destroyed")})
    return wanted


def new_owner(stage: Stage) -> Told:
    """Let a second engine of ours stand by, as on a minion of two masters, and kill the first in the middle."""
    other = Ours(stage.folder, stage.host)
    other.start()
    one = stage.run("owned")
    for step in range(2 * STEPS):
        one.rename(f"owned{step}")
        if step == STEPS:
            stage.ours.kill()
    until(stage.ours.follows)
    stage.ours = other
    return Counter({(one.id, "renamed"): 2 * STEPS})


FAULTS = {
    f"{BURST} renames at once": burst,
    f"both engines killed {ROUNDS} times": killed_engines,
    "daemon killed, and back": killed_daemon,
    "network disconnected and connected": networks,
    "name and port taken over": taken_over,
    "owner of two engines killed (the peer's runs on)": new_owner,
}


def rows() -> list[Row]:
    """Let each fault happen and count."""
    return list(measure())


def measure() -> Iterator[Row]:
    """Count what is missed, what is told twice, and where the registry differs in the end."""
    install_peer()
    with tempfile.TemporaryDirectory() as folder, busy_host(0) as host, ExitStack() as stack:
        stage = Stage(host, Ours(Path(folder), host), Peers(Path(folder), host), Path(folder))
        stage.engines("start")
        stack.callback(lambda: stage.engines("kill"))
        until(stage.ours.follows)
        time.sleep(3)
        for name, fault in FAULTS.items():
            count, ours, peers = stage.counted(lambda fault=fault: fault(stage))  # type: ignore[misc]
            yield Row(f"missed of {count} changes: {name}", ours, "", f"{peers} missed", 0)
        yield Row("told twice in all", stage.ours.twice(), "", "", 0)
        yield Row("containers whose ports differ in the end", stage.ours.differing(host), "", "no registry", 0)
