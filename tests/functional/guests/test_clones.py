"""Guests cloned, volumes converted, disks enlarged: by tasks whose results virsh and qemu-img see."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from tests.support.processes import run
from tests.support.rigs import MIB, PATIENCE, Rig, worker
from tests.support.waiting import wait_until

SIZE = 16 * MIB


@pytest.fixture
def model(rig: Rig) -> Iterator[str]:
    """A guest that is off; its disk stands on a volume of the rig's pool. Its clone is gone afterwards, too."""
    name = f"{rig.name}-model"
    run("qemu-img", "create", "-q", "-f", "qcow2", rig.pool / "base.qcow2", str(SIZE))
    run("qemu-io", "-c", "write -P 7 0 1M", rig.pool / "base.qcow2")
    disk = {"target": "vda", "pool": rig.name, "backing": "base.qcow2"}
    told = {"memory_mib": 64, "vcpus": 1, "accelerator": "qemu", "disks": [disk], "interfaces": [{"user": True}]}
    made = rig.loaders.states.libvirt_guest.present(name=name, **told)
    assert made.result is True, made.comment
    run("qemu-io", "-c", "write -P 9 2M 1M", rig.pool / f"{name}-vda.qcow2")
    yield name
    for guest in rig.host.open().listAllDomains():
        if guest.name().startswith(name):
            if guest.isActive():
                guest.destroy()
            guest.undefine()


def done(rig: Rig, task: str) -> dict[str, Any]:
    """Return the status of a task that is done."""
    told = rig.ended(task)
    assert told["state"] == "done", rig.call("log", task)
    return told


def test_a_clone_is_a_guest_of_its_own(rig: Rig, model: str) -> None:
    """Its disk is alike and stands alone; UUID and MAC are others; it is off, and a second one of the name refused."""
    told = done(rig, rig.call("clone", model, f"{model}-2", rig.name))
    (image,) = told["spec"]["volumes"].values()
    assert "identical" in run("qemu-img", "compare", rig.pool / image, rig.pool / f"{model}-vda.qcow2")
    assert "backing" not in run("qemu-img", "info", rig.pool / image)
    old, new = (rig.virsh(rig.host, "dumpxml", name) for name in (model, f"{model}-2"))
    for pattern in ("<uuid>(.*)</uuid>", "<mac address='(.*)'"):
        assert re.findall(pattern, old) != re.findall(pattern, new)
    assert image in new
    assert rig.virsh(rig.host, "domstate", f"{model}-2") == "shut off"
    with pytest.raises(CommandExecutionError, match=f"there is a guest '{model}-2' already"):
        rig.call("clone", model, f"{model}-2", rig.name)


@pytest.mark.usefixtures("slow_convert")
@pytest.mark.parametrize("kind", ["clone", "convert"])
def test_half_a_copy_leaves_nothing(rig: Rig, model: str, kind: str) -> None:
    """The worker is killed in the middle: neither a guest nor a volume is left, and the record says so."""
    before, names = rig.made, rig.virsh(rig.host, "list", "--all", "--name")
    words = (model, f"{model}-2", rig.name) if kind == "clone" else (rig.name, "base.qcow2", "new.qcow2")
    task = rig.call(kind, *words)
    process = rig.worker(task)
    wait_until(process.children, PATIENCE, "the conversion")
    process.kill()
    told = rig.ended(task)
    assert (told["state"], told["reason"]) == ("failed", "its worker was ended in the middle of it")
    assert (rig.made, rig.virsh(rig.host, "list", "--all", "--name")) == (before, names)
    wait_until(lambda: worker(task) is None, PATIENCE, "end of the worker")


def test_a_volume_is_converted(rig: Rig, model: str) -> None:
    """The new volume holds the same in another format; one that is there, or that a guest writes, is refused."""
    old = f"{model}-vda.qcow2"
    done(rig, rig.call("convert", rig.name, old, "new.raw", format="raw"))
    assert "identical" in run("qemu-img", "compare", "-f", "qcow2", "-F", "raw", rig.pool / old, rig.pool / "new.raw")
    assert "new.raw" in rig.virsh(rig.host, "vol-list", rig.name)
    assert not [name for name in rig.made if name.endswith(".part")]
    rig.virsh(rig.host, "start", model, "--paused")
    refused: tuple[tuple[Callable[[], Any], str], ...] = (
        (lambda: rig.call("convert", rig.name, "base.qcow2", "new.raw"), "has a volume 'new.raw' already"),
        (lambda: rig.call("convert", rig.name, old, "b"), f"is written by {model}"),
        (lambda: rig.call("convert", rig.name, "none", "b"), "has no volume 'none'"),
        (lambda: rig.call("convert", "none", old, "b"), "there is no active pool 'none'"),
        (lambda: rig.call("convert", rig.name, old, "../b"), "letters, digits"),
        (lambda: rig.call("convert", rig.name, old, "b", format="vdi"), "a format of qcow2, raw"),
        (lambda: rig.call("clone", model, f"{model}-2", rig.name), "only one that is off can be cloned"),
    )
    for call, sentence in refused:
        with pytest.raises(CommandExecutionError, match=re.escape(sentence)):
            call()


def test_no_file_outside_of_the_pools_is_read(rig: Rig, model: str) -> None:
    """An image that stands on a file of the host is neither cloned nor converted."""
    run("qemu-img", "rebase", "-u", "-F", "raw", "-b", "/etc/hostname", rig.pool / f"{model}-vda.qcow2")
    for words in (("clone", model, f"{model}-2", rig.name), ("convert", rig.name, f"{model}-vda.qcow2", "b")):
        with pytest.raises(CommandExecutionError, match="the image /etc/hostname is no volume of an active pool"):
            rig.call(*words)


def test_a_disk_grows(rig: Rig, model: str) -> None:
    """Off or started; a size that it has, a smaller one, and a disk that is not there are refused."""
    for name, target in ((model, f"{model}-vda.qcow2"), (rig.name, rig.disk.name)):
        done(rig, rig.call("resize_disk", name, "vda", 0.125))
        path = rig.pool / target if name == model else rig.disk
        assert f"({128 * MIB} bytes)" in run("qemu-img", "info", "-U", path)
    link = rig.host.open()
    link.lookupByName(rig.name).undefine()
    done(rig, rig.call("resize_disk", rig.name, "vda", 0.25))
    assert re.search(r"Persistent:\s+no", rig.virsh(rig.host, "dominfo", rig.name))
    link.defineXML(link.lookupByName(rig.name).XMLDesc())
    for words, sentence in (
        (("vda", 0.125), "has that size already"),
        (("vda", 0.0625), "would lose what lies behind"),
        (("vdz", 1), "has no disk vdz"),
    ):
        with pytest.raises(CommandExecutionError, match=sentence):
            rig.call("resize_disk", model, *words)
