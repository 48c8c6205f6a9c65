"""Whatever breaks: afterwards the registry equals what the Engine says, and each change is in the history once."""

from __future__ import annotations

import collections
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from saltext_logilab import locks
from tests.functional.containers.test_watch import NETWORK, SLEEP, Watch, awaited
from tests.support.docker import DockerHost
from tests.support.waiting import wait_until
from tests.support.watching import PATIENCE, Watched, watching

RENAMES = 600


def run(host: DockerHost, name: str, **options: Any) -> Any:
    """Start a container on ``host``."""
    client = host.client()
    return client.containers.run(host.busybox, SLEEP, name=name, detach=True, stop_signal="KILL", **options)


def once(watched: Watched) -> None:
    """Check that no event is told twice, and that no two changes of a life follow each other that cannot."""
    history = watched.history()
    keys = collections.Counter(change.key for change in history if change.key)
    assert [key for key, count in keys.items() if count > 1] == []
    lives: dict[str, list[str]] = {}
    for change in history:
        if change.what not in (*NETWORK, "renamed", "health", "updated"):
            lives.setdefault(change.container, []).append(change.what)
    assert all(one != other for told in lives.values() for one, other in pairwise(told)), lives


def test_a_killed_daemon(new_docker_host: Callable[[], DockerHost], watch: Watch) -> None:
    """Stale while it is away; then what died with it is closed, and what its restart policy revived is open again."""
    host = new_docker_host()
    run(host, "always", ports={"80/tcp": 25080}, restart_policy={"Name": "always"})
    run(host, "never", ports={"80/tcp": 25081})
    watched = watch(host)
    assert set(watched.ports()) == {"always", "never"}
    host.kill()
    wait_until(lambda: not watched.is_connected(), PATIENCE, "stale")
    assert set(watched.ports()) == {"always", "never"}
    host.restart()
    watched.connected()
    watched.agrees(host.url)
    wait_until(lambda: set(watched.ports()) == {"always"}, PATIENCE, "only what runs")
    awaited(watched, "never", "died")
    assert [one for one in watched.what("never") if one == "closed"] == ["closed"] * 2
    wait_until(lambda: [tag for tag in watched.tags() if tag != "changed"] == ["stale", "resynced"], PATIENCE, "told")
    once(watched)


def test_an_engine_that_was_away(docker_host: DockerHost, tmp_path: Path) -> None:
    """What happened while nobody followed is replayed out of the daemon's ring: each event once."""
    daemons = {"docker": docker_host.url}
    container = run(docker_host, "web", ports={"80/tcp": 25090})
    try:
        with watching(tmp_path, daemons) as first:
            first.connected()
            container.rename("web2")
            awaited(first, "web2", "renamed")
        container.rename("web3")
        container.stop(timeout=0)
        container.start()
        with watching(tmp_path, daemons) as second:
            wait_until(lambda: "web3" in second.ports(), PATIENCE, "web3")
            awaited(second, "web3", "renamed", "renamed", "died", "started")
            second.agrees(docker_host.url)
            once(second)
    finally:
        container.remove(force=True)


ENGINE = """
import json, sys
from saltext_logilab.containers import service, settings
area = {"daemons": {"docker": sys.argv[2]}, "history": 5000}
opts = {"pki_dir": sys.argv[1] + "/pki", "logilab": {"containers": area}}
service.Service(settings.read(opts), service.Effects(lambda *_: None, lambda: None, lambda: None), lambda: True).run()
"""


def kill_engines(host: DockerHost, folder: Path, rounds: int) -> None:
    """Kill the engine by SIGKILL in the middle of changes, again and again; then let one catch up, and check."""
    container = run(host, "killed", ports={"80/tcp": 25093})
    try:
        for number in range(rounds):
            command = [sys.executable, "-c", ENGINE, str(folder), host.url]
            with subprocess.Popen(command) as engine:
                watched = Watched(folder, {"docker": host.url}, history=5000)
                wait_until(
                    lambda watched=watched: locks.is_held(watched.settings.folder / locks.ENGINE),
                    PATIENCE,
                    "the engine",
                )
                wait_until(watched.is_connected, PATIENCE, "followed")
                for step in range(10):
                    container.rename(f"killed{number}x{step}")
                    if step == number % 10:
                        engine.kill()
        with watching(folder, {"docker": host.url}, history=5000) as last:
            name = f"killed{rounds - 1}x9"
            wait_until(lambda: name in last.ports(), PATIENCE, name)
            wait_until(lambda: last.what(name).count("renamed") == 10 * rounds, PATIENCE, "each rename once")
            last.agrees(host.url)
            once(last)
    finally:
        container.remove(force=True)


