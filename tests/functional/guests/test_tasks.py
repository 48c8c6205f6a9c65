"""Tasks on guests of two real libvirtds: done, refused, called off, and killed at any moment."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError, SaltInvocationError

from saltext_logilab.guests.tasks import launch
from saltext_logilab.guests.tasks.snapshot import Snapshot
from tests.support.libvirt import LibvirtHost
from tests.support.processes import run
from tests.support.rigs import MIB, NO_JOB, PATIENCE, SIZE, SLOW, Rig, has_memory, options, places, worker
from tests.support.waiting import wait_until
from tests.unit.guests.test_records import TASK


def test_a_copy_is_the_disk(rig: Rig) -> None:
    """A copied disk is like the guest's own, the guest stays on its own, and the record says done."""
    task = rig.start("copy_disk", "vda", rig.name)
    told = rig.ended(task)
    assert (told["state"], told["reason"], told["percent"]) == ("done", None, 100), rig.call("log", task)
    (copy,) = rig.made
    assert "identical" in run("qemu-img", "compare", "-U", rig.disk, rig.pool / copy)
    assert rig.untouched == ("paused", str(rig.disk), NO_JOB, [copy], "")
    assert [told["task"] for told in rig.tasks] == [task]
    assert [line.split(" ", 1)[1] for line in rig.call("log", task)] == [f"copy_disk of {rig.name} begins", "done"]


def test_a_pivot_moves_the_guest_to_the_copy(rig: Rig) -> None:
    """With pivot the guest, now and after its next start, uses the copy."""
    told = rig.ended(rig.start("copy_disk", "vda", rig.name, pivot=True))
    assert told["state"] == "done"
    (copy,) = rig.made
    assert rig.source == str(rig.pool / copy)
    assert copy in rig.virsh(rig.host, "dumpxml", "--inactive", rig.name)


def test_a_backup_and_what_changed_since(rig: Rig) -> None:
    """A full backup with a checkpoint is the disk; the next one since it holds nothing, for nothing was written."""
    full = rig.ended(rig.start("backup", rig.name, checkpoint="monday"))
    assert full["state"] == "done", full
    (volume,) = rig.made
    assert "identical" in run("qemu-img", "compare", "-U", rig.disk, rig.pool / volume)
    more = rig.ended(rig.start("backup", rig.name, checkpoint="tuesday", since="monday"))
    assert (more["state"], len(rig.made)) == ("done", 2), more
    assert (rig.pool / more["spec"]["volumes"]["vda"]).stat().st_size < MIB
    assert rig.virsh(rig.host, "checkpoint-list", rig.name, "--name").split() == ["monday", "tuesday"]


def test_a_second_task_is_refused_and_a_first_can_be_called_off(rig: Rig) -> None:
    """The refusal names the first; calling it off leaves the guest as it was, and no volume."""
    task = rig.start("copy_disk", "vda", rig.name, bandwidth=SLOW)
    with pytest.raises(CommandExecutionError, match=f"has a task already: copy_disk {task}"):
        rig.start("backup", rig.name)
    told = rig.working(task)
    assert (told["state"], told["worker"], told["total"]) == ("running", "process", SIZE), told
    assert 0 < told["percent"] < 100
    rig.call("cancel", task)
    assert (rig.ended(task)["state"], rig.ended(task)["reason"]) == ("cancelled", "by request")
    assert rig.untouched == ("paused", str(rig.disk), NO_JOB, [], "")
    with pytest.raises(CommandExecutionError, match="has ended already: cancelled"):
        rig.call("cancel", task)
    assert task in rig.call("prune", days=0)
    assert rig.tasks == []


def test_a_task_survives_its_worker(rig: Rig) -> None:
    """The worker is killed: the copy goes on, the next question sends another worker, and the record says done."""
    task = rig.start("copy_disk", "vda", rig.name, bandwidth=SLOW)
    rig.working(task)
    first = rig.worker(task)
    first.kill()
    wait_until(lambda: worker(task) is None, PATIENCE, "end of the worker")
    assert rig.virsh(rig.host, "blockjob", rig.name, "vda") != NO_JOB
    told = rig.call("status", task)
    assert told["state"] == "running"
    assert rig.worker(task).pid != first.pid
    rig.hurry()
    assert rig.ended(task)["state"] == "done"
    (copy,) = rig.made
    assert "identical" in run("qemu-img", "compare", "-U", rig.disk, rig.pool / copy)


