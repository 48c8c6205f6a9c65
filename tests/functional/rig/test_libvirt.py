"""Private libvirtds are two hosts, run guests without KVM, and leave nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import libvirt
import pytest

from tests.support.guests import TinyGuest, wait_for_boot
from tests.support.libvirt import LibvirtHost
from tests.support.processes import alive
from tests.support.waiting import wait_until


def test_two_hosts_know_nothing_of_each_other(
    libvirt_host: LibvirtHost, other_libvirt_host: LibvirtHost, tiny_guest: TinyGuest, tmp_path: Path
) -> None:
    """A guest of the same name is defined on both hosts, with a UUID of its own on each."""
    first, second = libvirt_host.open(), other_libvirt_host.open()
    xml = tiny_guest.xml("twin", tmp_path / "serial")
    one, two = first.defineXML(xml), second.defineXML(xml)
    try:
        assert one.UUIDString() != two.UUIDString()
        twins = [domain.UUIDString() for domain in first.listAllDomains() if domain.name() == "twin"]
        assert twins == [one.UUIDString()]
        uuids = [connection.getCapabilities().split("<uuid>")[1][:36] for connection in (first, second)]
        assert uuids[0] != uuids[1]
    finally:
        one.undefine()
        two.undefine()


def test_guest_boots_outlives_libvirtd_and_shuts_down(
    new_libvirt_host: Callable[[], LibvirtHost], tiny_guest: TinyGuest
) -> None:
    """A guest boots to its marker, runs on while libvirtd is killed, is found again, and obeys the power button."""
    host = new_libvirt_host()
    serial = host.root / "serial"
    host.open().defineXML(tiny_guest.xml("tiny", serial)).create()
    wait_for_boot(serial)
    qemu = [process for process in host.members() if process.name().startswith("qemu")]
    host.kill()
    assert len(qemu) == 1
    assert alive(qemu[0])
    with pytest.raises(libvirt.libvirtError):
        host.open()
    host.restart()
    domain = host.open().lookupByName("tiny")
    assert domain.isActive()
    domain.shutdown()
    wait_until(lambda: not domain.isActive(), 60, "shutdown of the guest")
    domain.create()
    host.stop()
    assert not host.members()
    assert not host.root.exists()
