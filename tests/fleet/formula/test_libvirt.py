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
    machine.allow_nesting()  # libvirt sets up the bridge in /proc/sys
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


GUEST = """<domain type='qemu'>
  <name>tiny</name>
  <memory unit='MiB'>32</memory>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <cpu mode='custom' match='exact' check='none'><model>qemu64</model></cpu>
  <devices><emulator>/usr/bin/qemu-system-x86_64</emulator></devices>
</domain>
"""


def test_a_guest_migrates_over_tls(formula_host: Callable[..., FormulaHost]) -> None:
    """A guest that runs moves to the other host over TLS, and back; a host of another authority gets none."""
    authority = Authority()
    options = {"cap_add": ["NET_ADMIN", "SYS_NICE"], "security_opt": ["seccomp=unconfined", "apparmor=unconfined"]}
    names = ("one.test", "two.test")
    hosts = {name: formula_host({}, **options) for name in names}
    known = "".join(f"{host.machine.address} {name}\n" for name, host in hosts.items())

    def give(name: str, signed_by: Authority) -> None:
        pair = signed_by.pair(name)
        tls = {"ca": signed_by.certificate, "certificate": pair.certificate, "key": pair.key}
        packages = [*PACKAGES, "qemu-system-x86"]
        qemu = {"migration_host": name, "namespaces": []}  # a container may not make mount namespaces
        hosts[name].give({"libvirt": {"packages": packages, "tls": tls, "qemu": qemu}})

    for name, host in hosts.items():
        give(name, authority)
        host.machine.allow_nesting()
        host.machine.write("/etc/apt/apt.conf.d/99-less", 'APT::Install-Recommends "false";\n')
        host.machine.exec("sh", "-c", f"printf '{known}' >> /etc/hosts")
        host.apply_twice("libvirt")
    one, two = (hosts[name].machine for name in names)
    one.write("/root/guest.xml", GUEST)
    one.exec("virsh", "create", "/root/guest.xml")
    move = ("virsh", "migrate", "--live", "--p2p", "--tls", "tiny")
    one.exec(*move, "qemu+tls://two.test/system")
    assert [machine.exec("virsh", "list", "--name").output.split() for machine in (one, two)] == [[], ["tiny"]]
    assert "guests run on this host" in "".join(hosts["two.test"].apply("libvirt.clean").failed)
    two.exec(*move, "qemu+tls://one.test/system")
    assert one.exec("virsh", "list", "--name").output.split() == ["tiny"]

    give("two.test", Authority())
    assert hosts["two.test"].apply("libvirt").failed == []
    assert one.exec(*move, "qemu+tls://two.test/system", check=False).code != 0
    assert one.exec("virsh", "list", "--name").output.split() == ["tiny"]
