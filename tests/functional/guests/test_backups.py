"""Backups of a real guest: what they hold, restored, verified, kept and removed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from salt.exceptions import CommandExecutionError, SaltInvocationError

from saltext_logilab.guests import backups
from tests.support.processes import run
from tests.support.rigs import MIB, PATIENCE, Rig, worker
from tests.support.waiting import wait_until

DEVICE = "/machine/peripheral/virtio-disk0/virtio-backend"


def write(rig: Rig, pattern: int) -> None:
    """Let the guest's disk change, as a guest does that writes."""
    command = f'qemu-io -d {DEVICE} "write -P {pattern} {pattern}M 64k"'
    rig.virsh(rig.host, "qemu-monitor-command", "--hmp", rig.name, command)


def backup(rig: Rig, **named: Any) -> str:
    """Return the name of a new backup."""
    task = rig.start("backup", rig.name, **named)
    assert rig.ended(task)["state"] == "done", rig.call("log", task)
    return task


def listed(rig: Rig) -> list[dict[str, Any]]:
    """Return the backups of the guest."""
    return rig.loaders.modules.libvirt_backup.list(rig.name, rig.name)


def same(rig: Rig, path: Path) -> bool:
    """Whether ``path`` holds what the guest's disk holds now."""
    return "identical" in run("sh", "-c", f"qemu-img compare -U {rig.disk} {path} || true")


@pytest.fixture
def restored(rig: Rig) -> Iterator[str]:
    """The name for a restored guest, which is gone afterwards."""
    name = f"{rig.name}-restored"
    yield name
    for guest in rig.host.open().listAllDomains():
        if guest.name() == name:
            guest.undefine()


def test_an_incremental_backup_is_restored_as_another_guest(rig: Rig, restored: str) -> None:
    """What was written since stands in the second backup alone; restored it is the disk, of a guest of its own."""
    first = backup(rig, incremental=True)
    write(rig, 5)
    second = backup(rig, incremental=True)
    told = listed(rig)
    assert [(one["task"], one["full"], one["base"]) for one in told] == [(first, True, None), (second, False, first)]
    assert (rig.pool / told[1]["images"]["vda"]).stat().st_size < MIB
    task = rig.call("restore", second, restored, rig.name)
    assert rig.ended(task)["state"] == "done", rig.call("log", task)
    (image,) = rig.call("status", task)["spec"]["volumes"].values()
    assert same(rig, rig.pool / image)
    assert not same(rig, rig.pool / told[0]["images"]["vda"])
    assert "backing-filename" not in run("qemu-img", "info", "--output=json", rig.pool / image)
    old, new = (rig.virsh(rig.host, "dumpxml", "--inactive", name) for name in (rig.name, restored))
    assert re.findall("<uuid>(.*)</uuid>", old) != re.findall("<uuid>(.*)</uuid>", new)
    assert f"{rig.pool}/{image}" in new
    assert rig.virsh(rig.host, "domstate", restored) == "shut off"
    with pytest.raises(CommandExecutionError, match=f"there is a guest '{restored}' already"):
        rig.call("restore", second, restored, rig.name)


@pytest.mark.usefixtures("slow_convert")
@pytest.mark.parametrize(("fault", "state"), [("kill", "failed"), ("cancel", "cancelled")])
def test_half_a_restore_leaves_nothing(rig: Rig, restored: str, fault: str, state: str) -> None:
    """Its worker is killed, or it is called off, in the middle: no guest, no volume, no program is left."""
    first = backup(rig)
    before = rig.made
    task = rig.call("restore", first, restored, rig.name)
    process = rig.worker(task)
    (child,) = wait_until(process.children, PATIENCE, "the conversion")
    if fault == "kill":
        process.kill()
    else:
        rig.call("cancel", task)
    told = rig.ended(task)
    assert told["state"] == state, told
    assert rig.made == before
    assert restored not in rig.virsh(rig.host, "list", "--all", "--name").split()
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, PATIENCE, "its end")
    wait_until(lambda: worker(task) is None, PATIENCE, "end of the worker")


def test_a_backup_is_verified_by_starting_it(rig: Rig) -> None:
    """A guest starts from both images, is seen to read, and is gone; the manifest says when. A broken one fails."""
    first = backup(rig, incremental=True)
    second = backup(rig, incremental=True)
    names = rig.virsh(rig.host, "list", "--all", "--name")
    files = rig.made
    task = rig.call("verify", second, rig.name, seconds=1)
    assert rig.ended(task)["state"] == "done", rig.call("log", task)
    assert rig.call("status", task)["spec"]["seen"] == "it has read its disks and runs on"
    assert [one["verified"] is not None for one in listed(rig)] == [False, True]
    assert (rig.made, rig.virsh(rig.host, "list", "--all", "--name")) == (files, names)
    with (rig.pool / listed(rig)[0]["images"]["vda"]).open("r+b") as image:
        image.seek(65536)
        image.write(b"\xff" * 512)  # its table of reference counts
    broken = rig.ended(rig.call("verify", second, rig.name, seconds=1))
    assert broken["state"] == "failed"
    assert "qemu-img" in broken["reason"]
    assert rig.made == files
    assert first in [one["task"] for one in listed(rig)]


def test_a_planted_image_is_refused(rig: Rig, restored: str) -> None:
    """An image that stands on a file of its own choice is neither restored nor verified; nor is one that is gone."""
    first = backup(rig)
    image = rig.pool / listed(rig)[0]["images"]["vda"]
    run("qemu-img", "rebase", "-u", "-F", "raw", "-b", "/etc/hostname", image)
    for call in (lambda: rig.call("restore", first, restored, rig.name), lambda: rig.call("verify", first, rig.name)):
        with pytest.raises(CommandExecutionError, match="stands on another file, which its manifest does not say"):
            call()
    image.unlink()
    with pytest.raises(CommandExecutionError, match="cannot be used"):
        rig.call("restore", first, restored, rig.name)
    with pytest.raises(CommandExecutionError, match="there is no backup 'x'"):
        rig.call("verify", "x", rig.name)
    with pytest.raises(CommandExecutionError, match="letters, digits"):
        rig.call("restore", first, "../x", rig.name)
    with pytest.raises(SaltInvocationError, match="incremental chooses"):
        rig.start("backup", rig.name, incremental=True, since="x")
    with pytest.raises(SaltInvocationError, match="keep must be a whole number"):
        rig.loaders.modules.libvirt_backup.prune(rig.name, rig.name, keep=0)


def test_a_guest_is_protected(rig: Rig) -> None:
    """No backup: one is made, once. An old one: another. Those beyond ``keep`` go, with image and checkpoint."""
    protected: Callable[..., Any] = rig.loaders.states.libvirt_guest.protected
    told = {"name": rig.name, "pool": rig.name}
    assert protected(**told, test=True).result is None
    assert listed(rig) == []
    done = protected(**told)
    assert done.result is True, done.comment
    assert done.changes["backup"] == {"old": None, "new": listed(rig)[0]["task"]}
    assert protected(**told).changes == {}
    assert protected(**told, hours=0, incremental=False, keep=1).result is True
    (left,) = listed(rig)
    assert left["task"] != done.changes["backup"]["new"]
    assert rig.made == [left["images"]["vda"]]
    assert rig.virsh(rig.host, "checkpoint-list", rig.name, "--name") == ""
    assert [path.name for path in rig.pool.glob(f"*{backups.SUFFIX}")] == [f"{rig.name}-{left['task']}{backups.SUFFIX}"]
    assert protected(name="nobody", pool=rig.name).result is False
    assert "no active pool 'x'" in protected(name=rig.name, pool="x").comment
