"""The states on a real libvirtd: what they change, now and for the next start, what they keep, and what they refuse."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from saltfactories.utils.functional import Loaders

from tests.support.guests import TinyGuest, wait_for_boot
from tests.support.libvirt import LibvirtHost
from tests.support.processes import run
from tests.support.rigs import MIB, PATIENCE, SLOW, Rig, end_guest

SIZE = 64 * MIB
NEW = {"memory_mib": 128, "vcpus": 1, "accelerator": "qemu"}
DISK = {"target": "vda", "pool": "states", "size_gib": SIZE / 1024**3}


@pytest.fixture(scope="module")
def pool(libvirt_host: LibvirtHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the pool ``states``."""
    folder = tmp_path_factory.mktemp("states")
    made = libvirt_host.open().storagePoolCreateXML(
        f"<pool type='dir'><name>states</name><target><path>{folder}</path></target></pool>"
    )
    yield folder
    made.destroy()


@pytest.fixture
def states(loaders_of: Callable[..., Loaders], libvirt_host: LibvirtHost, pool: Path) -> Iterator[Any]:
    """The states; the guest ``made`` and its volumes are gone afterwards."""
    yield loaders_of(libvirt_host).states.libvirt_guest
    for guest in libvirt_host.open().listAllDomains():
        if guest.name() == "made":
            if guest.isActive():
                guest.destroy()
            guest.undefine()
    for path in pool.iterdir():
        path.unlink()


@pytest.fixture
def xml(libvirt_host: LibvirtHost, virsh: Callable[..., str]) -> Callable[..., str]:
    """Return what virsh says of a guest: ``xml("made", "--inactive")``."""
    return lambda name, *words: virsh(libvirt_host, "dumpxml", name, *words)


def test_a_new_guest(states: Any, xml: Any, pool: Path) -> None:
    """The trial makes nothing; then the guest is there with its disk; a second run changes nothing."""
    told = {**NEW, "disks": [DISK], "interfaces": [{"user": True}], "autostart": True}
    trial = states.present(name="made", **told, test=True)
    assert trial.result is None
    assert "<memory>131072</memory>" in trial.changes["definition"]["new"]
    assert trial.changes["volume states/made-vda.qcow2"] == {"old": None, "new": SIZE}
    assert list(pool.iterdir()) == []
    done = states.present(name="made", **told)
    assert done.result is True, done.comment
    assert done.changes == trial.changes
    assert f"file='{pool}/made-vda.qcow2'" in xml("made")
    again = states.present(name="made", **told)
    assert (again.result, again.changes) == (True, {}), again.comment


def test_only_what_differs_is_changed(states: Any, xml: Any) -> None:
    """Memory, processors, a card, a title and a piece of XML: the differences by name, the UUID and the rest kept."""
    states.present(name="made", **NEW, disks=[DISK], interfaces=[{"user": True, "mac": "52:54:00:AA:00:01"}])
    uuid = re.findall("<uuid>(.*)</uuid>", xml("made"))
    told = {"memory_mib": 256, "vcpus": 2, "title": "The shop", "xml": "<domain><on_crash>restart</on_crash></domain>"}
    told["interfaces"] = [{"user": True, "mac": "52:54:00:aa:00:01", "model": "e1000"}]
    done = states.present(name="made", **told)
    assert done.result is True, done.comment
    assert done.changes["memory"] == {"old": "131072", "new": "262144"}
    assert set(done.changes) == {
        "memory",
        "currentMemory",
        "vcpu",
        "vcpu@current",
        "title",
        "on_crash",
        "devices/interface[52:54:00:aa:00:01]/model@type",
    }
    assert re.findall("<uuid>(.*)</uuid>", xml("made")) == uuid
    assert "made-vda.qcow2" in xml("made")
    assert states.present(name="made", **told).changes == {}


def test_an_existing_guest_is_adopted_unchanged(rig: Rig) -> None:
    """A guest that others have made: a state that names what it is changes nothing, nor does one that names nothing."""
    states = rig.loaders.states.libvirt_guest
    before = rig.virsh(rig.host, "dumpxml", rig.name)
    for told in ({}, {"memory_mib": 192, "vcpus": 1, "disks": [{"target": "vda", "source": str(rig.disk)}]}):
        done = states.present(name=rig.name, **told)
        assert (done.result, done.changes) == (True, {}), done.comment
    machine = f"<domain><name>{rig.name}</name><os><type machine='pc'>hvm</type></os></domain>"
    assert states.present(name=rig.name, xml=machine).changes == {}
    assert rig.virsh(rig.host, "dumpxml", rig.name) == before


