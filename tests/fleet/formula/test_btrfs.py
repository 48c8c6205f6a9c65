"""The formula ``btrfs``, applied for real on a file system in a file: snapshots are taken and old ones deleted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.formulas import FormulaHost, example

pytestmark = pytest.mark.soak  # half a minute each, and it changes seldom: `make test` renders it

MAKE = """set -e
apt-get install -y --no-install-recommends btrfs-progs >/dev/null
truncate -s 200M /disk && mkfs.btrfs -q /disk
for number in $(seq 0 31); do [ -e /dev/loop$number ] || mknod /dev/loop$number b 7 $number; done
[ -e /dev/loop-control ] || mknod /dev/loop-control c 10 237
mount -o loop /disk /srv/btrfs
"""


def test_snapshots_have_a_retention(formula_host: Callable[..., FormulaHost]) -> None:
    """Subvolumes exist, timers wait; a schedule keeps its newest snapshots, with their content; a scrub is clean."""
    it = example("btrfs")["filesystems"]["/srv"]
    it["snapshots"]["hourly"]["keep"] = 2
    pillar = {"btrfs": {"filesystems": {"/srv/btrfs": it}}}
    host = formula_host(pillar, device_cgroup_rules=["b 7:* rmw", "c 10:237 rmw"])
    machine = host.machine
    machine.exec("mkdir", "-p", "/srv/btrfs")
    machine.exec("sh", "-c", MAKE)
    try:
        host.apply_twice("btrfs")
        for number in range(4):
            machine.exec("sh", "-c", f"echo {number} > /srv/btrfs/data/file")
            machine.exec("systemctl", "start", "salt-btrfs-snapshot-hourly-srv-btrfs.service")
        machine.exec("systemctl", "start", "salt-btrfs-snapshot-daily-srv-btrfs.service")
        machine.exec("systemctl", "start", "salt-btrfs-scrub-srv-btrfs.service")
        kept = machine.exec("sh", "-c", "cat /srv/btrfs/.snapshots/data@hourly@*/file").output.split()
        assert kept == ["2", "3"]
        assert "data@daily@" in machine.exec("ls", "/srv/btrfs/.snapshots").output
        read_only = machine.exec("sh", "-c", "touch $(ls -d /srv/btrfs/.snapshots/data@daily@*)/new", check=False)
        assert "Read-only" in read_only.output
        timers = machine.exec("systemctl", "list-timers", "--no-legend", "salt-btrfs-*").output
        assert timers.count("salt-btrfs-") >= 3
        assert "no errors found" in machine.exec("btrfs", "scrub", "status", "/srv/btrfs").output
        host.apply_twice("btrfs.clean")
    finally:
        machine.exec("umount", "/srv/btrfs", check=False)
