"""Rootless Docker, beside another Engine: its ports are those of the host, its containers' own network is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from saltext_logilab.containers import place
from tests.functional.containers.test_filters import NEAR_ONLY, NEARBY, SERVE, is_served, seen
from tests.functional.containers.test_watch import SLEEP
from tests.support.neighbours import neighbour_of
from tests.support.podman import PodmanHost
from tests.support.rootless import RootlessHost
from tests.support.waiting import wait_until
from tests.support.watching import PATIENCE, watching


@pytest.fixture
def run(rootless_host: RootlessHost) -> Iterator[Callable[..., Any]]:
    """Return a starter of containers on :func:`rootless_host`, which end with the test."""

    def start(name: str, command: list[str], **options: Any) -> Any:
        return rootless_host.client.containers.run(
            rootless_host.busybox, command, name=name, detach=True, stop_signal="KILL", **options
        )

    yield start
    for container in rootless_host.client.containers.list(all=True):
        container.remove(force=True)


@pytest.fixture
def loaders(new_loaders: Callable[..., Any], rootless_host: RootlessHost, tmp_path: Path) -> Iterator[Any]:
    """The loaders of a minion with the rootless Engine, called in the network namespace of its user."""
    (tmp_path / "systemd").mkdir()
    area = {"daemons": {"rootless": rootless_host.url}, "systemd": str(tmp_path / "systemd")}
    made = new_loaders({"logilab": {"state_dir": str(tmp_path / "state"), "containers": area}})
    with rootless_host.netns.entered():
        yield made


def test_where_a_daemon_is(rootless_host: RootlessHost, podman_host: PodmanHost, tmp_path: Path) -> None:
    """In a user namespace of its own, in another network, on another host; one that is away counts as here."""
    with rootless_host.netns.entered():
        assert place.of(rootless_host.url) == place.Place(processes=True, network=False, rootless=True)
    assert place.of(podman_host.url) == place.Place(processes=True, network=False)
    assert place.of("tcp://192.0.2.1:2375") == place.Place(processes=False, network=False, host="192.0.2.1")
    assert place.of(f"unix://{tmp_path}/gone.sock") == place.HERE


def test_its_ports_are_followed(rootless_host: RootlessHost, run: Callable[..., Any], tmp_path: Path) -> None:
    """Both families, UDP and any port, with what was asked for; and gone with their container."""
    with watching(tmp_path, {"rootless": rootless_host.url}) as watched:
        watched.connected("rootless")
        ports = {"80/tcp": None, "81/tcp": ("::1", 25601), "53/udp": ("127.0.0.1", 25602)}
        container = run("web", SLEEP, ports=ports)
        wait_until(lambda: len(watched.ports("rootless").get("web", ())) == 4, PATIENCE, "four ports")
        watched.agrees(rootless_host.url, "rootless")
        told = {(one.host_ip, one.container_port): one.requested for one in watched.ports("rootless")["web"]}
        assert (told["::1", 81], told["127.0.0.1", 53], told["::", 80]) == ("[::1]:25601", "127.0.0.1:25602", "any")
        container.remove(force=True)
        wait_until(lambda: not watched.ports("rootless"), PATIENCE, "none")


def test_its_own_network_is_not_the_hosts(loaders: Any, run: Callable[..., Any]) -> None:
    """What it calls the host's network opens no port here; what answers is seen in the container; no route leads in."""
    module = loaders.modules.docker_ports
    run("web", SERVE, ports={"80/tcp": 25603, "81/tcp": 25604})
    run("hosted", ["httpd", "-f", "-p", "25605"], network_mode="host")
    assert module.wait("web", 80, timeout=PATIENCE) is True
    assert module.wait("web", 81, timeout=0.2) is False
    assert {(row["container"], row["host_port"]) for row in module.list()["ports"]} == {("web", 25603), ("web", 25604)}
    assert module.wait("hosted", 25605, timeout=0) is False
    told = module.audit()
    assert {(one["exposure"], *one["routed"]) for one in told["ports"]} == {("public",)}
    assert told["unpublished"] == []


def test_its_ports_are_filtered_in_input(loaders: Any, run: Callable[..., Any], rootless_host: RootlessHost) -> None:
    """RootlessKit takes the connection: nothing is left uncovered, a neighbour is kept out, and the audit says so."""
    states, audit = loaders.states.docker_ports, loaders.modules.docker_ports.audit
    run("web", SERVE, ports={"80/tcp": 25606})
    with neighbour_of(rootless_host.netns) as neighbour:
        is_served(neighbour, 25606)
        done = states.filtered(name="25606", sources=NEARBY)
        try:
            assert (done.result, done.comment) == (True, f"port 25606/tcp is open to {', '.join(NEARBY)}")
            assert seen(neighbour, 25606) == NEAR_ONLY
            assert {one["exposure"] for one in audit()["ports"]} == {"local"}
            again = states.filtered(name="25606", sources=NEARBY)
            assert (again.result, again.changes) == (True, {})
        finally:
            assert states.unfiltered(name="25606").result is True
        is_served(neighbour, 25606)
    assert {one["exposure"] for one in audit()["ports"]} == {"public"}