@pytest.mark.parametrize(
    ("limit", "reason"),
    [({"stall": 2}, "no progress for 2 s"), ({"seconds_per_gib": 2}, "longer than 2 s per GiB")],
)
def test_a_limit_ends_a_task(rig: Rig, limit: dict[str, int], reason: str) -> None:
    """A copy without progress, or one that takes too long for its size, is ended and says so; nothing of it is left."""
    task = rig.start("copy_disk", "vda", rig.name, bandwidth=1, **limit)
    told = rig.ended(task)
    assert (told["state"], told["reason"]) == ("failed", reason), rig.call("log", task)
    assert rig.untouched == ("paused", str(rig.disk), NO_JOB, [], "")


def test_a_pool_that_is_taken_away_meanwhile(rig: Rig) -> None:
    """The task ends, and says what it could not remove; the guest is free for the next one."""
    task = rig.start("copy_disk", "vda", rig.name, bandwidth=SLOW)
    rig.working(task)
    text = rig.virsh(rig.host, "pool-dumpxml", rig.name)
    rig.virsh(rig.host, "pool-destroy", rig.name)
    rig.call("cancel", task)
    told = rig.ended(task)
    assert (told["state"], "could not be removed" in told["reason"]) == ("cancelled", True), told["reason"]
    rig.host.open().storagePoolCreateXML(text)
    assert rig.ended(rig.start("copy_disk", "vda", rig.name))["state"] == "done"


def test_half_a_snapshot(rig: Rig) -> None:
    """One that is in the images, and that libvirtd was killed before noting, is told of, and can be removed."""

    def inside() -> bool:
        return "half" in run("qemu-img", "snapshot", "-U", "-l", rig.disk)

    rig.virsh(rig.host, "qemu-monitor-command", "--hmp", rig.name, "savevm half")
    assert inside()
    with pytest.raises(CommandExecutionError, match="holds a snapshot 'half' that libvirt does not know"):
        rig.start("snapshot", "half")
    link = rig.host.open()
    spec = {"uuid": link.lookupByName(rig.name).UUIDString(), "snapshot": "half"}
    for state in ("paused", "shut off"):
        if state == "shut off":
            rig.virsh(rig.host, "destroy", rig.name)
            run("qemu-img", "snapshot", "-c", "half", rig.disk)
        Snapshot(lambda **_: None).clean(link, dataclasses.replace(TASK, guest=rig.name, spec=spec))
        assert (rig.virsh(rig.host, "domstate", rig.name), inside()) == (state, False)
        assert rig.virsh(rig.host, "snapshot-list", rig.name, "--name") == ""


def test_a_guest_that_is_shut_off_meanwhile(rig: Rig) -> None:
    """The record says so, and no volume is left."""
    task = rig.start("copy_disk", "vda", rig.name, bandwidth=SLOW)
    rig.working(task)
    rig.virsh(rig.host, "destroy", rig.name)
    told = rig.ended(task)
    assert (told["state"], told["reason"]) == ("failed", "the guest was shut off meanwhile")
    assert rig.made == []
    with pytest.raises(CommandExecutionError, match="does not run"):
        rig.start("copy_disk", "vda", rig.name)


def test_a_pool_that_gets_full_meanwhile(
    make_rig: Callable[..., Rig], new_libvirt_host: Callable[[], LibvirtHost], small_disk: Callable[[int], Path]
) -> None:
    """A copy that does not fit is refused; one that does not fit any more ends, says so, and leaves no volume."""
    disk = small_disk(SIZE + 16 * MIB)  # a host sees what was mounted before its start
    rig = make_rig(new_libvirt_host(), pool=disk)
    task = rig.start("copy_disk", "vda", rig.name, bandwidth=SLOW)
    rig.working(task)
    with contextlib.suppress(OSError), (rig.pool / "other").open("wb") as other:
        while other.write(bytes(MIB)):
            pass
    told = rig.ended(task)
    assert told["state"] == "failed"
    assert "ended before it was whole" in told["reason"]
    assert rig.made == ["other"]
    with pytest.raises(CommandExecutionError, match=rf"takes \d+ bytes, the pool '{rig.name}' has \d+"):
        rig.start("copy_disk", "vda", rig.name)


