"""Files in real containers, by the Engine's archive calls: what is written, what is refused, however hostile."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from saltext_logilab.containers.client import Client
from saltext_logilab.containers.interior import Interior
from saltext_logilab.errors import ConfigurationError, UnavailableError
from saltext_logilab.within import files, transport
from saltext_logilab.within.transport import Command, NoSuchFileError, NotRunningError
from tests.support.docker import DockerHost
from tests.support.podman import PodmanHost
from tests.support.processes import program
from tests.support.relays import Relay

SHELLESS = "logilab/shell-less"


@pytest.fixture
def web(run_container: Callable[..., Any], docker_host: DockerHost) -> Iterator[Interior]:
    """The inside of a container with a tmpfs."""
    run_container("web", tmpfs={"/run": ""})
    return Interior(Client(docker_host.url, keep=True), "web")


@pytest.fixture
def pod(podman_host: PodmanHost) -> Iterator[Interior]:
    """The inside of a container of Podman."""
    made = podman_host.client.containers.run(podman_host.busybox, ["sleep", "1000"], name="pod", detach=True)
    yield Interior(Client(podman_host.url, keep=True), "pod")
    made.remove(force=True)


@pytest.fixture
def bare(docker_host: DockerHost) -> Iterator[Interior]:
    """The inside of a container of an image that holds one program and nothing else: no shell, no stat, no mv."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(program("busybox", "busybox-static"), "busybox")
    client = docker_host.client()
    client.api.import_image_from_data(buffer.getvalue(), repository=SHELLESS)
    made = client.containers.run(SHELLESS, ["/busybox", "sleep", "1000"], name="bare", detach=True, stop_signal="KILL")
    yield Interior(Client(docker_host.url, keep=True), "bare")
    made.remove(force=True)


@pytest.mark.parametrize("kind", ["web", "pod", "bare"])
def test_written_and_read(kind: str, request: pytest.FixtureRequest) -> None:
    """In Docker, in Podman, and where nothing but the Engine could do it: contents, owner, mode, hash."""
    inside: Interior = request.getfixturevalue(kind)
    data = bytes(range(256)) * 4096
    inside.write("/file", data, 0o640, (12, 34))
    found = inside.stat("/file")
    assert found
    assert (found.kind, found.size, found.mode, found.uid, found.gid) == ("file", len(data), 0o640, 12, 34)
    assert transport.read(inside, "/file", len(data)) == data
    assert files.digest(inside, "/file") == hashlib.sha256(data).hexdigest()
    files.write(inside, "/file", b"new")
    assert transport.read(inside, "/file") == b"new"
    kept = inside.stat("/file")
    assert kept
    assert (kept.mode, kept.uid) == (0o640, 12), "the owner and the mode stay"
    assert inside.stat("/nothing") is None
    with pytest.raises(NoSuchFileError, match="no folder /no/where in the container"):
        inside.write("/no/where/file", b"x")
    with pytest.raises(NoSuchFileError, match="no /nothing in the container"):
        transport.read(inside, "/nothing")


def test_what_the_archive_calls_do_not_see(web: Interior) -> None:
    """Files in a tmpfs and of the kernel are read and written by programs inside; mounted files are written over."""
    web.write("/run/pid", b"7\n", 0o600, (1, 2))
    assert web.run(Command(("busybox", "stat", "-c", "%a %u %g", "/run/pid"))).stdout == b"600 1 2\n"
    assert transport.read(web, "/run/pid") == b"7\n"
    assert transport.read(web, "/proc/1/comm") == b"sleep\n"
    found = web.stat("/run/pid")
    assert found
    assert (found.mode, found.uid) == (0o600, 1)
    assert web.stat("/run/nothing") is None
    hosts = transport.read(web, "/etc/hosts")
    files.write(web, "/etc/hosts", hosts + b"10.0.0.1 other\n")
    assert web.run(Command(("cat", "/etc/hosts"))).stdout.endswith(b"10.0.0.1 other\n")


