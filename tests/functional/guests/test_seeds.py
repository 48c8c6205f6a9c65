"""Guests seeded and made from an image on a real libvirtd, up to what a real guest has to say; virsh is the witness."""

from __future__ import annotations

import contextlib
import itertools
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError, SaltInvocationError

from tests.support.libvirt import LibvirtHost
from tests.support.pools import pool
from tests.support.processes import program, run
from tests.support.relays import Relay
from tests.support.rigs import MIB, PATIENCE, Rig, end_guest, worker
from tests.support.seeds import IMAGE, WISH, Seeds
from tests.support.waiting import wait_until

STEPS = ("copy", "accept", "answer")
FAULTS = ("cancel", "worker", "libvirtd")


@pytest.fixture
def seeds(rig: Rig) -> Iterator[Seeds]:
    """A pool with an image, and what seeds of it come to; guests that were made are gone afterwards."""
    made = Seeds(rig)
    yield made
    made.end()


def test_a_guest_is_made_from_an_image(seeds: Seeds) -> None:
    """Copied, defined, offered; started when its key is accepted; whole when it has answered, and the seed is gone."""
    task = seeds.create(size_gib=0.0625)
    offered = seeds.offered(task)
    assert (offered.id, offered.task, offered.left <= 900) == (seeds.name, task, True)
    assert seeds.virsh("domstate", seeds.name) == "shut off"
    (image,) = seeds.rig.pool.glob("*.iso")
    assert stat.S_IMODE(image.stat().st_mode) == 0o600
    assert "cidata" in run("blkid", image)
    assert "PRIVATE" not in str(seeds.rig.call("status", task)) + str(seeds.told(task))
    assert re.search(rf"file\s+disk\s+vdb\s+{image}", seeds.virsh("domblklist", "--details", seeds.name))
    seeds.answer(task, "accepted")
    wait_until(lambda: seeds.virsh("domstate", seeds.name) == "running", PATIENCE, "start")
    wait_until(lambda: seeds.told(task)["step"] == "answer", PATIENCE, "answer")
    assert "<readonly/>" in seeds.virsh("dumpxml", seeds.name)
    seeds.answer(task, "answered")
    told = seeds.rig.ended(task)
    assert told["state"] == "done", seeds.rig.call("log", task)
    assert list(seeds.rig.pool.glob("*.iso")) == []
    assert ".iso" not in seeds.virsh("dumpxml", "--inactive", seeds.name)
    (disk,) = told["spec"]["volumes"]
    assert "virtual size: 64 MiB" in run("qemu-img", "info", "-U", seeds.rig.pool / disk)
    assert "backing" not in run("qemu-img", "info", "-U", seeds.rig.pool / disk)
    state = seeds.rig.loaders.states.libvirt_guest.seeded(name=seeds.name, **WISH)
    assert (state.result, state.changes) == (True, {})


def test_a_guest_that_is_there_is_seeded(seeds: Seeds) -> None:
    """The state begins the seed once; a guest that runs without one is left alone, and the reason told."""
    name = seeds.model()
    states = seeds.rig.loaders.states.libvirt_guest
    before = seeds.virsh("dumpxml", name)
    shown = states.seeded(name=name, id="web.example.com", test=True, **WISH)
    assert (shown.result, shown.changes) == (None, {"seeded": {"old": None, "new": "web.example.com"}})
    assert seeds.virsh("dumpxml", name) == before
    task = seeds.rig.call("seed", name, id="web.example.com", **WISH)
    seeds.step(task, "answer")
    seeds.answer(task, "answered")
    assert seeds.rig.ended(task)["state"] == "done", seeds.rig.call("log", task)
    assert states.seeded(name=name, id="web.example.com", **WISH).result is True
    other = states.seeded(name=name, id="other", **WISH)
    assert (other.result, "has to be off" in other.comment) == (False, True)