def test_a_started_guest_gets_disks_at_once(rig: Rig, xml: Any) -> None:
    """A disk grows, another and a card are plugged in, now and for the next start; memory waits and is told."""
    states = rig.loaders.states.libvirt_guest
    told: dict[str, Any] = {
        "disks": [
            {"target": "vda", "size_gib": 0.25},
            {"target": "vdb", "pool": rig.name, "format": "raw", "size_gib": 0.0625},
        ],
        "interfaces": [{"user": True}],
        "memory_mib": 256,
    }
    trial = states.present(name=rig.name, **told, test=True)
    done = states.present(name=rig.name, **told)
    assert done.result is True, done.comment
    assert done.changes == trial.changes
    assert done.changes["size of vda"] == {"old": 48 * MIB, "new": 256 * MIB}
    assert "at its next start: " in done.comment
    assert re.search(r"Capacity:\s+268435456", rig.virsh(rig.host, "domblkinfo", rig.name, "vda"))
    for words in ((), ("--inactive",)):
        assert f"{rig.name}-vdb.raw" in xml(rig.name, *words)
        assert "<interface type='user'>" in xml(rig.name, *words)
    assert "262144" in xml(rig.name, "--inactive")
    again = states.present(name=rig.name, **told)
    assert (again.result, again.changes) == (True, {}), again.comment


def test_a_disk_is_removed_by_an_explicit_word(states: Any, xml: Any, pool: Path) -> None:
    """A disk that a state does not name stays; one in remove_disks goes, and its data stay."""
    more = {"target": "vdb", "pool": "states", "size_gib": 0.0625}
    states.present(name="made", **NEW, disks=[DISK, more])
    assert states.present(name="made", disks=[DISK]).changes == {}
    done = states.present(name="made", disks=[DISK], remove_disks=["vdb"])
    assert done.changes["devices/disk[vdb]"]["new"] is None, done
    assert "vdb" not in xml("made")
    assert (pool / "made-vdb.qcow2").exists()
    assert states.present(name="made", remove_disks=["vdb"]).changes == {}


def test_what_would_lose_something_is_refused(states: Any, rig: Rig, xml: Any, pool: Path) -> None:
    """No disk shrinks, changes its data, or is shared by two guests; no guest changes its UUID; nothing is made."""
    states.present(name="made", **NEW, disks=[DISK])
    before = xml("made")
    refused: tuple[tuple[dict[str, Any], str], ...] = (
        ({"disks": [{**DISK, "size_gib": 0.001}]}, "it would lose what lies behind"),
        ({"disks": [{"target": "vda", "source": "/elsewhere"}]}, "name it in remove_disks first"),
        ({"disks": [{"target": "vdb", "source": str(rig.disk)}]}, f"is a disk of the guest '{rig.name}' already"),
        ({"disks": [{"target": "vdb"}]}, "a new one needs a pool or a source"),
        ({"disks": [{"target": "vdb", "pool": "none", "size_gib": 1}]}, "there is no active pool 'none'"),
        ({"disks": [{"target": "vdb", "pool": "states"}]}, "to make it, size_gib is needed"),
        ({"disks": [{"target": "vdb", "pool": "states", "backing": "none"}]}, "has no volume 'none'"),
        ({"disks": [{**DISK, "siez_gib": 1}]}, "siez_gib is not a known setting"),
        ({"xml": "<domain><uuid>00000000-0000-0000-0000-000000000001</uuid></domain>"}, "and keeps it"),
        ({"xml": "<network/>"}, "must be a <domain>"),
        ({"xml": "<domain"}, "is no XML"),
        ({"memory_mib": 0}, "memory_mib must be more than 0"),
        ({"interfaces": [{"network": "a", "bridge": "b"}]}, "must have one of network, bridge and user"),
        ({"remove_disks": ["vda"], "disks": [DISK]}, "vda stands twice"),
        ({"disks": [{"target": "vdb", "pool": "states", "size_gib": 1, "bus": "pigeon"}]}, "libvirt at"),
    )
    for told, sentence in refused:
        done = states.present(name="made", **told)
        assert (done.result, done.changes) == (False, {}), told
        assert sentence in done.comment, told
    assert xml("made") == before
    assert [path.name for path in pool.iterdir()] == ["made-vda.qcow2"]


def test_a_new_guest_needs_memory(states: Any) -> None:
    """A guest that is not there cannot be made of nothing, nor by a virtualization that the host has not."""
    assert "memory_mib is missing" in states.present(name="made").comment
    assert "cannot run" in states.present(name="made", **{**NEW, "accelerator": "steam"}).comment
    assert "letters, digits" in states.present(name="../made", **NEW).comment


