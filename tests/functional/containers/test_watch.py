"""The registry follows a real Docker Engine: what happens stands in it, and in its history once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.docker import DockerHost
from tests.support.relays import Relay
from tests.support.waiting import wait_until
from tests.support.watching import PATIENCE, Watched

Watch = Callable[..., Watched]
SLEEP = ["sleep", "1000"]
NETWORK = ("connected", "disconnected", "opened", "closed")


def awaited(watched: Watched, container: str, *kinds: str) -> None:
    """Wait until the history of ``container`` is exactly ``kinds``."""

    def told() -> list[str]:
        return [one for one in watched.what(container) if one not in NETWORK]

    try:
        wait_until(lambda: told() == list(kinds), PATIENCE, "history")
    except TimeoutError:
        assert told() == list(kinds)


def test_a_container_comes_and_goes(docker_host: DockerHost, watch: Watch, run_container: Callable[..., Any]) -> None:
    """Its ports of both families are there with what was asked for, and gone when it stops."""
    watched = watch(docker_host)
    wanted = {"80/tcp": None, "53/udp": ("127.0.0.1", 20053), "443/tcp": ("::1", 20443)}
    container = run_container("web", wanted)
    wait_until(lambda: "web" in watched.ports(), PATIENCE, "web in the registry")
    watched.agrees(docker_host.url)
    asked = {(port.container_port, port.protocol): (port.host_ip, port.requested) for port in watched.ports()["web"]}
    assert asked[53, "udp"] == ("127.0.0.1", "127.0.0.1:20053")
    assert asked[443, "tcp"] == ("::1", "[::1]:20443")
    assert asked[80, "tcp"][1] == "any"
    container.remove(force=True)
    wait_until(lambda: "web" not in watched.containers(), PATIENCE, "web gone")
    told = watched.what("web")
    assert told.count("opened") == told.count("closed") == 4
    assert told.count("connected") == told.count("disconnected") == 1
    assert [one for one in told if one not in NETWORK] == ["started", "died", "destroyed"]


def test_each_step_of_a_life_is_told_once(
    docker_host: DockerHost, watch: Watch, run_container: Callable[..., Any]
) -> None:
    """Paused, renamed, stopped, started: each stands in the history once, and in the registry at once."""
    watched = watch(docker_host)
    container = run_container("ann")
    wait_until(lambda: "ann" in watched.containers(), PATIENCE, "started")
    container.pause()
    wait_until(lambda: watched.containers()["ann"].state == "paused", PATIENCE, "paused")
    container.unpause()
    container.rename("bob")
    wait_until(lambda: "bob" in watched.containers(), PATIENCE, "renamed")
    container.stop(timeout=0)
    container.start()
    awaited(watched, "bob", "started", "paused", "unpaused", "renamed", "died", "started")
    assert {change.detail for change in watched.history("bob") if change.what == "renamed"} == {"ann -> bob"}


def test_health_and_an_update(docker_host: DockerHost, watch: Watch, run_container: Callable[..., Any]) -> None:
    """How well a container is stands in its row, each change of it in the history; so does an update."""
    watched = watch(docker_host)
    check = {"test": ["CMD", "/bin/ls", "/tmp/well"], "interval": 10**8, "retries": 1}
    container = run_container("web", {"80/tcp": None}, healthcheck=check)

    def health() -> str:
        return watched.containers()["web"].health

    wait_until(lambda: "web" in watched.ports() and health() == "unhealthy", PATIENCE, "unhealthy")
    container.exec_run(["sh", "-c", "echo >/tmp/well"])
    wait_until(lambda: health() == "healthy", PATIENCE, "healthy")
    container.update(restart_policy={"Name": "always"})
    wait_until(lambda: "updated" in watched.what("web"), PATIENCE, "updated")
    told = [one.detail for one in watched.history("web") if one.what == "health"]
    assert told == ["unhealthy", "healthy"]


def test_an_engine_by_tcp(
    docker_host: DockerHost, run_container: Callable[..., Any], tcp_relay: Callable[..., Relay], tmp_path: Path
) -> None:
    """It is followed over a network that breaks: stale meanwhile, and afterwards as the Engine says."""
    relay = tcp_relay(docker_host.socket)
    watched = Watched(tmp_path, {"docker": f"tcp://127.0.0.1:{relay.port}"})
    watched.start()
    try:
        watched.connected()
        run_container("before", {"80/tcp": None})
        wait_until(lambda: "before" in watched.ports(), PATIENCE, "followed")
        relay.cut()
        wait_until(lambda: "stale" in watched.tags(), PATIENCE, "told that it is away")
        run_container("meanwhile", {"80/tcp": None})
        relay.heal()
        wait_until(lambda: "resynced" in watched.tags(), PATIENCE, "followed again")
        watched.agrees(docker_host.url)
        assert set(watched.ports()) == {"before", "meanwhile"}
    finally:
        watched.stop()
