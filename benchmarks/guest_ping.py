"""
How soon a hypervisor's minion answers ``test.ping`` while a guest of it moves to another host.

A real master and minion, two private libvirtds, a guest under TCG whose memory goes slowly, so that many pings fall
into one migration. Beside it stands the slowest ping of the same minion at rest, as often.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import libvirt
import salt.client

from saltext_logilab.lab.lab import Lab
from saltext_logilab.lab.plan import Wish
from tests.support.guests import MODULES, cached_guest, wait_for_boot
from tests.support.labs import accept_all, running_lab
from tests.support.libvirt import LibvirtHost
from tests.support.waiting import wait_until

MINION = "kvm1"
BANDWIDTH = 4 * 1024 * 1024
FILL = "mkdir /full; mount -t tmpfs -o size=140m none /full; dd if=/dev/urandom of=/full/x bs=1M count=100 2> /dev/null"
PATIENCE = 180


@dataclass(frozen=True)
class Pings:
    """The slowest answer in seconds, of how many."""

    slowest: float
    number: int


def pings(client: salt.client.LocalClient, going: Callable[[], bool]) -> Pings:
    """Ping as long as it is ``going``; :raises RuntimeError: a ping was not answered, or there was none."""
    took = []
    while going():
        begun = time.monotonic()
        if client.cmd(MINION, "test.ping", timeout=60) != {MINION: True}:
            raise RuntimeError("the minion has not answered a ping")
        took.append(time.monotonic() - begun)
    if not took:
        raise RuntimeError("nothing went on in which to ping")
    return Pings(max(took), len(took))


def measure(folder: Path) -> tuple[Pings, Pings]:
    """Return the pings during a migration, and as many at rest."""
    for name in ("here", "there"):
        (folder / name).mkdir(parents=True)
    hosts = [LibvirtHost(folder / name) for name in ("here", "there")]
    libvirt.registerErrorHandler(lambda *_: None, None)
    own = {"logilab": {"guests": {"uri": hosts[0].uri}}}
    try:
        for host in hosts:
            host.start()
        link = hosts[0].open()
        guest = cached_guest("filled-guest", MODULES, FILL)
        domain = link.createXML(guest.xml("moving", folder / "serial"))
        wait_for_boot(folder / "serial")
        with running_lab(Wish(masters=("paris",), minions=(MINION,), minion_options=own)) as lab:
            accept_all(lab)
            return _of(lab, domain, hosts[1])
    finally:
        for host in hosts:
            host.stop()


def _of(lab: Lab, domain: libvirt.virDomain, other: LibvirtHost) -> tuple[Pings, Pings]:
    def going() -> bool:
        try:
            return bool(domain.jobStats().get("type", 0))
        except libvirt.libvirtError:
            return False  # it has left

    with salt.client.LocalClient(str(lab.folder / "paris" / "etc" / "master")) as client:
        wait_until(lambda: client.cmd(MINION, "test.ping", timeout=60), PATIENCE, "the minion")
        words = ["moving", other.uri, f"unix://{other.root}/migration"]
        named = {"bandwidth": BANDWIDTH, "unsafe": True}
        task = client.cmd(MINION, "libvirt_task.migrate", words, kwarg=named, timeout=60)[MINION]
        wait_until(going, PATIENCE, f"the migration {task}")
        moving = pings(client, going)
        ended = client.cmd(MINION, "libvirt_task.wait", [task, 60], timeout=90)[MINION]
        if ended["state"] != "done":
            raise RuntimeError(f"the migration ended as {ended['state']}: {ended['reason']}")
        left = iter(range(moving.number))
        return moving, pings(client, lambda: next(left, None) is not None)
