"""
Docker hosts: what it costs to know the ports of 200 containers, beside saltext-dockermod in the same run.

A private Engine with 200 containers of three published ports each (tcp, tcp on 127.0.0.1, udp). The functions of the
peer are called in the same process on the same Engine, with warm loaders; CPU is that of the calling process. The idle
cost and the memory of the engine are those of a process of its own that follows this Engine, less a bare one.

The peer's state makes a container at each run, and lists all to remove it: it is measured on a small Engine of its own,
beside our states there. What is missed in a series of faults is counted by the benchmark ``port_faults``.
"""

from __future__ import annotations

import copy
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import unittest.mock
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack
import psutil
import salt.cache
import salt.config
import salt.loader

from benchmarks import memory
from benchmarks.table import Row
from saltext_logilab.containers import database, settings
from saltext_logilab.containers.registry import Registry
from tests.support.docker import DockerHost
from tests.support.netns import NetworkNamespace
from tests.support.roots import new_root
from tests.support.sessions import SessionRoot

CONTAINERS = 200
STATES = 10
EVENTS = 60
FEW = 30
IDLE = 125.0
MINIONS, PER_MINION = 1000, 50
PEER = "saltext-dockermod"

FOLLOW = """
import json, sys
import salt.config, salt.loader, salt.minion
sys.stdin.readline()
from saltext_logilab.containers import service, settings
from saltext_logilab.lifetime import while_parent_lives
opts = json.loads(sys.argv[1])
effects = service.Effects(lambda *_: None, lambda: None, lambda: True)
service.Service(settings.read(opts), effects, while_parent_lives()).run()
"""
FIND = """
import json, resource, sys, time
import salt.config, salt.runner
client = salt.runner.RunnerClient(salt.config.master_config(sys.argv[1]))
find = client.functions["docker_ports.find"]
begun = time.process_time()
found = find(port=int(sys.argv[2]))
cpu, memory = time.process_time() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"cpu": cpu, "memory": memory, "rows": len(found["data"]["ports"])}))
"""
PUBLIC = "-----BEGIN PUBLIC KEY-----\nnone\n-----END PUBLIC KEY-----\n"


@contextmanager
def busy_host(containers: int = CONTAINERS) -> Iterator[DockerHost]:
    """Start an Engine with that many containers."""
    session = SessionRoot.create()
    host = DockerHost(new_root(session.path, "docker"), NetworkNamespace.create())
    try:
        host.start()
        for number in range(containers):
            host.client(600).containers.run(
                host.busybox,
                ["sleep", "100000"],
                name=f"web{number}",
                detach=True,
                ports={"80/tcp": 10000 + number, "443/tcp": ("127.0.0.1", 10500 + number), "53/udp": 11000 + number},
            )
        yield host
    finally:
        host.stop()
        session.release()


def loader(folder: Path, host: DockerHost) -> tuple[Any, Any]:
    """Return the modules and the states of a masterless minion on ``host``."""
    own = {
        "root_dir": str(folder),
        "file_client": "local",
        "enable_fqdns_grains": False,
        "logilab": {"state_dir": f"{folder}/state", "containers": {"daemons": {"docker": host.url}}},
        "docker.url": host.url,
        "docker.update_mine": False,
    }
    opts = salt.config.apply_minion_config(own, copy.deepcopy(salt.config.DEFAULT_MINION_OPTS))
    opts["grains"] = salt.loader.grains(opts)
    utils = salt.loader.utils(opts)
    modules = salt.loader.minion_mods(opts, utils=utils)
    return modules, salt.loader.states(opts, modules, utils, None)


def requests(work: Callable[[], Any]) -> int:
    """Return how many requests ``work`` makes, by whatever client."""
    sent = []
    original = http.client.HTTPConnection.putrequest

    def counted(self: Any, *arguments: Any, **options: Any) -> Any:
        sent.append(arguments)
        return original(self, *arguments, **options)

    with unittest.mock.patch.object(http.client.HTTPConnection, "putrequest", counted):
        work()
    return len(sent)


