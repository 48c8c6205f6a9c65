"""
Containers that run Debian with systemd, and with Salt where a test asks for it.

They need CAP_SYS_ADMIN and a private cgroup namespace, not ``--privileged``.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import secrets
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.debian import debian_tar
from tests.support.docker import DockerHost
from tests.support.roots import cache_root, cached
from tests.support.sessions import undo_when_abandoned
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from docker.models.containers import Container

REPOSITORY = "logilab/debian"
ARCHIVES = "/var/cache/apt/archives"
SALT = "/opt/salt"
EXTENSION = "/opt/extension"
COMPILER = ("gcc", "libc6-dev", "python3-dev")  # timelib has no wheel
MINION_CONFIG = "file_client: local\nenable_fqdns_grains: false\nid: {id}\n"
UP = {"running", "degraded"}


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    code: int
    output: str


@dataclass(frozen=True)
class SystemdContainer:
    """A running Debian."""

    container: Container

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.container.name)

    @property
    def address(self) -> str:
        """Its IPv4 address on the Engine's bridge."""
        self.container.reload()
        return str(self.container.attrs["NetworkSettings"]["IPAddress"])

    def exec(self, *argv: str, check: bool = True, env: Mapping[str, str] | None = None) -> Done:
        """
        Run a command in it and return its code and all its output.

        :raises RuntimeError: ``check`` is true and it failed.
        """
        code, output = self.container.exec_run(list(argv), environment=dict(env or {}))
        done = Done(code, output.decode(errors="replace"))
        if check and done.code:
            raise RuntimeError(f"{' '.join(argv)} in {self.name} returned {done.code}: {done.output}")
        return done

    def write(self, path: str, content: str | bytes, mode: int = 0o644) -> None:
        """Write a file, with the folders above it."""
        pure, data = PurePosixPath(path), content.encode() if isinstance(content, str) else content
        self.exec("mkdir", "-p", str(pure.parent))
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            member = tarfile.TarInfo(pure.name)
            member.size, member.mode = len(data), mode
            tar.addfile(member, io.BytesIO(data))
        self.container.put_archive(str(pure.parent), buffer.getvalue())

    def allow_nesting(self) -> None:
        """Let what runs in it make control groups and set the kernel's settings, as guests and containers need it."""
        places = "/proc/sys /sys/fs/cgroup /sys/fs/cgroup/*/"
        self.exec("sh", "-c", f"for i in {places}; do mountpoint -q $i && mount -o remount,bind,rw $i; done; true")

    def state(self) -> str:
        """What systemd says about the whole system."""
        return self.exec("systemctl", "is-system-running", check=False).output.strip()

    def salt_call(self, function: str, *arguments: str, check: bool = True) -> Any:
        """
        Run an execution function with the container's own Salt, and this extension, and return what it returned.

        :raises RuntimeError: ``check`` is true, and salt-call failed or a state did.
        """
        command = (f"{SALT}/bin/salt-call", "--local", "--out=json", "--log-level=error", "--retcode-passthrough")
        environment = {"PYTHONPATH": EXTENSION, "PYTHONWARNINGS": "ignore"}
        done = self.exec(*command, function, *arguments, check=check, env=environment)
        # Warnings of Python and log lines may stand before the answer, which begins on a line of its own.
        return json.loads(done.output[done.output.index('{\n    "local"') :])["local"]


@contextmanager
def running_container(host: DockerHost, image: str, **options: Any) -> Iterator[SystemdContainer]:
    """
    Start a container, wait until systemd is up, and remove it in the end.

    :param options: more for docker's ``containers.run``; ``volumes`` come on top of the folder of packages,
        ``cap_add`` on top of the capability that systemd needs.
    """
    with downloaded_packages() as archives, ExitStack() as stack:
        volumes = {str(archives): {"bind": ARCHIVES, "mode": "rw"}, **options.pop("volumes", {})}
        container = host.client(timeout=300).containers.run(
            image,
            "/sbin/init",
            detach=True,
            name=f"debian-{secrets.token_hex(4)}",
            cap_add=["SYS_ADMIN", *options.pop("cap_add", ())],
            cgroupns="private",
            tmpfs={"/run": "", "/run/lock": "", "/tmp": "exec"},
            stop_signal="SIGRTMIN+3",
            volumes=volumes,
            **options,
        )
        stack.callback(container.remove, force=True, v=True)
        started = SystemdContainer(container)
        wait_until(lambda: started.state() in UP, 60, f"systemd in {started.name}")
        yield started


