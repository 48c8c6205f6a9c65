"""
Guests with the QEMU guest agent, up in seconds: the tiny guest with Debian's own ``qemu-ga``, and one that lies.

The liar answers on the agent's channel as no agent would: see :data:`LIAR`.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.guests import MODULES, TinyGuest, cached_guest, wait_for_boot
from tests.support.libvirt import LibvirtHost
from tests.support.optional import Optional
from tests.support.processes import program, run
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    import libvirt
    import libvirt_qemu
else:
    libvirt = Optional("libvirt", extra="virt")
    libvirt_qemu = Optional("libvirt_qemu", extra="virt")

PACKAGE = "qemu-guest-agent"
CHANNEL = """
<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
"""
BOOT = """
export PATH=/bin
mkdir -p /tmp /run /root
ln -s /proc/self/fd/0 /dev/stdin
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for word in $(cat /proc/cmdline); do
    case $word in agent=*) agent=${word#agent=};; name=*) hostname ${word#name=};; esac
done
# The kernel makes the port some time after its module is there.
port() { until [ -c /dev/vport0p1 ]; do sleep 0.1; done; }
case $agent in
    real) { port; exec qemu-ga -m virtio-serial -p /dev/vport0p1 -t /run > /run/qemu-ga.log 2>&1; } & ;;
    shy) { port; exec qemu-ga -b guest-exec -m virtio-serial -p /dev/vport0p1 -t /run > /run/qemu-ga.log 2>&1; } & ;;
    liar) { port; exec liar > /dev/null 2>&1; } & ;;
esac
"""
LIAR = r"""#!/bin/sh
# Syncs as an agent has to, and lies about all the rest.
exec 3<> /dev/vport0p1
tell() { printf '%s\n' "$1" >&3; }
much() { head -c "$1" /dev/zero | tr '\0' x; }
answer() {
    case $line in
        *guest-sync*) id=${line##*'"id":'}; tell "{\"return\": ${id%%\}*}}" ;;
        *guest-ping*) tell '{"return": {}}' ;;
        *guest-info*) tell '{"return": {"version": 7, "supported_commands": [{"name": "guest-exec"}, 3, {}]}}' ;;
        *guest-get-osinfo*) printf '{"return": {"id": "' >&3; much 200000 >&3; tell '"}}' ;;
        *guest-get-host-name*) tell '{"return": {"host-name": ["not", "a", "name"]}}' ;;
        *guest-network-get-interfaces*)
            tell '{"return": [1, {"name": {}}, {"name": "eth0", "ip-addresses": "all", "hardware-address": 3}]}' ;;
        *guest-get-timezone*) tell '{"return": {"zone": 7}}' ;;
        *guest-get-fsinfo*) tell '{"return": [{"mountpoint": 1}, []]}' ;;
        *guest-get-time*) tell 'rubbish' ;;
        *guest-get-vcpus*) printf '{"return": "' >&3; much 12000000 >&3; tell '"}' ;;
        *guest-exec-status*) tell '{"return": {"exited": true, "exitcode": 0, "out-data": "%%%"}}' ;;
        *guest-exec*uname*) tell '{"return": {"pid": 7}}' ;;
        *guest-exec*) tell '{"return": {"pid": "seven"}}' ;;
        *guest-file-open*) tell '{"return": 1000}' ;;
        *guest-file-read*) tell '{"return": {"count": 99999999, "buf-b64": "%%%", "eof": false}}' ;;
        *guest-file-write*) tell '{"return": {"count": -5, "eof": false}}' ;;
        *guest-file-close*) tell '{"return": {}}' ;;
        *) ;;  # never answers
    esac
}
while :; do  # the host may not be connected yet, or no more for a while: then there is nothing to read
    while read -r line <&3; do answer; done
    sleep 0.1
done
"""
PASSWD = "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000::/tmp:/bin/sh\n"
GROUP = "root:x:0:\nweb:x:1000:\n"


def _furnish(root: Path) -> None:
    """Put in the agent with its libraries, the liar and two users."""
    (root / "package").mkdir()
    run(program("apt-get", "apt"), "download", PACKAGE, cwd=root / "package", timeout=300)
    run(program("dpkg-deb", "dpkg"), "-x", next((root / "package").glob("*.deb")), root / "package/all")
    agent = root / "package/all/usr/sbin/qemu-ga"
    for library in re.findall(r"(/\S+\.so\S*) \(", run(program("ldd", "libc-bin"), agent)):
        target = root / library.removeprefix("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, target)
    shutil.copy(agent, root / "bin/qemu-ga")
    shutil.rmtree(root / "package")
    (root / "bin/liar").write_text(LIAR)
    (root / "bin/liar").chmod(0o755)
    (root / "etc/passwd").write_text(PASSWD)
    (root / "etc/group").write_text(GROUP)


@dataclass(frozen=True)
class AgentGuest:
    """A running guest of a host."""

    host: LibvirtHost
    name: str
    domain: libvirt.virDomain


def agent_kernel_files() -> TinyGuest:
    """Return what :func:`agent_kernel` gives, outside of a test."""
    modules = (*MODULES, "virtio_console")
    return cached_guest("agent-guest", modules, BOOT, _furnish, (PACKAGE, LIAR, PASSWD, GROUP))


@pytest.fixture(scope="session")
def agent_kernel() -> TinyGuest:
    """Return the kernel and initramfs with the agent; fetched once and kept in the cache."""
    return agent_kernel_files()


@pytest.fixture(scope="module")
def new_agent_guest(
    agent_kernel: TinyGuest, libvirt_host: LibvirtHost, daemon_root: Path
) -> Iterator[Callable[..., AgentGuest]]:
    """
    Return a maker of guests that waits until their agents answer, where they have one.

    ``make(host=…, agent="real", name=…)``: ``agent`` may be ``liar``, ``none``, or ``shy``, which may run no commands;
    without ``channel`` the guest has no way to an agent.
    """
    made: list[libvirt.virDomain] = []

    def make(
        host: LibvirtHost = libvirt_host, *, agent: str = "real", name: str = "", channel: bool = True
    ) -> AgentGuest:
        name = name or f"a{secrets.token_hex(3)}"
        serial = daemon_root / f"{name}.{secrets.token_hex(3)}"
        more = CHANNEL if channel else ""
        xml = agent_kernel.xml(name, serial, devices=more, words=f"agent={agent} name={name}")
        made.append(host.open().createXML(xml))
        if agent != "none" and channel:
            wait_for_boot(serial)
            wait_until(lambda: answers(made[-1]), 60, f"the agent of {name}")
        return AgentGuest(host, name, made[-1])

    yield make
    for domain in made:
        end_guest(domain)


def answers(domain: libvirt.virDomain) -> bool:
    """Whether the guest's agent answers a ping."""
    try:
        libvirt_qemu.qemuAgentCommand(domain, '{"execute": "guest-ping"}', 5, 0)
    except libvirt.libvirtError:
        return False
    return True


def end_guest(domain: libvirt.virDomain) -> None:
    """Destroy the guest where it is still there; a host that has ended has ended its guests."""
    with contextlib.suppress(libvirt.libvirtError):
        domain.destroy()


@pytest.fixture(scope="module")
def agent_guest(new_agent_guest: Callable[..., AgentGuest]) -> AgentGuest:
    """One running guest with an agent for the tests of a file, on the first host; they do not end it."""
    return new_agent_guest()
