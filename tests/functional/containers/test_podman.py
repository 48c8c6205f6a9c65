"""Podman's service beside Docker's: one engine follows both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.functional.containers.test_filters import SERVE
from tests.functional.containers.test_watch import SLEEP, awaited
from tests.support.docker import DockerHost
from tests.support.podman import PodmanHost
from tests.support.waiting import wait_until
from tests.support.watching import PATIENCE, watching


def test_docker_and_podman_side_by_side(docker_host: DockerHost, podman_host: PodmanHost, tmp_path: Path) -> None:
    """Containers of one name in both: each daemon has its own, and what happens in Podman is followed as well."""
    daemons = {"docker": docker_host.url, "podman": podman_host.url}
    options = {"name": "both", "detach": True, "stop_signal": "KILL"}
    with watching(tmp_path, daemons) as watched:
        watched.connected("docker")
        watched.connected("podman")
        other = docker_host.client().containers.run(docker_host.busybox, SLEEP, ports={"80/tcp": 25481}, **options)
        own = podman_host.client.containers.run(podman_host.busybox, SLEEP, ports={"80/tcp": 25480}, **options)
        try:
            wait_until(lambda: watched.ports("podman"), PATIENCE, "Podman's port")
            (port,) = watched.ports("podman")["both"]
            assert str(port) == "0.0.0.0:25480->80/tcp"
            wait_until(lambda: watched.ports("docker"), PATIENCE, "Docker's port")
            assert {one.host_port for one in watched.ports("docker")["both"]} == {25481}
            own.rename("one")
            wait_until(lambda: "one" in watched.containers("podman"), PATIENCE, "renamed")
            assert "both" in watched.containers("docker")
        finally:
            own.remove(force=True)
            other.remove(force=True)
        wait_until(lambda: not watched.containers("podman"), PATIENCE, "gone")
        awaited(watched, own.id, "started", "renamed", "died", "destroyed")
        assert [change.detail for change in watched.history(own.id) if change.what == "renamed"] == ["both -> one"]


def test_podmans_ports_without_an_engine(
    new_loaders: Callable[..., Any], podman_host: PodmanHost, tmp_path: Path
) -> None:
    """Ports of both kinds are listed, asked for, waited for and audited as Docker's are."""
    area = {"daemons": {"podman": podman_host.url}}
    ports = new_loaders({"logilab": {"state_dir": str(tmp_path), "containers": area}}).modules.docker_ports
    options = {"detach": True, "stop_signal": "KILL"}
    published = {"80/tcp": ("127.0.0.1", 25482), "53/udp": 25483, "81/tcp": ("127.0.0.1", 25485)}
    wanted = {
        "web": (SERVE, {"ports": published}),
        "hosted": (["httpd", "-f", "-p", "25484"], {"network_mode": "host"}),
        "guest": (["httpd", "-f", "-p", "81"], {"network_mode": "container:web"}),
    }
    made: list[Any] = []
    try:
        for name, (command, more) in wanted.items():
            image = podman_host.busybox
            made.insert(0, podman_host.client.containers.run(image, command, name=name, **more, **options))
        with podman_host.netns.entered():
            assert ports.wait("web", 80, timeout=PATIENCE) is True
            assert ports.wait("web", "53/udp", timeout=0.1) is False
            assert ports.wait("hosted", 25484, timeout=PATIENCE) is True
            assert ports.wait("guest", 81, timeout=PATIENCE) is True
            found = {
                (row["container"], row["host_ip"], row["host_port"], row["origin"]) for row in ports.list()["ports"]
            }
            assert found == {
                ("web", "127.0.0.1", 25482, "published"),
                ("web", "0.0.0.0", 25483, "published"),
                ("web", "127.0.0.1", 25485, "published"),
                ("guest", "127.0.0.1", 25485, "listener"),
                ("hosted", "::", 25484, "listener"),
            }
            assert ports.container("web")["requested"]["80/tcp"] == "127.0.0.1:25482"
            assert {one["host_port"]: one["exposure"] for one in ports.audit()["ports"]} == {
                25482: "loopback",
                25483: "public",
                25485: "loopback",
                25484: "public",
            }
    finally:
        for container in made:
            container.remove(force=True)