def test_a_killed_engine(docker_host: DockerHost, tmp_path: Path) -> None:
    """SIGKILL in the middle of changes: the next engine tells the rest, each once."""
    kill_engines(docker_host, tmp_path, 2)


@pytest.mark.soak
def test_many_killed_engines(docker_host: DockerHost, tmp_path: Path) -> None:
    """The same, at each step of a series."""
    kill_engines(docker_host, tmp_path, 30)


def test_a_burst(docker_host: DockerHost, watch: Watch) -> None:
    """Hundreds of events in two seconds: none is missed, none told twice."""
    watched = watch(docker_host, history=5000)
    container = run(docker_host, "burst")
    try:
        for number in range(RENAMES):
            container.rename(f"burst{number}")
        last = f"burst{RENAMES - 1}"
        wait_until(lambda: last in watched.containers(), PATIENCE, last)
        wait_until(lambda: watched.what(last).count("renamed") >= RENAMES, PATIENCE, "all renames")
        assert [one.detail for one in watched.history(last) if one.what == "renamed"][-1] == f"burst598 -> {last}"
        assert watched.what(last).count("renamed") == RENAMES
        once(watched)
    finally:
        container.remove(force=True)


def test_a_network_that_comes_and_goes(docker_host: DockerHost, watch: Watch) -> None:
    """A disconnect closes the ports, a reconnect opens new ones, although the container runs on."""
    watched = watch(docker_host)
    network = docker_host.client().networks.create("logilab-a")
    container = run(docker_host, "net", ports={"80/tcp": None}, network="logilab-a")
    try:
        wait_until(lambda: "net" in watched.ports(), PATIENCE, "open")
        network.disconnect(container)
        wait_until(lambda: "net" not in watched.ports(), PATIENCE, "closed")
        assert watched.containers()["net"].state == "running"
        network.connect(container)
        wait_until(lambda: "net" in watched.ports(), PATIENCE, "open again")
        watched.agrees(docker_host.url)
        once(watched)
    finally:
        container.remove(force=True)
        network.remove()


def test_a_name_taken_over(docker_host: DockerHost, watch: Watch) -> None:
    """A new container under the name and the port of one that is gone is another one."""
    watched = watch(docker_host)
    first = run(docker_host, "web", ports={"80/tcp": 25095})
    wait_until(lambda: "web" in watched.ports(), PATIENCE, "first")
    first.remove(force=True)
    second = run(docker_host, "web", ports={"80/tcp": 25095})
    try:
        wait_until(lambda: getattr(watched.containers().get("web"), "id", "") == second.id, PATIENCE, "second")
        watched.agrees(docker_host.url)
        lives = [(one.container, one.what) for one in watched.history("web") if one.what not in NETWORK]
        assert lives == [(first.id, "started"), (first.id, "died"), (first.id, "destroyed"), (second.id, "started")]
    finally:
        second.remove(force=True)


def test_what_never_started_leaves_no_trace(docker_host: DockerHost, watch: Watch) -> None:
    """A container that is created and removed, and one whose port is taken, have neither row nor history."""
    watched = watch(docker_host)
    holder = run(docker_host, "holder", ports={"80/tcp": 25097})
    made = docker_host.client().containers.create(docker_host.busybox, SLEEP, name="made")
    refused = docker_host.client().containers.create(
        docker_host.busybox, SLEEP, name="refused", ports={"80/tcp": 25097}
    )
    try:
        with pytest.raises(Exception, match="port is already allocated"):
            refused.start()
        wait_until(lambda: "holder" in watched.ports(), PATIENCE, "holder")
        watched.agrees(docker_host.url)
        assert set(watched.containers()) == {"holder"}
        assert watched.history("made") == []
    finally:
        for container in (holder, made, refused):
            container.remove(force=True)


def test_one_owner_of_two_engines(docker_host: DockerHost, tmp_path: Path) -> None:
    """A minion of two masters runs the engine twice: one keeps the registry, the other takes over when it ends."""
    daemons = {"docker": docker_host.url}
    with watching(tmp_path, daemons) as first:
        first.connected()
        with watching(tmp_path, daemons) as second:
            container = run(docker_host, "web", ports={"80/tcp": 25099})
            try:
                wait_until(lambda: "changed" in first.tags(), PATIENCE, "told by the owner")
                assert second.told == []
                first.stop()
                wait_until(lambda: locks.is_held(second.settings.folder / locks.ENGINE), PATIENCE, "a new owner")
            finally:
                container.remove(force=True)
            wait_until(lambda: "web" not in second.ports(), PATIENCE, "followed by the new owner")
            wait_until(lambda: second.told, PATIENCE, "told by the new owner")
            once(second)
