"""
Private libvirtds: each in a mount namespace where it sees folders of its own, so that two of them are two hosts.

They run as root without a security driver and without cgroups; guests are ``type='qemu'`` (TCG).
"""

from __future__ import annotations

import re
import shlex
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.support.leftovers import telling_mounts
from tests.support.optional import Optional
from tests.support.processes import Daemon, end, program
from tests.support.roots import cache_root, new_root
from tests.support.sessions import remove_tree

if TYPE_CHECKING:
    import libvirt
else:
    libvirt = Optional("libvirt", extra="virt")

PACKAGE = "libvirt-daemon-system"
FOLDERS = {
    "etc": "/etc/libvirt",
    "lib": "/var/lib/libvirt",
    "run": "/run/libvirt",
    "cache": "/var/cache/libvirt",
    "log": "/var/log/libvirt",
}
LIBVIRTD_CONF = """
host_uuid = "{host_uuid}"
unix_sock_group = "root"
unix_sock_rw_perms = "0700"
auth_unix_rw = "none"
listen_tls = 0
"""
QEMU_CONF = """
user = "root"
group = "root"
security_driver = "none"
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
remember_owner = 0
"""


class LibvirtHost:
    """One private libvirtd; its guests live on when it is killed, as on a real host."""

    def __init__(self, root: Path, env: dict[str, str] | None = None) -> None:
        """Lay out the folders; ``env`` is for such as ``LIBVIRT_LOG_FILTERS``."""
        self.root = root
        self._connections: list[libvirt.virConnect] = []
        self._stopped = False
        for name in FOLDERS:
            (root / name).mkdir()
        _copy_new(kept_capabilities(), self._capabilities)
        (root / "etc/libvirtd.conf").write_text(LIBVIRTD_CONF.format(host_uuid=uuid.uuid4()))
        (root / "etc/qemu.conf").write_text(QEMU_CONF)
        self._daemon = Daemon(
            "libvirtd", [program("unshare", "util-linux"), "-m", "sh", "-ec", self._script()], root, env=env
        )

    def _script(self) -> str:
        """Return the shell lines that turn the new mount namespace into a host and become libvirtd."""
        binds = [
            f"mkdir -p {target}; mount --bind {shlex.quote(str(self.root / name))} {target}"
            for name, target in FOLDERS.items()
        ]
        daemon = f"exec {program('libvirtd', PACKAGE)} -p {shlex.quote(str(self.root / 'libvirtd.pid'))}"
        return "\n".join(["mount --make-rprivate /", *binds, daemon])

    @property
    def _capabilities(self) -> Path:
        return self.root / "cache/qemu/capabilities"

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self.root / "run/libvirt-sock"

    @property
    def uri(self) -> str:
        """The URI of its QEMU driver."""
        return f"qemu+unix:///system?socket={self.socket}"

    @property
    def pid(self) -> int:
        """The process id of libvirtd."""
        return self._daemon.pid

    @property
    def log(self) -> Path:
        """What libvirtd wrote."""
        return self._daemon.log

    def open(self) -> libvirt.virConnect:
        """Return a new connection; it is closed with the host."""
        connection = libvirt.open(self.uri)
        self._connections.append(connection)
        return connection

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._daemon.start(self.answers)

    def answers(self) -> bool:
        """Whether it takes a connection."""
        if not self.socket.exists():
            return False
        try:
            libvirt.open(self.uri).close()
        except libvirt.libvirtError:
            return False
        return True

    def kill(self) -> None:
        """Kill libvirtd with SIGKILL; its guests run on."""
        self._daemon.kill()
        (self.root / "libvirtd.pid").unlink(missing_ok=True)

    def restart(self) -> None:
        """Start libvirtd again, ended by SIGTERM first where it runs; its guests run on."""
        self._daemon.terminate()
        self.start()

    def members(self) -> list[psutil.Process]:
        """Return the processes that live in this host: libvirtd, qemu and what they started."""
        binding = re.compile(rf"{re.escape(self.root.name)}/run /run/libvirt ")
        return [process for process in psutil.process_iter() if binding.search(telling_mounts(process.pid))]

    def stop(self) -> None:
        """End libvirtd and its guests, exactly, and remove its files; once."""
        if self._stopped:
            return
        self._stopped = True
        for connection in self._connections:
            _close(connection)
        self._daemon.kill()
        end(self.members())
        self._daemon.end_owned()
        _copy_new(self._capabilities, kept_capabilities())
        remove_tree(self.root)


def kept_capabilities() -> Path:
    """
    Return the folder where what libvirtd found out about qemu is kept between runs: it takes seconds of asking.

    libvirtd itself checks whether that still fits its qemu, its kernel and itself.
    """
    return cache_root() / "libvirt-capabilities"


def _copy_new(source: Path, target: Path) -> None:
    """Copy the files that ``target`` lacks or has older; each appears whole."""
    target.mkdir(parents=True, exist_ok=True)
    for path in source.glob("*.xml"):
        if not (target / path.name).exists() or (target / path.name).stat().st_mtime < path.stat().st_mtime:
            partial = target / f"{path.name}.{uuid.uuid4()}"
            shutil.copy2(path, partial)
            partial.rename(target / path.name)


def _close(connection: libvirt.virConnect) -> None:
    """Close a connection that may be broken already."""
    try:
        connection.close()
    except libvirt.libvirtError:
        return


def _start(parent: Path) -> LibvirtHost:
    host = LibvirtHost(new_root(parent, "virt"))
    try:
        host.start()
    except BaseException:
        host.stop()
        raise
    return host


@pytest.fixture(scope="session")
def quiet_libvirt() -> None:
    """Keep libvirt's client from printing each error to standard error."""
    libvirt.registerErrorHandler(lambda *_: None, None)


@pytest.fixture(scope="session")
def libvirt_host(daemon_root: Path, quiet_libvirt: None) -> Iterator[LibvirtHost]:  # noqa: ARG001
    """One libvirtd for the session; tests use names of their own, clean up, and do not kill it."""
    host = _start(daemon_root)
    yield host
    host.stop()


@pytest.fixture(scope="session")
def other_libvirt_host(daemon_root: Path, quiet_libvirt: None) -> Iterator[LibvirtHost]:  # noqa: ARG001
    """A second host for the session, under the rules of the first."""
    host = _start(daemon_root)
    yield host
    host.stop()


@pytest.fixture
def new_libvirt_host(daemon_root: Path, quiet_libvirt: None) -> Iterator[Callable[[], LibvirtHost]]:  # noqa: ARG001
    """Return a maker of hosts that a test may kill."""
    made: list[LibvirtHost] = []

    def make() -> LibvirtHost:
        made.append(_start(daemon_root))
        return made[-1]

    yield make
    for host in made:
        host.stop()