@pytest.mark.parametrize("fault", ["cancel", "refused", "late", "worker", "gone"])
def test_a_seed_that_fails_leaves_the_guest_as_it_was(seeds: Seeds, fault: str) -> None:
    """Off, with its own disk alone, whatever went wrong; the reason names the step."""
    name = seeds.model()
    before = seeds.virsh("dumpxml", name)
    task = seeds.rig.call("seed", name, timeout=2 if fault == "late" else 900, **WISH)
    if fault != "late":
        seeds.step(task, "answer" if fault == "gone" else "accept")
    if fault == "cancel":
        seeds.rig.call("cancel", task)
    elif fault == "refused":
        seeds.answer(task, "refused", reason="the id is known")
    elif fault == "worker":
        seeds.rig.worker(task).kill()
        wait_until(lambda: seeds.told(task)["offer"], PATIENCE, "the offer still stands")
        seeds.rig.call("cancel", task)
    elif fault == "gone":
        seeds.virsh("destroy", name)
    told = seeds.rig.ended(task)
    wanted = {
        "cancel": ("cancelled", "by request"),
        "refused": ("failed", "accept: the id is known"),
        "late": ("failed", "accept: no master has accepted the key within 2 s"),
        "worker": ("cancelled", "by request"),
        "gone": ("failed", "answer: the guest was off before its minion answered"),
    }
    assert (told["state"], told["reason"]) == wanted[fault]
    assert seeds.virsh("dumpxml", name) == before
    assert list(seeds.rig.pool.glob("*.iso")) == []


@pytest.fixture
def giver(seeds: Seeds, other_libvirt_host: LibvirtHost, daemon_root: Path) -> Iterator[LibvirtHost]:
    """Another host, whose pool of the same name has the images that the first one lacks."""
    with pool(other_libvirt_host, seeds.rig.name, daemon_root / f"p{secrets.token_hex(3)}") as folder:
        shutil.copy(seeds.rig.pool / IMAGE, folder / "far.qcow2")
        run("qemu-img", "convert", "-O", "raw", folder / "far.qcow2", folder / "far.raw")
        run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "far.qcow2", folder / "standing.qcow2")
        yield other_libvirt_host


@pytest.mark.parametrize("image", ["far.qcow2", "far.raw"])
def test_an_image_of_another_host(seeds: Seeds, giver: LibvirtHost, image: str) -> None:
    """It comes with all that is in it, and becomes the guest's disk; nothing else of it stays here."""
    words = (seeds.name, image, seeds.rig.name, 64)
    task = seeds.rig.call("create", *words, image_host=giver.uri, accelerator="qemu", seed=WISH)
    seeds.step(task, "answer")
    seeds.answer(task, "answered")
    told = seeds.rig.ended(task)
    assert told["state"] == "done", seeds.rig.call("log", task)
    assert seeds.rig.made == sorted([IMAGE, *told["spec"]["volumes"]])
    (disk,) = told["spec"]["volumes"]
    assert "file format: qcow2" in run("qemu-img", "info", "-U", seeds.rig.pool / disk)
    assert "identical" in run("qemu-img", "compare", "-U", seeds.rig.pool / disk, seeds.rig.pool / IMAGE)
    assert (seeds.rig.pool / disk).stat().st_blocks * 512 < 4 * MIB


@pytest.mark.parametrize(
    ("fault", "state", "reason"),
    [
        ("cancel", "cancelled", "by request"),
        ("cut", "failed", "fetch: "),
        ("worker", "failed", "fetch: its worker was ended in the middle of it"),
    ],
)
def test_an_image_that_does_not_come(seeds: Seeds, giver: LibvirtHost, fault: str, state: str, reason: str) -> None:
    """The other host falls silent: what came of the image is gone, and the record says why."""
    relay = Relay(giver.socket)
    relay.start()
    try:
        uri = f"qemu+tcp://127.0.0.1:{relay.port}/system"
        words = (seeds.name, "far.qcow2", seeds.rig.name, 64)
        task = seeds.rig.call("create", *words, image_host=uri, accelerator="qemu", seed=WISH)
        relay.blackhole()
        wait_until(lambda: seeds.told(task)["step"] == "fetch", PATIENCE, "the fetch")
        wait_until(lambda: relay.connections, PATIENCE, "its connection")
        if fault == "cut":
            relay.cut()
        else:
            strike(seeds, task, fault)
        told = seeds.rig.ended(task)
    finally:
        relay.close()
    assert (told["state"], told["reason"].startswith(reason)) == (state, True), told["reason"]
    assert (seeds.rig.made, seeds.name in seeds.guests) == ([IMAGE], False)
    wait_until(lambda: worker(task) is None, PATIENCE, "end of the worker")


