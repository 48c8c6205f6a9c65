"""The Debian guest boots to a running system, and its agent answers through its channel."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.debian_guest import DebianGuest
from tests.support.libvirt import LibvirtHost
from tests.support.processes import run
from tests.support.waiting import wait_until

PATIENCE = 600


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_debian_boots_and_its_agent_answers(
    libvirt_host: LibvirtHost, debian_guest: DebianGuest, daemon_root: Path
) -> None:
    """Its agent says that it is Debian; it is told to shut down, and does."""
    disk = debian_guest.overlay(daemon_root / "debian.qcow2")
    guest = libvirt_host.open().createXML(debian_guest.xml("debian", disk, daemon_root / "debian.serial"))

    def asked(command: str) -> object:
        words = ("virsh", "-c", libvirt_host.uri, "qemu-agent-command", "debian", json.dumps({"execute": command}))
        try:
            return json.loads(run(*words))["return"]
        except RuntimeError:
            return None

    told = wait_until(lambda: asked("guest-get-osinfo"), PATIENCE, "an answer of the agent")
    assert told["id"] == "debian"  # type: ignore[index]
    guest.shutdown()
    virsh = ("virsh", "-c", libvirt_host.uri, "list", "--name")
    wait_until(lambda: "debian" not in run(*virsh).split(), PATIENCE, "end of the guest")
