"""Podman's API service, which speaks Docker's API: with its own storage, network namespace and socket."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.support.docker import BUSYBOX, busybox_tree
from tests.support.netns import NetworkNamespace
from tests.support.optional import Optional
from tests.support.processes import Daemon, end, program
from tests.support.sessions import remove_tree

if TYPE_CHECKING:
    import docker
else:
    docker = Optional("docker", extra="docker")

# The limits that Podman would set need a capability that a container of CI's lacks.
CONFIGURATION = '[containers]\ndefault_ulimits=["nofile=1024:1024", "nproc=1024:1024"]\n'


class PodmanHost:
    """One Podman service."""

    def __init__(self, root: Path) -> None:
        self.root = root
        configuration = root / "containers.conf"
        configuration.write_text(CONFIGURATION)
        self.netns = NetworkNamespace.create()
        command = [
            *(program("env", "coreutils"), f"CONTAINERS_CONF={configuration}", program("podman", "podman")),
            *("--root", f"{root}/root", "--runroot", f"{root}/r", "--tmpdir", f"{root}/tmp"),
            *("--cgroup-manager", "cgroupfs", "--events-backend", "file", "--storage-driver", "vfs"),
            *("--network-config-dir", f"{root}/networks"),
            *("system", "service", "--time", "0", self.url),
        ]
        self._daemon = Daemon("podman", self.netns.command(*command), root)

    @property
    def url(self) -> str:
        """The service's address."""
        return f"unix://{self.root}/p.sock"

    @cached_property
    def client(self) -> docker.DockerClient:
        """A client of the service."""
        return docker.DockerClient(base_url=self.url, version="1.41", timeout=60)

    @cached_property
    def busybox(self) -> str:
        """The name of an image with a static busybox and nothing else."""
        self.client.api.import_image_from_data(busybox_tree(), repository=BUSYBOX.split(":", maxsplit=1)[0])
        return f"docker.io/{BUSYBOX}"

    def start(self) -> None:
        """Start the service and wait until its socket is there."""
        self._daemon.start((self.root / "p.sock").exists)

    def stop(self) -> None:
        """Remove the containers, end what was started, and remove its files."""
        for container in self.client.api.containers(all=True, quiet=True):
            self.client.api.remove_container(container["Id"], force=True)
        self.client.close()
        self._daemon.end_owned()
        end([process for process in psutil.process_iter(["name", "cmdline"]) if self._is_monitor(process)])
        remove_tree(self.root)
        self.netns.delete()

    def _is_monitor(self, process: psutil.Process) -> bool:
        """Whether a process is the monitor of an ended command, which stays for minutes, in no environment of ours."""
        return process.info["name"] == "conmon" and any(
            str(self.root) in word for word in process.info["cmdline"] or ()
        )


@pytest.fixture(scope="session")
def podman_host(daemon_root: Path) -> Iterator[PodmanHost]:
    """One Podman service for the session; tests remove their containers."""
    root = daemon_root / "pod"  # Podman takes no run root of more than 50 characters
    root.mkdir(mode=0o711)
    host = PodmanHost(root)
    host.start()
    yield host
    host.stop()