SAMPLE = (("copy", "worker"), ("accept", "libvirtd"), ("answer", "cancel"))
REST = [pair for pair in itertools.product(STEPS, FAULTS) if pair not in SAMPLE]


@pytest.mark.parametrize(("step", "fault"), [*SAMPLE, *[pytest.param(*pair, marks=pytest.mark.soak) for pair in REST]])
def test_half_a_guest_does_not_stay(place: Place, request: pytest.FixtureRequest, step: str, fault: str) -> None:
    """Called off, or a worker or libvirtd killed: nothing stays of what was not done, and what can go on goes on."""
    with place(own=fault == "libvirtd") as seeds:
        rig, before, guests = seeds.rig, seeds.rig.made, seeds.guests
        if step == "copy":
            request.getfixturevalue("slow_copy")
        task = seeds.create()
        seeds.step(task, step)
        strike(seeds, task, fault)
        if fault == "libvirtd" or (fault == "worker" and step != "copy"):
            assert seeds.told(task)["reason"] is None
            rig.call("cancel", task)
        told = rig.ended(task)
        assert told["state"] == ("failed" if (step, fault) == ("copy", "worker") else "cancelled"), rig.call(
            "log", task
        )
        assert (rig.made, seeds.guests) == (before, guests)
        wait_until(lambda: worker(task) is None, PATIENCE, "end of the worker")


def strike(seeds: Seeds, task: str, fault: str) -> None:
    """Do ``fault``."""
    if fault == "cancel":
        seeds.rig.call("cancel", task)
    elif fault == "worker":
        seeds.rig.worker(task).kill()
    else:
        seeds.rig.host.kill()
        seeds.rig.host.restart()


Place = Callable[..., contextlib.AbstractContextManager[Seeds]]


@pytest.fixture
def place(
    make_rig: Callable[..., Rig], new_libvirt_host: Callable[[], LibvirtHost], libvirt_host: LibvirtHost
) -> Place:
    """Return what gives seeds on a host, on one of its own where it will be killed."""

    @contextlib.contextmanager
    def made(*, own: bool) -> Iterator[Seeds]:
        rig = make_rig(new_libvirt_host() if own else libvirt_host)
        if own:  # else libvirtd does not know the pool any more when it comes back
            link = rig.host.open()
            link.storagePoolDefineXML(link.storagePoolLookupByName(rig.name).XMLDesc()).setAutostart(1)
        seeds = Seeds(rig)
        try:
            yield seeds
        finally:
            seeds.end()
            end_guest(rig.host, rig)

    return made


@pytest.fixture
def slow_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a conversion by qemu-img take longer than any test."""
    _before_a_copy(tmp_path, monkeypatch, "exec sleep 600")


def _before_a_copy(folder: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """Let ``command`` run before qemu-img copies."""
    real = program("qemu-img", "qemu-utils")
    (folder / "qemu-img").write_text(f'#!/bin/sh\n[ "$1" != convert ] || {command}\nexec {real} "$@"\n')
    (folder / "qemu-img").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_a_full_disk(
    place: Place, small_disk: Callable[[int], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pool without room is refused at once; one that fills meanwhile fails the copy, and nothing stays."""
    folder = small_disk(6 * MIB)  # before its libvirtd: that one sees no later mounts
    with place(own=True) as seeds:
        _before_a_copy(tmp_path, monkeypatch, f"dd if=/dev/zero of={folder}/other bs=1M 2>/dev/null")
        xml = f"<pool type='dir'><name>small</name><target><path>{folder}</path></target></pool>"
        small = seeds.rig.host.open().storagePoolCreateXML(xml)
        words = (seeds.name, IMAGE, "small", 64)
        told = {"accelerator": "qemu", "seed": WISH, "image_pool": seeds.rig.name}
        ended = seeds.rig.ended(seeds.rig.call("create", *words, **told))
        assert ended["state"] == "failed"
        assert re.match(r"copy: .*No space left", ended["reason"])
        assert [path.name for path in folder.iterdir()] == ["other"]
        with pytest.raises(CommandExecutionError, match=r"takes \d+ bytes, the pool .* has"):
            seeds.rig.call("create", *words, **told)
        assert seeds.name not in seeds.guests
        small.destroy()


