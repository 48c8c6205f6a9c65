"""The README's first command on a Debian that has nothing but git, make and Python."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.containers import SystemdContainer

SOURCES = "/sources"
CHECKOUT = "/root/saltext-logilab"


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_demo_on_a_fresh_debian(systemd_container: Callable[..., SystemdContainer], sources: Path) -> None:
    """``make demo`` says what it installs, installs it, tells its story, and the second time installs nothing."""
    debian = systemd_container(volumes={str(sources): {"bind": SOURCES, "mode": "ro"}})
    debian.exec("apt-get", "update")
    debian.exec("apt-get", "purge", "-y", "python3-venv", "python3-pip-whl", "python3-setuptools-whl")
    debian.exec("apt-get", "autoremove", "-y", "--purge")
    debian.exec("apt-get", "install", "-y", "--no-install-recommends", "git", "make", "python3")
    debian.exec("cp", "-r", SOURCES, CHECKOUT)
    first = debian.exec("make", "-C", CHECKOUT, "demo").output
    told = [first.find(words) for words in ("python3.11-venv", "pip install", "All of this was true")]
    assert told == sorted(told), first
    assert -1 not in told, first
    second = debian.exec("make", "-C", CHECKOUT, "demo").output
    assert "install:" not in second
    assert "All of this was true" in second