def test_a_restart_of_the_host_is_told(rig: Rig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Worker and guest are gone with another boot id: the record says that the host was restarted."""
    task = rig.start("copy_disk", "vda", rig.name, bandwidth=SLOW)
    rig.working(task)
    rig.worker(task).kill()
    rig.virsh(rig.host, "destroy", rig.name)
    (tmp_path / "boot_id").write_text("another\n")
    monkeypatch.setattr(launch, "BOOT_ID", tmp_path / "boot_id")
    told = rig.ended(task)
    assert (told["state"], told["reason"]) == ("failed", "the host was restarted meanwhile")
    assert rig.made == []


REFUSED: tuple[tuple[str, tuple[str, ...], dict[str, Any], str], ...] = (
    ("copy_disk", ("vdz", "{pool}"), {}, r"has no disk 'vdz' \(it has vda\)"),
    ("copy_disk", ("vda", "nowhere"), {}, r"there is no active pool 'nowhere' \(active: "),
    ("backup", ("nowhere",), {}, "there is no active pool 'nowhere'"),
    ("backup", ("{pool}",), {"since": "never"}, "has no checkpoint 'never'"),
    ("copy_disk", ("vda", "{pool}"), {"stall": -1}, "stall must be a number of at least 0"),
    ("migrate", ("qemu+unix:///system?socket=/nowhere",), {}, "does not answer"),
    ("migrate", ("{uri}",), {}, "is the host on which the guest"),
)


def test_what_cannot_be_is_refused_before_it_begins(rig: Rig) -> None:
    """The error is a sentence, and there is neither a task nor a volume."""
    for kind, words, named, message in REFUSED:
        told = [word.format(pool=rig.name, uri=rig.host.uri) for word in words]
        with pytest.raises(CommandExecutionError, match=message):
            rig.start(kind, *told, **named)
    assert rig.tasks == []
    assert rig.made == []


def test_wrong_arguments_are_sentences(rig: Rig) -> None:
    """A rate, a state, a guest or a task that cannot be."""
    with pytest.raises(SaltInvocationError, match="bandwidth must be a whole number"):
        rig.start("copy_disk", "vda", rig.name, bandwidth="fast")
    with pytest.raises(SaltInvocationError, match="state must be one of"):
        rig.call("list", state="finished")
    with pytest.raises(CommandExecutionError, match="there is no guest 'nobody'"):
        rig.call("copy_disk", "nobody", "vda", rig.name)
    for function, named in (("wait", {"timeout": "long"}), ("prune", {"days": -1})):
        with pytest.raises(CommandExecutionError, match="must be a number of at least 0"):
            rig.call(function, *(["x"] if function == "wait" else []), **named)
    for function in ("status", "wait", "cancel", "log"):
        with pytest.raises(CommandExecutionError, match=r"there is no task '\.\./x'"):
            rig.call(function, "../x")


def test_a_guest_moves(traveller: Rig, libvirt_host: LibvirtHost, other_libvirt_host: LibvirtHost) -> None:
    """After a migration the guest runs, and is defined, on the other host only."""
    task = traveller.start("migrate", **options(traveller, other_libvirt_host))
    told = traveller.ended(task)
    assert told["state"] == "done", traveller.call("log", task)
    assert places(traveller, libvirt_host, other_libvirt_host) == [False, True]
    assert traveller.name not in traveller.virsh(libvirt_host, "list", "--all", "--name").split()
    assert (
        "yes" in traveller.virsh(other_libvirt_host, "dominfo", traveller.name).split("Persistent:")[1].split("\n")[0]
    )


def test_a_migration_is_called_off(traveller: Rig, libvirt_host: LibvirtHost, other_libvirt_host: LibvirtHost) -> None:
    """The guest runs on where it was, the other host knows nothing of it, and it can move later."""
    wait_until(lambda: has_memory(traveller, 24 * MIB), PATIENCE, "a guest with something in its memory")
    task = traveller.start("migrate", **options(traveller, other_libvirt_host), bandwidth=MIB)
    traveller.working(task)
    traveller.call("cancel", task)
    told = traveller.ended(task)
    assert told["state"] == "cancelled", traveller.call("log", task)
    assert places(traveller, libvirt_host, other_libvirt_host) == [True, False]
    assert traveller.name not in traveller.virsh(other_libvirt_host, "list", "--all", "--name").split()


def test_a_migration_survives_its_worker(
    traveller: Rig, libvirt_host: LibvirtHost, other_libvirt_host: LibvirtHost
) -> None:
    """The worker, libvirt's client, is killed in the middle: the two hosts finish, and the record says done."""
    task = traveller.start("migrate", **options(traveller, other_libvirt_host), bandwidth=12 * MIB)
    traveller.working(task)
    if process := worker(task):
        process.send_signal(signal.SIGKILL)
    assert traveller.ended(task)["state"] == "done", traveller.call("log", task)
    assert places(traveller, libvirt_host, other_libvirt_host) == [False, True]