def test_what_cannot_be_made(seeds: Seeds, giver: LibvirtHost) -> None:
    """Each wrong word is a sentence that names it, before anything is begun."""
    name = place = seeds.rig.name
    words = (seeds.name, IMAGE, place, 64)
    seeded = {"seed": WISH, "accelerator": "qemu"}
    wrong: tuple[tuple[str, tuple[Any, ...], dict[str, Any], str], ...] = (
        ("create", (name, *words[1:]), seeded, f"there is a guest '{name}' already"),
        ("create", ("../x", *words[1:]), seeded, "letters, digits"),
        ("create", (seeds.name, "none.qcow2", place, 64), seeded, "has no image 'none.qcow2'"),
        ("create", (seeds.name, IMAGE, "none", 64), seeded, "no active pool 'none'"),
        ("create", (seeds.name, IMAGE, pool, 0), seeded, "memory_mib must be more than 0"),
        ("create", words, {**seeded, "size_gib": 0.001}, "size_gib is too small"),
        ("create", words, {**seeded, "size_gib": "x"}, "size_gib must be a number"),
        ("create", words, {**seeded, "interfaces": [{"network": "none"}]}, "no active network 'none'"),
        ("create", words, {**seeded, "interfaces": [{}]}, "one of network, bridge and user"),
        ("create", words, {**seeded, "xml": "<x/>"}, "must be a <domain>"),
        ("create", words, {**seeded, "seed": {**WISH, "id": "a b"}}, "letters, digits"),
        ("create", words, {**seeded, "seed": "x"}, "must be a mapping"),
        ("create", words, {**seeded, "timeout": -1}, "timeout must be a number"),
        ("seed", ("none",), WISH, "there is no guest 'none'"),
        ("seed", (name,), WISH, "it has to be off"),
    )
    for function, told, more, sentence in wrong:
        with pytest.raises((CommandExecutionError, SaltInvocationError), match=re.escape(sentence)):
            seeds.rig.call(function, *told, **more)
    far = {**seeded, "image_host": giver.uri}
    for image, more, sentence in (
        ("none.qcow2", far, f"at {giver.uri} has no image 'none.qcow2'"),
        ("standing.qcow2", far, "stands on"),
        ("far.qcow2", {**far, "linked": True}, "a linked disk needs it here"),
        ("far.qcow2", {**far, "image_pool": "none"}, "no active pool 'none'"),
        ("far.qcow2", {**far, "size_gib": 0.001}, "size_gib is too small"),
        ("far.qcow2", {**seeded, "image_host": "qemu+unix:///system?socket=/nowhere"}, "does not answer"),
    ):
        with pytest.raises(CommandExecutionError, match=re.escape(sentence)):
            seeds.rig.call("create", seeds.name, image, place, 64, **more)
    assert seeds.rig.call("create", *words, test=True, **seeded) is None
    assert seeds.rig.made == [IMAGE]
    model = seeds.model()
    with pytest.raises(CommandExecutionError, match="no active pool 'none'"):
        seeds.rig.call("seed", model, pool="none", **WISH)


def test_what_a_master_cannot_say(seeds: Seeds) -> None:
    """A word of another seed, an unknown one, or one that comes too early changes nothing."""
    task = seeds.create(linked=True)
    seeds.offered(task)
    answer = seeds.rig.loaders.modules["libvirt_seed.answer"]
    nonce = seeds.told(task)["nonce"]
    for words, sentence in (
        ((task, "other", "accepted"), "none of the seed"),
        ((task, nonce, "come"), "word must be one of"),
        ((task, nonce, "answered"), "is not started"),
        (("20261123T101500-1a2b3c4d", nonce, "accepted"), "there is no task"),
    ):
        with pytest.raises(CommandExecutionError, match=re.escape(sentence)):
            answer(*words)
    assert seeds.virsh("domstate", seeds.name) == "shut off"
    assert "backing file" in run("qemu-img", "info", next(seeds.rig.pool.glob(f"{seeds.name}-vda-*")))
    seeds.answer(task, "refused", reason="not this one")
    assert seeds.rig.ended(task)["reason"] == "accept: not this one"
    with pytest.raises(CommandExecutionError, match="has ended already"):
        seeds.answer(task, "accepted")
