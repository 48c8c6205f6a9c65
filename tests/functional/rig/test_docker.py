"""Private Engines run containers, can be killed, and leave nothing behind."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from pathlib import Path

import docker.errors
import psutil
import pytest

from tests.support.docker import DockerHost
from tests.support.processes import alive, owned
from tests.support.waiting import wait_until

SERVE = ["sh", "-c", "echo served > /www/it; httpd -f -p 80 -h /www"]


def fetch(port: int) -> bytes:
    """Read the served page from 127.0.0.1 of this thread's network."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/it", timeout=5) as answer:
        return bytes(answer.read())


def test_published_port_answers_in_the_namespace(docker_host: DockerHost) -> None:
    """A published port answers inside the Engine's network namespace, and only there."""
    client = docker_host.client()
    container = client.containers.run(docker_host.busybox, SERVE, detach=True, ports={"80/tcp": None})
    try:
        port = int(client.api.port(container.id, 80)[0]["HostPort"])
        with docker_host.netns.entered():
            wait_until(lambda: container.exec_run(["wget", "-qO-", "http://127.0.0.1/it"]).exit_code == 0, 60, "httpd")
            assert fetch(port) == b"served\n"
        with pytest.raises(OSError, match="refused"):
            fetch(port)
    finally:
        container.remove(force=True)


def test_engine_returns_after_a_kill(new_docker_host: Callable[[], DockerHost]) -> None:
    """A killed Engine answers no more; restarted, it has its containers and images, and nothing stays at the end."""
    host = new_docker_host()
    container = host.client().containers.run(host.busybox, ["sleep", "1000"], detach=True, stop_signal="KILL")
    first = host.pid
    host.kill()
    assert not host.answers()
    host.restart()
    assert host.pid != first
    assert [it.id for it in host.client().containers.list(all=True)] == [container.id]
    host.client().containers.get(container.id).start()
    host.stop()
    assert not owned(host.root)
    assert host.root.name not in Path("/proc/self/mountinfo").read_text()
    assert not host.netns.path.exists()


def test_killed_engine_leaves_nothing(new_docker_host: Callable[[], DockerHost]) -> None:
    """An Engine that was killed and not restarted is cleared as well: the container's process and control groups go."""
    host = new_docker_host()
    container = host.client().containers.run(host.busybox, ["sleep", "1000"], detach=True)
    container.reload()
    sleeper = psutil.Process(container.attrs["State"]["Pid"])
    host.kill()
    assert alive(sleeper)
    host.stop()
    assert not alive(sleeper)
    assert not owned(host.root)
    assert not list(Path("/sys/fs/cgroup").glob(f"**/{container.id}"))
    assert not host.root.exists()


def test_connected_engine_reaches_the_outside(connected_docker_host: DockerHost) -> None:
    """A container of the connected Engine has a default route and a name server, and reaches the host's network."""
    host = connected_docker_host
    output = host.client().containers.run(host.busybox, ["sh", "-c", "ip route; cat /etc/resolv.conf"], remove=True)
    assert f"default via {host.network.gateway}" in output.decode()
    assert "nameserver" in output.decode()


def test_connected_engine_publishes_on_the_host(connected_docker_host: DockerHost) -> None:
    """A port published by the connected Engine answers on this machine's 127.0.0.1."""
    client = connected_docker_host.client()
    container = client.containers.run(connected_docker_host.busybox, SERVE, detach=True, ports={"80/tcp": None})
    try:
        port = int(client.api.port(container.id, 80)[0]["HostPort"])
        wait_until(lambda: container.exec_run(["wget", "-qO-", "http://127.0.0.1/it"]).exit_code == 0, 60, "httpd")
        assert fetch(port) == b"served\n"
    finally:
        container.remove(force=True)


def test_engine_refuses_what_the_machine_lacks(docker_host: DockerHost) -> None:
    """A container gets all capabilities exactly when this machine has them; else the Engine's refusal is an error."""
    bounding = next(it for it in Path("/proc/self/status").read_text().splitlines() if it.startswith("CapBnd"))
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    complete = int(bounding.split()[1], 16) == (1 << (last + 1)) - 1
    try:
        docker_host.client().containers.run(docker_host.busybox, "true", privileged=True, remove=True)
        granted = True
    except docker.errors.APIError:
        granted = False
    assert granted is complete