@contextmanager
def downloaded_packages() -> Iterator[Path]:
    """
    Give a folder with all packages that containers have downloaded before; keep what is downloaded into it.

    Each container has a folder of its own, of hard links: apt locks it, and one that waits for a lock fails.
    """
    kept = cache_root() / "debs"
    kept.mkdir(exist_ok=True)
    own = Path(tempfile.mkdtemp(prefix="archives-", dir=cache_root()))
    undo_when_abandoned([["rm", "-rf", str(own)]])
    try:
        (own / "partial").mkdir()
        for package in kept.glob("*.deb"):
            (own / package.name).hardlink_to(package)
        yield own
        for package in own.glob("*.deb"):
            with contextlib.suppress(FileExistsError):
                (kept / package.name).hardlink_to(package)
    finally:
        shutil.rmtree(own)


@pytest.fixture(scope="session")
def debian_image(connected_docker_host: DockerHost) -> str:
    """The name of the image of Debian with systemd, imported into the connected Engine."""
    tar = debian_tar()
    tag = tar.stem.rsplit("-", 1)[-1]
    api = connected_docker_host.client(timeout=300).api
    with tar.open("rb") as data:
        answer = api.import_image_from_data(data, repository=REPOSITORY, tag=tag)
    if '"error"' in answer:
        raise RuntimeError(f"import of {tar}: {answer}")
    return f"{REPOSITORY}:{tag}"


@pytest.fixture(scope="session")
def updated_image(connected_docker_host: DockerHost, debian_image: str) -> str:
    """The name of the image of Debian with today's lists of packages, so that tests need no ``apt-get update``."""
    with running_container(connected_docker_host, debian_image) as made:
        made.exec("apt-get", "update")
        made.container.commit(repository=REPOSITORY, tag="updated")
    return f"{REPOSITORY}:updated"


@pytest.fixture
def systemd_container(
    connected_docker_host: DockerHost, debian_image: str
) -> Iterator[Callable[..., SystemdContainer]]:
    """Return a maker of fresh containers: ``systemd_container(volumes={…}, ports={…})``; removed after the test."""
    with ExitStack() as stack:

        def make(image: str = debian_image, **options: Any) -> SystemdContainer:
            return stack.enter_context(running_container(connected_docker_host, image, **options))

        yield make


@pytest.fixture(scope="session")
def salt_tree(connected_docker_host: DockerHost, debian_image: str) -> Path:
    """
    The folder that is a container's ``/opt/salt``: a virtual environment with the Salt version of these tests.

    Built once inside a container, so that it fits Debian's own Python; kept in the cache.
    """
    wanted = f"salt=={version('salt')}"
    key = hashlib.sha256(repr((debian_image, wanted, COMPILER)).encode()).hexdigest()[:16]
    return cached(
        f"{wanted.replace('==', '-')}-{key}",
        lambda target: _install(target, wanted, connected_docker_host, debian_image),
    )


def _install(target: Path, wanted: str, host: DockerHost, image: str) -> None:
    """Make the virtual environment at ``target``."""
    target.mkdir()
    with running_container(host, image, volumes={str(target): {"bind": SALT, "mode": "rw"}}) as made:
        made.exec("apt-get", "update")
        made.exec(
            "apt-get", "install", "-y", "--no-install-recommends", *COMPILER, env={"DEBIAN_FRONTEND": "noninteractive"}
        )
        made.exec("python3", "-m", "venv", SALT)
        made.exec(f"{SALT}/bin/pip", "install", "--no-cache-dir", wanted)


@pytest.fixture
def salt_container(
    systemd_container: Callable[..., SystemdContainer], salt_tree: Path, extension_tree: Path
) -> Callable[..., SystemdContainer]:
    """
    Return a maker of fresh containers with Salt and the extension.

    ``salt_container(config="…").salt_call("test.ping")``.

    ``config`` is more YAML for ``/etc/salt/minion``; the rest as for :func:`systemd_container`.
    """

    def make(config: str = "", **options: Any) -> SystemdContainer:
        volumes = {
            str(salt_tree): {"bind": SALT, "mode": "ro"},
            str(extension_tree): {"bind": EXTENSION, "mode": "ro"},
            **options.pop("volumes", {}),
        }
        made = systemd_container(volumes=volumes, **options)
        made.write("/etc/salt/minion", MINION_CONFIG.format(id=made.name) + config)
        return made

    return make