def test_a_guest_with_a_task_is_left_alone(rig: Rig) -> None:
    """While a task goes on, each state that would change the guest refuses, and names the task."""
    task, states = rig.start("copy_disk", "vda", rig.name, bandwidth=SLOW // 8), rig.loaders.states.libvirt_guest
    rig.working(task)
    calls: tuple[Callable[[], Any], ...] = (
        lambda: states.present(name=rig.name, title="new"),
        lambda: states.absent(name=rig.name, force=True),
        lambda: states.stopped(name=rig.name, force=True, timeout=0),
        lambda: states.running(name=rig.name),
    )
    for call in calls:
        told = call()
        assert told.result is False
        assert f"has a task that has not ended: copy_disk {task}" in told.comment
    rig.call("cancel", task)
    rig.ended(task)


def test_absent_keeps_disks(states: Any, pool: Path, virsh: Any, libvirt_host: LibvirtHost) -> None:
    """The guest goes, its disk stays; with delete_disks it goes too, but never one that others stand on."""
    told = {**NEW, "disks": [DISK]}
    states.present(name="made", **told)
    assert states.absent(name="made", test=True).result is None
    done = states.absent(name="made")
    assert (done.result, done.changes) == (True, {"made": {"old": "shut off", "new": None}}), done.comment
    assert "made" not in virsh(libvirt_host, "list", "--all", "--name").split()
    assert (pool / "made-vda.qcow2").exists()
    assert states.absent(name="made").changes == {}
    states.present(name="made", **told)
    overlay = {"target": "vda", "pool": "states", "backing": "made-vda.qcow2"}
    assert states.present(name="other", **NEW, disks=[overlay]).result is True
    assert "states/other-vda.qcow2" in states.absent(name="made", delete_disks=True).comment
    assert states.absent(name="other", delete_disks=True).result is True
    assert states.absent(name="made", delete_disks=True).result is True
    assert list(pool.iterdir()) == []


def test_a_guest_runs_and_stops(
    states: Any,
    libvirt_host: LibvirtHost,
    virsh: Any,
    tiny_guest: TinyGuest,
    tmp_path: Path,
) -> None:
    """It starts once, a card is unplugged while it runs, it shuts itself down once; a paused one is resumed."""
    serial, card = tmp_path / "serial", "<interface type='user'><mac address='52:54:00:aa:00:02'/></interface>"
    libvirt_host.open().defineXML(tiny_guest.xml("made", serial, devices=card))
    assert states.running(name="made", test=True).result is None
    done = states.running(name="made")
    assert (done.result, done.changes) == (True, {"made": {"old": "shut off", "new": "running"}}), done.comment
    assert states.running(name="made").changes == {}
    wait_for_boot(serial)
    unplugged = states.present(name="made", remove_interfaces=["52:54:00:AA:00:02"])
    assert unplugged.result is True, unplugged.comment
    assert "interface" not in virsh(libvirt_host, "dumpxml", "made")
    virsh(libvirt_host, "suspend", "made")
    assert "is paused" in states.stopped(name="made").comment
    assert states.running(name="made").changes == {"made": {"old": "paused", "new": "running"}}
    stopped = states.stopped(name="made", timeout=PATIENCE)
    assert (stopped.result, stopped.changes) == (True, {"made": {"old": "running", "new": "shut off"}}), stopped.comment
    assert states.stopped(name="made").changes == {}


def test_force_cuts_the_power(rig: Rig) -> None:
    """A guest that cannot shut down is told of; with force it is off, and can be forgotten without its disk."""
    states = rig.loaders.states.libvirt_guest
    assert states.stopped(name=rig.name, timeout=0).result is False
    assert states.stopped(name=rig.name, timeout=0, force=True).result is True
    assert rig.virsh(rig.host, "domstate", rig.name) == "shut off"
    assert "there is no guest 'nobody'" in states.running(name="nobody").comment
    assert "timeout must be a number" in states.stopped(name=rig.name, timeout="long").comment
    end_guest(rig.host, rig)
    assert rig.disk.exists()


def test_a_snapshot_is_taken_once(rig: Rig) -> None:
    """The trial takes none; then virsh sees it, with the memory of a started guest; a second run changes nothing."""
    snapshotted = rig.loaders.states.libvirt_guest.snapshotted
    assert snapshotted(name=rig.name, snapshot="before", test=True).result is None
    done = snapshotted(name=rig.name, snapshot="before", description="the upgrade")
    assert done.result is True, done.comment
    assert done.changes == {"snapshot before": {"old": None, "new": "taken"}}
    assert "paused" in rig.virsh(rig.host, "snapshot-list", rig.name)
    assert "the upgrade" in rig.virsh(rig.host, "snapshot-dumpxml", rig.name, "before")
    assert "before" in run("qemu-img", "snapshot", "-U", "-l", rig.disk)
    again = snapshotted(name=rig.name, snapshot="before")
    assert (again.result, again.changes) == (True, {}), again.comment
    assert rig.loaders.modules.libvirt_guest.traits()[rig.name]["snapshots"] == 1
    rig.virsh(rig.host, "snapshot-delete", rig.name, "before")
    assert rig.ended(rig.start("backup", rig.name, checkpoint="point"))["state"] == "done"
    for told, sentence in (
        ({"name": rig.name, "snapshot": "more"}, "has checkpoints of backups"),
        ({"name": rig.name, "snapshot": "a/b"}, "letters, digits"),
        ({"name": "nobody", "snapshot": "x"}, "there is no guest 'nobody'"),
    ):
        refused = snapshotted(**told)
        assert refused.result is False
        assert sentence in refused.comment
