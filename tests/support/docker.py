"""
Private Docker Engines: each with its own data, socket, containerd and network.

- :func:`docker_host` and :func:`new_docker_host`: in a network namespace of their own, for kills and firewall rules.
- :func:`connected_docker_host`: on the host's network, with a bridge of its own, for containers that install packages.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import requests.exceptions

from tests.support.bridges import Bridge
from tests.support.netns import NetworkNamespace
from tests.support.optional import Optional
from tests.support.processes import Daemon, alive, end, owned, program
from tests.support.roots import new_root
from tests.support.sessions import remove_tree

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container
else:
    docker = Optional("docker", extra="docker")

PACKAGE = "docker.io"
BUSYBOX = "logilab/busybox:latest"
APPLETS = (
    *(
        "cat",
        "chmod",
        "chown",
        "echo",
        "env",
        "false",
        "hostname",
        "httpd",
        "id",
        "ip",
        "ln",
        "ls",
        "mkdir",
        "mv",
        "nc",
    ),
    *("ps", "readlink", "rm", "sh", "sleep", "stat", "true", "wget"),
)


class DockerHost:
    """One private Docker Engine."""

    def __init__(self, root: Path, network: NetworkNamespace | Bridge) -> None:
        self.root = root
        self.network = network
        self.socket = root / "d.sock"
        self._pidfile = root / "d.pid"
        self._daemon = Daemon("dockerd", self._command(), root)
        self._clients: list[docker.DockerClient] = []
        self._stopped = False

    def _command(self) -> list[str]:
        command = [
            program("dockerd", PACKAGE),
            *("--data-root", f"{self.root}/data", "--exec-root", f"{self.root}/exec"),
            *("--pidfile", str(self._pidfile), "--host", self.url, "--log-level", "warn"),
        ]
        if isinstance(self.network, NetworkNamespace):
            return self.network.command(*command)
        # Two dockerds on one network flush each other's chains: the bridge's own rules take their place.
        return [*command, "--bridge", self.network.name, "--iptables=false", "--ip6tables=false"]

    @property
    def url(self) -> str:
        """The Engine's address."""
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int:
        """The process id of dockerd."""
        return self._daemon.pid

    @property
    def netns(self) -> NetworkNamespace:
        """The network namespace; published ports are reached from within :meth:`NetworkNamespace.entered`."""
        if not isinstance(self.network, NetworkNamespace):
            raise TypeError(f"{self.url} is on the host's network")
        return self.network

    def client(self, timeout: int = 60) -> docker.DockerClient:
        """Return a new client; it is closed with the host."""
        client = docker.DockerClient(base_url=self.url, timeout=timeout)
        self._clients.append(client)
        return client

    def start(self) -> None:
        """Start the Engine and wait until it answers."""
        self._daemon.start(self.answers)

    def answers(self) -> bool:
        """Whether the Engine answers a ping."""
        client = docker.APIClient(base_url=self.url, version="1.41", timeout=5)
        try:
            return bool(client.ping())
        except (docker.errors.DockerException, requests.exceptions.RequestException):
            return False
        finally:
            client.close()

    def output(self) -> str:
        """Return the end of what dockerd logged."""
        return self._daemon.output()

    def kill(self) -> None:
        """Kill dockerd, its containerd and its port proxies with SIGKILL; containers run on, as after a crash."""
        self._daemon.kill()
        end([process for process in owned(self.root) if _is_of_daemon(process)])
        self._pidfile.unlink(missing_ok=True)
        (self.root / "exec/containerd/containerd.pid").unlink(missing_ok=True)

    def restart(self) -> None:
        """Start it again with the same data, ended by SIGTERM first where it runs (that stops the containers)."""
        self._daemon.terminate()
        self.start()

    def stop(self) -> None:
        """Remove the containers, end exactly what this Engine started, and remove its files and its network; once."""
        if self._stopped:
            return
        self._stopped = True
        if self.answers():
            client = self.client()
            for container in client.api.containers(all=True, quiet=True):
                client.api.remove_container(container["Id"], force=True, v=True)
        for client in self._clients:
            client.close()
        self._daemon.terminate()
        self._daemon.end_owned()
        self._remove_cgroups()
        remove_tree(self.root)
        self.network.delete()

    def _remove_cgroups(self) -> None:
        """Remove the control groups of containers that died without their Engine."""
        for container in (self.root / "data/containers").glob("*"):
            for group in Path("/sys/fs/cgroup").glob(f"**/docker/{container.name}"):
                for folder, _, _ in os.walk(group, topdown=False):
                    Path(folder).rmdir()

    def remove_containers(self) -> None:
        """Remove all containers."""
        for container in self.client().containers.list(all=True):
            container.remove(force=True, v=True)

    @cached_property
    def busybox(self) -> str:
        """The name of an image with a static busybox and nothing else."""
        self.client().api.import_image_from_data(busybox_tree(), repository=BUSYBOX.split(":", maxsplit=1)[0])
        return BUSYBOX


def _is_of_daemon(process: psutil.Process) -> bool:
    """Whether a process of an Engine is of the Engine itself, not of a container."""
    try:
        return process.name() in {"containerd", "docker-proxy"} and alive(process)
    except psutil.NoSuchProcess:
        return False


def busybox_tree() -> bytes:
    """Return a tar of a root with busybox and links to it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(program("busybox", "busybox-static"), "bin/busybox", filter=_executable)
        for applet in APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for folder in ("etc", "tmp", "var", "www"):
            made = tarfile.TarInfo(folder)
            made.type, made.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(made)
    return buffer.getvalue()


def _executable(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.mode, member.uid, member.gid, member.mtime = 0o755, 0, 0, 0
    return member


def _start(parent: Path, network: NetworkNamespace | Bridge) -> DockerHost:
    host = DockerHost(new_root(parent, "docker"), network)
    try:
        host.start()
    except BaseException:
        host.stop()
        raise
    return host


@pytest.fixture(scope="session")
def docker_host(daemon_root: Path) -> Iterator[DockerHost]:
    """One Engine in a network namespace for the session; tests remove their containers and do not kill it."""
    host = _start(daemon_root, NetworkNamespace.create())
    yield host
    host.stop()


@pytest.fixture
def new_docker_host(daemon_root: Path) -> Iterator[Callable[[], DockerHost]]:
    """Return a maker of Engines in network namespaces that a test may kill."""
    made: list[DockerHost] = []

    def make() -> DockerHost:
        made.append(_start(daemon_root, NetworkNamespace.create()))
        return made[-1]

    yield make
    for host in made:
        host.stop()


@pytest.fixture(scope="session")
def connected_docker_host(daemon_root: Path) -> Iterator[DockerHost]:
    """One Engine on the host's network for the session, whose containers reach what this machine reaches."""
    host = _start(daemon_root, Bridge.create())
    yield host
    host.stop()


@pytest.fixture
def run_container(docker_host: DockerHost) -> Iterator[Callable[..., Container]]:
    """Return a starter of containers on :func:`docker_host`, which end with the test: ``run_container("web", {…})``."""

    def start(
        name: str, ports: dict[str, Any] | None = None, command: Sequence[str] = ("sleep", "1000"), **options: Any
    ) -> Container:
        options = {"detach": True, "stop_signal": "KILL", **options}
        return docker_host.client().containers.run(
            docker_host.busybox, list(command), name=name, ports=ports, **options
        )

    yield start
    docker_host.remove_containers()
