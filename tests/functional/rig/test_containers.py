"""Containers run systemd, install packages and have Salt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.containers import SystemdContainer, running_container
from tests.support.docker import DockerHost
from tests.support.roots import cache_root

UNIT = """
[Service]
ExecStart=/bin/sleep infinity
PrivateTmp=yes
ProtectSystem=full
NoNewPrivileges=yes
"""
STATE = "/srv/made:\n  file.managed:\n    - contents: by a state\n"


def test_unit_becomes_active(systemd_container: Callable[..., SystemdContainer]) -> None:
    """A sandboxed unit starts, and a failing command is an error with its output."""
    debian = systemd_container()
    debian.write("/etc/systemd/system/rig.service", UNIT)
    debian.exec("systemctl", "start", "rig")
    assert debian.exec("systemctl", "is-active", "rig").output == "active\n"
    with pytest.raises(RuntimeError, match=r"absent\.service could not be found"):
        debian.exec("systemctl", "status", "absent.service")


def test_package_installs(connected_docker_host: DockerHost, debian_image: str) -> None:
    """apt installs a package from where this machine takes its own, and the package is kept for the next container."""
    with running_container(connected_docker_host, debian_image) as debian:
        debian.exec("apt-get", "update")
        debian.exec("apt-get", "install", "-y", "--no-install-recommends", "hello")
        assert "Hello, world!" in debian.exec("hello").output
    assert list((cache_root() / "debs").glob("hello_*.deb"))


def test_extension_is_inside(salt_container: Callable[..., SystemdContainer]) -> None:
    """Salt in the container finds this extension, installed from its wheel, and not the repository."""
    debian = salt_container()
    versions = debian.salt_call("test.versions_information")
    assert versions["Salt Extensions"]["saltext-logilab"]
    assert debian.exec("test", "-e", "/opt/extension/tests", check=False).code == 1


def test_salt_applies_a_state(salt_container: Callable[..., SystemdContainer], tmp_path: Path) -> None:
    """Salt in a fresh container answers and applies a state twice, the second time without changes."""
    (tmp_path / "made.sls").write_text(STATE)
    tmp_path.chmod(0o755)
    debian = salt_container(volumes={str(tmp_path): {"bind": "/srv/salt", "mode": "ro"}})
    assert debian.salt_call("test.ping") is True
    (first,) = debian.salt_call("state.apply", "made").values()
    (second,) = debian.salt_call("state.apply", "made").values()
    assert (first["result"], second["result"]) == (True, True)
    assert first["changes"]
    assert not second["changes"]
