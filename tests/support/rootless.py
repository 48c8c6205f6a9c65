"""
Rootless Docker: an Engine of an ordinary user, with his own socket, in the namespaces that RootlessKit makes for it.

Its containers have a network of their own; what they publish, RootlessKit takes on the network of its user, here a
network namespace of the tests' own.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.docker import BUSYBOX, busybox_tree
from tests.support.netns import NetworkNamespace
from tests.support.optional import Optional
from tests.support.processes import Daemon, program
from tests.support.roots import new_root
from tests.support.sessions import remove_tree

if TYPE_CHECKING:
    import docker
else:
    docker = Optional("docker", extra="docker")

SCRIPT = "/usr/share/docker.io/contrib/dockerd-rootless.sh"
USER, UID = "nobody", 65534
FIRST, COUNT = 200_000, 65_536  # the user's subordinate ids
# In a mount namespace of its own: subordinate ids for the user, and a /dev/net/tun that is open to all, as usually.
PREPARE = f"""
set -e
mount --make-rprivate /
echo {USER}:{FIRST}:{COUNT} >ids
mount --bind ids /etc/subuid
mount --bind ids /etc/subgid
mknod -m 666 tun c 10 200
mount --bind tun /dev/net/tun
"""


class RootlessHost:
    """One rootless Engine."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.netns = NetworkNamespace.create()
        for each in ("slirp4netns", "rootlesskit", "newuidmap"):
            program(each, {"newuidmap": "uidmap"}.get(each, each))
        user = [program("setpriv", "util-linux"), f"--reuid={UID}", f"--regid={UID}", "--clear-groups"]
        home = [program("env", "coreutils"), f"HOME={root}/home", f"XDG_RUNTIME_DIR={root}/run"]
        dockerd = ["sh", SCRIPT, "--storage-driver", "vfs", "--log-level", "warn"]
        script = f"{PREPARE}\nexec {shlex.join([*user, *home, *dockerd])}\n"
        unshare = [program("unshare", "util-linux"), "--mount", "sh", "-c", script]
        self._daemon = Daemon("dockerd-rootless", self.netns.command(*unshare), root)

    @property
    def socket(self) -> Path:
        """The Engine's socket, which belongs to its user."""
        return self.root / "run/docker.sock"

    @property
    def url(self) -> str:
        """The Engine's address."""
        return f"unix://{self.socket}"

    @cached_property
    def client(self) -> docker.DockerClient:
        """A client of the Engine."""
        return docker.DockerClient(base_url=self.url, version="1.41", timeout=60)

    @cached_property
    def busybox(self) -> str:
        """The name of an image with a static busybox and nothing else."""
        self.client.api.import_image_from_data(busybox_tree(), repository=BUSYBOX.split(":", maxsplit=1)[0])
        return BUSYBOX

    def start(self) -> None:
        """Start it and wait until it answers."""
        for name in ("home", "run"):
            (self.root / name).mkdir(mode=0o700)
            os.chown(self.root / name, UID, UID)
        self._daemon.start(self.socket.exists)

    def stop(self) -> None:
        """End what was started, and remove its files."""
        self._daemon.stop()
        if "client" in self.__dict__:
            self.client.close()
        remove_tree(self.root)
        self.netns.delete()


@pytest.fixture(scope="module")
def rootless_host(daemon_root: Path) -> Iterator[RootlessHost]:
    """One rootless Engine for a module."""
    host = RootlessHost(new_root(daemon_root, "rootless"))
    try:
        host.start()
        yield host
    finally:
        host.stop()
