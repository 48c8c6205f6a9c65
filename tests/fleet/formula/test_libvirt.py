"""The formula ``libvirt``, applied for real: a pool takes a volume, a network runs, another host's way in is TLS."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.certificates import Authority
from tests.support.formulas import FormulaHost, example

pytestmark = pytest.mark.soak  # half a minute each, and it changes seldom: `make test` renders it

# Without an emulator, which takes a minute to install and which pools, networks and connections do not need.
PACKAGES = ["libvirt-daemon-system", "libvirt-clients", "dnsmasq-base", "libvirt-daemon-driver-qemu"]


def test_it_serves(formula_host: Callable[..., FormulaHost]) -> None:
    """Pool and network are active and start with the host; TLS lets in a certificate of the authority, and no other."""
    authority = Authority()
    pair, stranger = authority.pair("hypervisor.test"), Authority().pair("hypervisor.test")
    tls = {"ca": authority.certificate, "certificate": pair.certificate, "key": pair.key}
    pillar = {**example("libvirt"), "packages": PACKAGES, "tls": tls, "users": ["games"]}
    pillar["networks"]["lab"]["mode"] = "isolated"
    host = formula_host({"libvirt": pillar}, cap_add=["NET_ADMIN", "SYS_NICE"])
    machine = host.machine
    machine.exec("mount", "-o", "remount,rw", "/proc/sys")  # libvirt sets up the bridge there
    host.apply_twice("libvirt")
    machine.exec("sh", "-c", "echo 127.0.0.1 hypervisor.test >> /etc/hosts")
    machine.exec("virsh", "-c", "qemu:///system", "vol-create-as", "guests", "disk", "1M")
    assert machine.exec("stat", "-c", "%s", "/srv/guests/disk").output == "1048576\n"
    assert "10.20.0.1" in machine.exec("ip", "-4", "addr").output
    over_tls = ("virsh", "-c", "qemu+tls://hypervisor.test/system", "net-list", "--name")
    assert "lab" in machine.exec(*over_tls).output.split()
    machine.write("/etc/pki/libvirt/clientcert.pem", stranger.certificate)
    machine.write("/etc/pki/libvirt/private/clientkey.pem", stranger.key)
    assert machine.exec(*over_tls, check=False).code == 1

    pillar["networks"]["lab"]["domain"] = "other.example.org"
    host.give({"libvirt": pillar})
    host.apply_twice("libvirt")
    assert (
        "other.example.org" in machine.exec("virsh", "-c", "qemu:///system", "net-dumpxml", "--inactive", "lab").output
    )
    host.apply_twice("libvirt.clean")
    assert "10.20.0.1" not in machine.exec("ip", "-4", "addr").output
    assert machine.exec("ls", "/srv/guests").output == "disk\n"