def cpu(work: Callable[[], Any], times: int = 3) -> float:
    """Return the CPU milliseconds of ``work``, the median of some runs behind one that warms up."""
    work()
    spent = []
    for _ in range(times):
        begin = time.process_time()
        work()
        spent.append(1000 * (time.process_time() - begin))
    return statistics.median(spent)


def reading(modules: Any) -> Iterator[Row]:
    """All ports of all containers, and what goes to the mine."""
    names = [f"web{number}" for number in range(CONTAINERS)]

    def singly() -> None:
        for name in names:
            modules["docker.port"](name)

    ours, each = cpu(modules["docker_ports.list"]), cpu(singly)
    verbose = cpu(lambda: modules["docker.ps"](verbose=True, all=True))
    yield Row("all ports of 200 containers (CPU)", ours, "ms")
    asked, others = requests(modules["docker_ports.list"]), requests(singly)
    yield Row("  requests to the Engine", asked, "", f"{others} by docker.port", 1)
    yield Row("  docker.port per container costs", each / ours, "times", f"{each:.0f} ms", 25, at_least=True)
    yield Row("  docker.ps verbose costs", verbose / ours, "times", f"{verbose:.0f} ms", 30, at_least=True)
    table = len(msgpack.packb(modules["docker_ports.table"]()))
    theirs = len(msgpack.packb(modules["docker.ps"](verbose=True, all=True, host=True)))
    yield Row("mine payload", table / 1000, "kB", f"{theirs / 1000:.0f} kB", 40)


def unchanged_states(states: Any, modules: Any) -> Iterator[Row]:
    """``reserved``, ``available`` and ``published`` for some containers, when nothing has to be done."""
    for number in range(STATES):
        modules["docker_ports.reserve"](f"app{number}", 80)

    def apply() -> None:
        for number in range(STATES):
            done = [
                states["docker_ports.reserved"](f"app{number}", 80),
                states["docker_ports.available"](10000 + number, container=f"web{number}"),
                states["docker_ports.published"](f"web{number}", [f"{10000 + number}:80"]),
            ]
            assert all(one["result"] is True and not one["changes"] for one in done), done

    yield Row("10 x reserved, available, published, unchanged (CPU)", cpu(apply, 1) / 1000, "s", "see below", 1.0)


def beside_the_peers_state(states: Any, host: DockerHost) -> Iterator[Row]:
    """An unchanged ``docker_container.running``, and our three states for the same container, on a small Engine."""
    wanted = {"image": host.busybox, "command": "sleep 100000", "port_bindings": ["13000:80"]}

    def theirs() -> None:
        done = states["docker_container.running"]("peer", **wanted)
        assert done["result"] is True, done

    def ours() -> None:
        done = [
            states["docker_ports.reserved"]("peer", 80),
            states["docker_ports.available"](13000, container="peer"),
            states["docker_ports.published"]("peer", ["13000:80"]),
        ]
        assert all(one["result"] is True for one in done), done

    peer, own = cpu(theirs, 2), cpu(ours, 2)
    yield Row(f"1 x the same beside {FEW} others, and the peer's state (CPU)", own, "ms", f"{peer:.0f} ms")


