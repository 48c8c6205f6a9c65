"""
Containers as Salt targets: what 200 of them cost, beside Salt's own ``dummy`` resources in the same run.

A real master and a real minion, which has 200 containers of a private Engine and 200 ``dummy`` resources, with the
``process_count_max`` that the documentation names. A job's CPU is that of the minion with all processes that it started
for it. ``docker exec`` and saltext-dockermod's ``docker.run`` run on the same containers. The memory is compared with
that of a second minion with the same engine and no resources.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import yaml

from benchmarks.bench_containers import PEER, loader
from benchmarks.table import Row
from saltext_logilab.lab import configs
from saltext_logilab.lab.lab import Lab
from saltext_logilab.lab.plan import Wish
from tests.support.docker import DockerHost
from tests.support.labs import accept_all, running_lab
from tests.support.netns import NetworkNamespace
from tests.support.roots import new_root
from tests.support.sessions import SessionRoot
from tests.support.targets import Targets
from tests.support.waiting import wait_until

CONTAINERS = 200
COMING = 5
PATIENCE = 600
PROCESSES = 10


@contextmanager
def host() -> Iterator[DockerHost]:
    """Start an Engine with the containers."""
    session = SessionRoot.create()
    made = DockerHost(new_root(session.path, "docker"), NetworkNamespace.create())
    try:
        made.start()
        for number in range(CONTAINERS):
            run(made, f"web{number}")
        yield made
    finally:
        made.stop()
        session.release()


def run(engine: DockerHost, name: str) -> Any:
    """Start a container."""
    return engine.client(600).containers.run(
        engine.busybox, ["sleep", "100000"], name=name, detach=True, stop_signal="KILL", labels={"role": "web"}
    )


@contextmanager
def targets(engine: DockerHost) -> Iterator[Targets]:
    """Start the master and the two minions; ``m1`` has the resources."""
    minion = {
        "engines": [{"docker_ports": {}}],
        "logilab": {"containers": {"daemons": {"docker": engine.url}}},
        "process_count_max": PROCESSES,
    }
    wish = Wish(masters=("paris",), minions=("m1", "m2"), minion_options=minion, master_options={"timeout": 60})
    with running_lab(wish) as lab:
        accept_all(lab)
        found = Targets(lab)
        found.configure(resources={"docker": {}})
        lab.restart("m1")
        wait_until(lambda: len(found.known()) >= CONTAINERS, PATIENCE, "all containers at the master")
        yield found


def daemon(lab: Lab, name: str) -> psutil.Process:
    """Return the process of a minion that starts its jobs."""
    pid = int(configs.pidfiles(lab.folder, name)[0].read_text())
    first = psutil.Process(pid)
    return max([first, *first.children(recursive=True)], key=lambda one: one.memory_info().rss)


def spent(process: psutil.Process) -> float:
    """Return the CPU seconds of a process and of all that it started and that have ended."""
    return float(sum(process.cpu_times()[:4]))


def asked(found: Targets, target: str, right: Callable[[Any], bool], *words: str) -> tuple[int, float]:
    """Return how many answered rightly, and the CPU milliseconds for each that was asked."""
    process = daemon(found.lab, "m1")
    others = len(process.children())
    begin = spent(process)
    command = ("salt", "-t", "300", "--out", "yaml", "-C", target, *words)
    told = yaml.safe_load(found.lab.run("paris", *command, timeout=PATIENCE).stdout)
    wait_until(lambda: len(process.children()) <= others, PATIENCE, "the end of the jobs' processes")
    answers = list(told.values()) if isinstance(told, dict) else []
    return sum(map(right, answers)), 1000 * (spent(process) - begin) / max(1, len(answers))


def is_true(answer: Any) -> bool:
    """Whether ``test.ping`` says so."""
    return answer is True


def is_x(answer: Any) -> bool:
    """Whether a command has said ``x``."""
    return bool(answer == "x")


def jobs(found: Targets, engine: DockerHost) -> Iterator[Row]:
    """``test.ping`` and ``cmd.run`` over all, beside ``dummy`` and beside what runs a command in a container."""
    ids = [f"d{number}" for number in range(CONTAINERS)]
    found.configure(resources={"docker": {}, "dummy": {"resource_ids": ids}})
    asked(found, "T@dummy", is_true, "test.ping")
    answered, dummy = asked(found, "T@dummy", is_true, "test.ping")
    pinged, ping = asked(found, "T@docker", is_true, "test.ping")
    ran, command = asked(found, "T@docker", is_x, "cmd.run", "echo x")
    peers = f"{answered} of dummy"
    yield Row("test.ping: containers that answered", pinged, "of 200", peers, CONTAINERS, at_least=True)
    yield Row("test.ping: CPU a container above dummy", ping - dummy, "ms", f"dummy itself {dummy:.0f} ms", 20)
    yield Row("cmd.run: containers that answered", ran, "of 200", "", CONTAINERS, at_least=True)
    yield Row("cmd.run: CPU a container above dummy", command - dummy, "ms", peer(engine), 60)


def peer(engine: DockerHost) -> str:
    """Return what a command in a container costs by the peers, without a job."""
    own = psutil.Process()

    def cost(work: Callable[[], Any], times: int) -> float:
        begin = spent(own)
        for _ in range(times):
            work()
        return 1000 * (spent(own) - begin) / times

    words = ["docker", "-H", engine.url, "exec", "web0", "echo", "x"]
    program = cost(lambda: subprocess.run(words, check=True, capture_output=True), 20)
    os.environ["DOCKER_HOST"] = engine.url  # the peer's function runs that program
    with tempfile.TemporaryDirectory() as folder:
        modules, _ = loader(Path(folder), engine)
        modules["docker.run"]("web0", "echo x")
        module = cost(lambda: modules["docker.run"]("web0", "echo x"), 20)
    return f"docker exec {program:.0f} ms, docker.run {module:.0f} ms, without a job"


def coming(found: Targets, engine: DockerHost) -> Iterator[Row]:
    """How long a container that starts is no target: of ``T@docker``, and of an expression on its grains."""
    named, by_grain = [], []
    for number in range(COMING):
        name = f"late{number}"
        made = run(engine, name)
        begin = time.monotonic()
        wait_until(lambda name=name: f"{name}.m1" in found.meant("T@docker"), PATIENCE, name)
        named.append(time.monotonic() - begin)
        wait_until(lambda name=name: found.meant(f"T@docker and G@container:{name}"), PATIENCE, name)
        by_grain.append(time.monotonic() - begin)
        if found.one(name, "test.ping") is not True:
            raise RuntimeError(f"{name} is a target and does not answer")
        made.remove(force=True)
        wait_until(lambda name=name: f"{name}.m1" not in found.known(), PATIENCE, f"no {name}")
    worst = f"worst {max(named):.1f} s"
    yield Row("a container that starts is a target, at 200 others", statistics.median(named), "s", worst, 2)
    worst = f"worst {max(by_grain):.1f} s: the master writes all 200 before"
    yield Row("  and is meant by its grains (G@)", statistics.median(by_grain), "s", worst)


def memory(found: Targets) -> Row:
    """What the resources take of the minion's memory."""
    with_them, bare = (daemon(found.lab, name).memory_full_info().pss / 1e6 for name in ("m1", "m2"))
    return Row("memory for 200 resources", with_them - bare, "MB", f"a minion: {bare:.0f} MB", 20)


def rows() -> list[Row]:
    """Measure it all."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "install", "-q", "--target", folder, "--no-deps", PEER]
        subprocess.run(pip, check=True)
        sys.path.append(folder)
        with host() as engine, targets(engine) as found:
            return [*coming(found, engine), memory(found), *jobs(found, engine)]
