"""Packages, services and grains of systems that are no Debian with systemd: real OpenRC, real dnf, Alpine's layout."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from saltext_logilab.containers.client import Client
from saltext_logilab.containers.interior import Interior
from saltext_logilab.errors import UnavailableError
from saltext_logilab.within import facts, packages, services, thin, transport
from saltext_logilab.within.transport import Command, NoProgramError
from tests.support.docker import DockerHost, busybox_tree

ALPINE = {
    "etc/os-release": 'NAME="Alpine Linux"\nID=alpine\nVERSION_ID=3.20.1\nPRETTY_NAME="Alpine Linux v3.20"\n',
    "etc/alpine-release": "3.20.1\n",
    "lib/apk/db/installed": (
        "C:Q1cd8TtoZN3T6zPa9Qw4Jz3YZ7fJ4=\nP:musl\nV:1.2.5-r0\nA:x86_64\nF:lib\nR:ld-musl-x86_64.so.1\n\n"
        "C:Q1zzzzzzzzzzzzzzzzzzzzzzzzzzg=\nP:busybox\nV:1.36.1-r29\nA:x86_64\n\n"
    ),
    "sbin/apk": "",  # the program itself is in none of Debian's packages
}
SCRIPT = """#!/sbin/openrc-run
command=/bin/sleep
command_args=1000
command_background=yes
pidfile=/run/napper.pid
"""
SPEC = """Name: greeting
Version: {version}
Release: 1
Summary: A greeting
License: MIT
BuildArch: noarch
%description
A greeting.
%install
mkdir -p %{{buildroot}}/srv
echo hello {version} > %{{buildroot}}/srv/greeting
%files
/srv/greeting
"""


@pytest.fixture
def alpine(docker_host: DockerHost) -> Iterator[Interior]:
    """The inside of a container that is laid out as Alpine's: busybox, apk's data base, no Python, no init."""
    buffer = io.BytesIO(busybox_tree())
    with tarfile.open(fileobj=buffer, mode="a") as tar:
        for path, text in ALPINE.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(text), 0o755 if path.startswith("sbin") else 0o644
            tar.addfile(member, io.BytesIO(text.encode()))
    client = docker_host.client()
    client.api.import_image_from_data(buffer.getvalue(), repository="logilab/alpine-like")
    made = client.containers.run(
        "logilab/alpine-like", ["sleep", "1000"], name="alpine", detach=True, stop_signal="KILL"
    )
    yield Interior(Client(docker_host.url, keep=True), "alpine")
    made.remove(force=True)


def test_the_layout_of_an_alpine(alpine: Interior) -> None:
    """What it is, and what is installed, is read of its files; what it lacks is said."""
    grains = facts.system(alpine)
    assert (grains["os"], grains["os_family"], grains["osmajorrelease"]) == ("Alpine", "Alpine", 3)
    assert packages.manager(alpine).name == "apk"
    assert packages.installed(alpine) == {"musl": "1.2.5-r0", "busybox": "1.36.1-r29"}
    with pytest.raises(UnavailableError, match="'apk add htop' in the container 'alpine' failed"):
        packages.change(alpine, "install", ["htop"])
    with pytest.raises(NoProgramError, match="has no init"):
        services.names(alpine)
    assert thin.python(alpine) == ""


@contextmanager
def running(host: DockerHost, image: str, command: str) -> Iterator[Interior]:
    """Give the inside of a container that runs a text by its shell."""
    options: dict[str, Any] = {"detach": True, "stop_signal": "KILL"}
    made = host.client(600).containers.run(image, ["sh", "-c", command], name="system", **options)
    try:
        yield Interior(Client(host.url, 600, keep=True), "system")
    finally:
        made.remove(force=True)


def prepare(inside: Interior, *lines: str) -> None:
    """Run lines by the shell inside."""
    for line in lines:
        transport.checked(inside, Command(("sh", "-ec", line), env=packages._ENVIRONMENT, timeout=600))


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_services_of_openrc(connected_docker_host: DockerHost, updated_image: str) -> None:
    """Found, started, stopped, enabled and disabled."""
    with running(connected_docker_host, updated_image, "sleep 1000") as inside:
        prepare(inside, "apt-get install -y --no-install-recommends openrc")
        inside.write("/etc/init.d/napper", SCRIPT.encode(), 0o755)
        prepare(inside, "mkdir -p /run/openrc; touch /run/openrc/softlevel")
        assert services.init(inside).name == "openrc"
        assert "napper" in services.names(inside)
        assert [services.is_there(inside, one) for one in ("napper", "nobody")] == [True, False]
        assert [services.is_active(inside, "napper"), services.is_enabled(inside, "napper")] == [False, False]
        for work, active, enabled in (
            ("start", True, False),
            ("enable", True, True),
            ("restart", True, True),
            ("disable", True, False),
            ("stop", False, False),
        ):
            services.act(inside, work, "napper")
            assert [services.is_active(inside, "napper"), services.is_enabled(inside, "napper")] == [active, enabled]
        with pytest.raises(UnavailableError, match="start of nobody in the container 'system' failed"):
            services.act(inside, "start", "nobody")


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_packages_by_dnf(connected_docker_host: DockerHost, updated_image: str) -> None:
    """Installed, upgraded, a version that is named, and removed, out of a repository."""
    with running(connected_docker_host, updated_image, "sleep 1000") as inside:
        prepare(inside, "apt-get install -y --no-install-recommends dnf rpm createrepo-c")
        repository = "[local]\nname=local\nbaseurl=file:///srv/repo\ngpgcheck=0\n"
        prepare(inside, "mkdir -p /srv/repo /etc/yum.repos.d", "rm /usr/bin/apt-get")
        inside.write("/etc/yum.repos.d/local.repo", repository.encode())
        offer(inside, "1")
        assert packages.manager(inside).name == "dnf"
        assert packages.change(inside, "install", ["greeting"]) == {"greeting": {"old": "", "new": "1-1"}}
        assert packages.change(inside, "install", ["greeting"]) == {}
        offer(inside, "2")
        packages.refresh(inside)
        assert packages.change(inside, "upgrade") == {"greeting": {"old": "1-1", "new": "2-1"}}
        assert packages.installed(inside) == {"greeting": "2-1"}
        assert packages.change(inside, "remove", ["greeting"]) == {"greeting": {"old": "2-1", "new": ""}}
        wanted = {"greeting": "1-1"}
        assert packages.change(inside, "install", [wanted]) == {"greeting": {"old": "", "new": "1-1"}}
        with pytest.raises(UnavailableError, match="failed"):
            packages.change(inside, "install", ["no-such-package"])


def offer(inside: Interior, version: str) -> None:
    """Build a package and put it into the repository."""
    inside.write("/tmp/greeting.spec", SPEC.format(version=version).encode())
    prepare(inside, "rpmbuild -bb --define '_rpmdir /srv/repo' /tmp/greeting.spec", "createrepo_c -q /srv/repo")