def test_links_stay_inside(web: Interior, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A link to the outside, up and round leads inside or nowhere; a write follows it inside."""
    outside = tmp_path_factory.mktemp("outside") / "secret"
    outside.write_text("of the host")
    told = f"ln -s {outside} /link; ln -s ../../../../etc/real /etc/up; ln -s /etc/a /etc/b; ln -s /etc/b /etc/a"
    assert web.run(Command(("/bin/sh", "-c", f"busybox {told.replace('; ', '; busybox ')}"))).code == 0
    with pytest.raises(NoSuchFileError):
        transport.read(web, "/link")
    files.write(web, "/etc/up", b"here")
    assert web.run(Command(("cat", "/etc/real"))).stdout == b"here"
    with pytest.raises(UnavailableError, match="too many"):
        files.stat(web, "/etc/a")
    with pytest.raises(UnavailableError, match="too many"):
        transport.read(web, "/etc/b")
    assert outside.read_text() == "of the host"


@pytest.mark.parametrize("kind", ["busybox mkfifo", "busybox mkdir", "busybox mknod -m 600"])
def test_only_regular_files(web: Interior, kind: str) -> None:
    """A pipe, a folder, a device: neither read nor written, and nobody waits for them."""
    more = " c 1 5" if "mknod" in kind else ""
    assert web.run(Command(("/bin/sh", "-c", f"{kind} /thing{more}"))).code == 0
    with pytest.raises(NoSuchFileError, match="is no regular file"):
        transport.read(web, "/thing")
    with pytest.raises(ConfigurationError, match="is no regular file"):
        files.write(web, "/thing", b"x")


def test_a_file_that_is_larger_than_is_taken(web: Interior) -> None:
    """It is read no further than to the bound."""
    assert web.run(Command(("/bin/sh", "-c", "busybox truncate -s 3G /sparse"))).code == 0
    with pytest.raises(UnavailableError, match="holds more than 1048576 bytes"):
        transport.read(web, "/sparse")


@pytest.mark.parametrize("path", ["", "etc/passwd", "../x", "/a\0b", "/a\nb", None, 7])
def test_what_is_no_path(web: Interior, path: Any) -> None:
    """Only absolute paths of one line."""
    with pytest.raises(ConfigurationError, match="is no absolute path"):
        files.stat(web, path)


@pytest.mark.parametrize("path", ["/", "/etc", "/usr/", "/etc/../usr", "//var"])
def test_what_is_never_removed(web: Interior, path: str) -> None:
    """The root and the folders without which there is no system, however they are written."""
    with pytest.raises(ConfigurationError, match="is not removed"):
        files.remove(web, path)


def test_input_of_a_command(web: Interior) -> None:
    """Much of it, none of it, and input that nobody reads."""
    data = b"x" * 5_000_000
    assert web.run(Command(("busybox", "wc", "-c"), stdin=data)).stdout.strip() == b"5000000"
    assert web.run(Command(("true",), stdin=data)).code == 0
    assert web.run(Command(("sleep", "100"), stdin=data, timeout=0.5)).code is None
    assert Interior(Client(web._client.url), "web", 0.5).run(Command(("sleep", "100"), timeout=50)).code is None


@pytest.mark.usefixtures("web")
def test_what_is_asked_goes_over_one_connection(docker_host: DockerHost, tcp_relay: Callable[..., Relay]) -> None:
    """Once it stands no other one is needed, but for streams: what a program says needs its own."""
    relay = tcp_relay(Path(docker_host.url.removeprefix("unix://")))
    inside = Interior(Client(f"tcp://127.0.0.1:{relay.port}", keep=True), "web")
    assert inside.has("/bin")
    relay.drop_new()
    assert inside.has("/bin")
    assert not inside.has("/nothing")
    assert inside._state["Running"]
    assert not inside._is_podman
    assert relay.connections == 1
    with pytest.raises(UnavailableError):
        inside.run(Command(("true",)))


def test_a_stopped_container(docker_host: DockerHost, web: Interior) -> None:
    """Its files can be read, nothing is written and nothing runs."""
    web.write("/file", b"here")
    docker_host.client().containers.get("web").kill()
    stopped = Interior(Client(docker_host.url), "web")
    assert transport.read(stopped, "/file") == b"here"
    with pytest.raises(NotRunningError, match="the container 'web' is not running"):
        stopped.write("/file", b"no")
    with pytest.raises(NotRunningError, match="not running"):
        stopped.run(Command(("true",)))