def following(host: DockerHost, folder: Path) -> Iterator[Row]:
    """How soon the registry knows, and what the engine costs."""
    opts = {"pki_dir": str(folder / "engine/pki"), "logilab": {"containers": {"daemons": {"docker": host.url}}}}
    command = [sys.executable, "-c", FOLLOW, json.dumps(opts)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as process:
        try:
            time.sleep(10)  # it has imported Salt, and waits
            bare = memory.own(process.pid)
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
            place = settings.read(opts).folder
            process_ = psutil.Process(process.pid)
            await_count(place, CONTAINERS)
            delays = sorted(delay(host, place, number) for number in range(EVENTS))
            yield Row("start to registry, median", statistics.median(delays), "ms", "no registry", 50)
            yield Row("  99th percentile", delays[int(0.99 * len(delays))], "ms", "no registry", 250)
            time.sleep(5)
            before = sum(process_.cpu_times()[:2])
            time.sleep(IDLE)
            share = 100 * (sum(process_.cpu_times()[:2]) - before) / IDLE
            yield Row("idle engine, 200 containers", share, "% of a core", "", 0.1)
            more = (memory.own(process.pid) - bare) / 1024
            yield Row("memory beyond the bare Salt process", more, "MiB", "", 15)
        finally:
            process.kill()


def await_count(place: Path, count: int) -> None:
    """Wait until the registry holds ``count`` containers with ports."""
    while not (place / database.NAME).exists() or len(known(place)) < count:
        time.sleep(0.2)


def known(place: Path) -> dict[str, Any]:
    """Return the containers of the registry."""
    with database.opened(place) as connection:
        return Registry(connection).containers("docker")


def delay(host: DockerHost, place: Path, number: int) -> float:
    """Return the milliseconds from a container's start event to its ports in the registry."""
    container = host.client().containers.create(host.busybox, ["sleep", "9"], ports={"80/tcp": 12000 + number})
    with database.opened(place) as connection:
        container.start()
        query = "SELECT first_seen FROM ports WHERE container = ?"
        while not connection.execute(query, (container.id,)).fetchone():
            time.sleep(0.001)
        written = time.time()
        begun = connection.execute(
            "SELECT at FROM history WHERE container = ? AND what = 'started'", (container.id,)
        ).fetchone()[0]
    container.remove(force=True)
    return 1000 * (written - begun)


def fleet_rows(modules: Any) -> Iterator[Row]:
    """``salt-run docker_ports.find port=`` over the tables of many minions, in the cache of a master of its own."""
    table = modules["docker_ports.table"]()
    small = {**table, "c": table["c"][:PER_MINION], "p": [one for one in table["p"] if one[0] < PER_MINION]}
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "master")
        config.write_text(json.dumps({"root_dir": folder, "engines": []}))
        opts = salt.config.master_config(str(config))
        cache = salt.cache.factory(opts)
        keys = Path(opts["pki_dir"], "minions")
        keys.mkdir(parents=True)
        for number in range(MINIONS):
            cache.store("mine", f"m{number}", {"docker_ports": small})
            (keys / f"m{number}").write_text(PUBLIC)
        command = [sys.executable, "-c", FIND, str(config), str(small["p"][0][4])]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        told = json.loads(done.stdout.splitlines()[-1])
        jobs = sum(path.name == "jid" for path in Path(opts["cachedir"]).rglob("jobs/*/*/jid"))
    assert told["rows"] >= MINIONS, told
    yield Row("find port= over 1,000 minions x 50 x 3 (CPU)", told["cpu"], "s", "a job to each", 1.0)
    yield Row("  jobs sent", jobs, "", f"{MINIONS} minions asked", 0)
    yield Row("  memory of the whole process", told["memory"] / 1024, "MiB", "", 200)


def rows() -> list[Row]:
    """Measure all of it."""
    install_peer()
    sys.path.append(peer_folder())
    found: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        with busy_host() as host, host.netns.entered():
            modules, states = loader(Path(folder), host)
            found += [*reading(modules), *unchanged_states(states, modules), *following(host, Path(folder))]
            found += fleet_rows(modules)
        with busy_host(FEW) as host, host.netns.entered():
            _, states = loader(Path(folder) / "small", host)
            found += beside_the_peers_state(states, host)
    return found


def install_peer() -> None:
    """Install the peer in its folder, where it is not there yet."""
    if not os.path.isdir(peer_folder()):  # noqa: PTH112
        command = [sys.executable, "-m", "pip", "install", "-q", "--target", peer_folder(), "--no-deps", PEER]
        subprocess.run(command, check=True)


def peer_folder() -> str:
    """Return where the peer is installed: beside the tests' environment, which it would change."""
    return os.path.join(tempfile.gettempdir(), "bench-peer")  # noqa: PTH118
