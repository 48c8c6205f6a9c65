"""Podman's service beside Docker's: one engine follows both."""

from __future__ import annotations

from pathlib import Path

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
