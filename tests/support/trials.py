"""Tasks of every kind as trials: begun on a rig, hit by a fault, and what has to be true of two hosts afterwards."""

from __future__ import annotations

import contextlib
import copy
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from salt.exceptions import CommandExecutionError

from saltext_logilab.guests import backups
from tests.support.libvirt import LibvirtHost
from tests.support.optional import Optional
from tests.support.processes import run
from tests.support.rigs import MIB, NO_JOB, PATIENCE, SLOW, Rig, options
from tests.support.seeds import IMAGE, WISH, Seeds
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    import libvirt
else:
    libvirt = Optional("libvirt", extra="virt")

Guests = dict[str, dict[str, Any]]


@dataclass
class Facts:
    """What is true, by virsh and by files: each host's guests, what the pool holds, the disk's size and snapshots."""

    guests: tuple[Guests, Guests]
    files: set[str]
    size: int
    inside: list[str]

    def unlike(self, other: Facts) -> list[str]:
        """Return what is not as in ``other``."""
        mine, its = vars(self), vars(other)
        return [f"{name}: {its[name]}, not {mine[name]}" for name in mine if mine[name] != its[name]]


@dataclass
class Trial:
    """
    A task, on a rig of its own.

    :param hosts: the rig's host, and one to migrate to.
    """

    rig: Rig
    hosts: tuple[LibvirtHost, LibvirtHost]
    before: Facts = field(init=False)
    paused = True

    def __post_init__(self) -> None:
        link = self.rig.host.open()  # a libvirtd that is killed shall know the pool again
        link.storagePoolDefineXML(link.storagePoolLookupByName(self.rig.name).XMLDesc()).setAutostart(1)
        self.prepare()
        self.before = self.facts()

    def prepare(self) -> None:
        """Make what the task needs."""

    def begin(self) -> str:
        """Start the task and return its id."""
        raise NotImplementedError

    def expect(self, then: Facts, told: dict[str, Any]) -> list[str]:
        """Turn what was true into what is true when the task is done; return what is wrong beside that."""
        raise NotImplementedError

    def attend(self, task: str) -> None:
        """Do what somebody else has to do for the task."""

    def over(self, task: str) -> dict[str, Any] | None:
        """Return the status of the task when it has ended; attend to it until then."""
        self.attend(task)
        told: dict[str, Any] = self.rig.call("status", task)
        return told if told["ended"] else None

    def live(self, task: str, seconds: float) -> None:
        """Let so many seconds pass; the moment of a fault is chance, so nothing is waited for."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.attend(task)
            time.sleep(0.05)

    def ended(self, task: str) -> dict[str, Any]:
        """Return the status of the task once it has ended."""
        return wait_until(lambda: self.over(task), PATIENCE, f"end of {self.rig.call('log', task)}")

    def wrong(self, told: dict[str, Any] | None) -> list[str]:
        """Return what is not as it has to be after a task that ended so; None for one that never was."""
        then, more = copy.deepcopy(self.before), []
        if told is not None and told["state"] == "done":
            more = self.expect(then, told)
        return then.unlike(self.facts()) + more

    def facts(self) -> Facts:
        """Look."""
        told = json.loads(run("qemu-img", "info", "-U", "--output=json", self.rig.disk))
        files = {path.name for path in self.rig.pool.iterdir()}
        first, second = (self._guests(host) for host in self.hosts)
        return Facts((first, second), files, told["virtual-size"], [one["name"] for one in told.get("snapshots", [])])

    def _guests(self, host: LibvirtHost) -> Guests:
        return {name: self._guest(host, name) for name in self.rig.virsh(host, "list", "--all", "--name").split()}

    def _guest(self, host: LibvirtHost, name: str) -> dict[str, Any]:
        def told(*words: str) -> str:
            return self.rig.virsh(host, *words, name)

        state = told("domstate")
        job = self.rig.virsh(host, "blockjob", name, "vda") if state != "shut off" else NO_JOB
        lists = {what: told(f"{what}-list", "--name").split() for what in ("checkpoint", "snapshot")}
        disks, later = (self._disks(told("domblklist", *more)) for more in ((), ("--inactive",)))
        return {"state": state, "disks": disks, "later": later, "job": job, **lists}

    def _disks(self, told: str) -> list[list[str]]:
        return [line.split() for line in told.splitlines()[2:]]

    def remove(self) -> None:
        """Remove the guests and the pool."""
        for host in self.hosts:
            link = host.open()
            for guest in link.listAllDomains():
                if guest.name().startswith(self.rig.name):
                    if guest.isActive():
                        guest.destroy()
                    known = libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
                    guest.undefineFlags(known | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA)
            for pool in link.listAllStoragePools():
                if pool.name() == self.rig.name:
                    pool.destroy()
                    pool.undefine()


class CopyDisk(Trial):
    """A copy of a disk, slow enough to be hit."""

    pivot = False

    def begin(self) -> str:
        """Start it."""
        words = (self.rig.name, "vda", self.rig.name)
        return str(self.rig.call("copy_disk", *words, pivot=self.pivot, bandwidth=2 * SLOW))

    def expect(self, then: Facts, told: dict[str, Any]) -> list[str]:
        """There is the copy."""
        then.files.add(told["spec"]["volume"])
        path = self.rig.pool / told["spec"]["volume"]
        if self.pivot:
            then.guests[0][self.rig.name] |= {"disks": [["vda", str(path)]], "later": [["vda", str(path)]]}
        return [] if "identical" in run("qemu-img", "compare", "-U", self.rig.disk, path) else ["the copy differs"]


class Pivot(CopyDisk):
    """A copy with which the guest goes on."""

    pivot = True


class Backup(Trial):
    """A backup with a checkpoint."""

    def begin(self) -> str:
        """Start it."""
        return str(self.rig.call("backup", self.rig.name, self.rig.name, checkpoint="point"))

    def expect(self, then: Facts, told: dict[str, Any]) -> list[str]:
        """There is the image, its manifest, and the checkpoint."""
        (image,) = told["spec"]["volumes"].values()
        then.files |= {image, f"{self.rig.name}-{told['task']}{backups.SUFFIX}"}
        then.guests[0][self.rig.name]["checkpoint"] = ["point"]
        same = "identical" in run("qemu-img", "compare", "-U", self.rig.disk, self.rig.pool / image)
        return [] if same else ["the backup differs"]


class Migrate(Trial):
    """A live migration."""

    paused = False

    def begin(self) -> str:
        """Start it."""
        return str(self.rig.call("migrate", self.rig.name, **options(self.rig, self.hosts[1]), bandwidth=4 * MIB))

    def expect(self, then: Facts, told: dict[str, Any]) -> list[str]:  # noqa: ARG002 - all of it is in the facts
        """The guest is there and not here."""
        then.guests[1][self.rig.name] = then.guests[0].pop(self.rig.name)
        return []


class Snapshot(Trial):
    """A snapshot of a guest that runs, with its memory."""

    paused = False

    def begin(self) -> str:
        """Start it."""
        return str(self.rig.call("snapshot", self.rig.name, "point"))

    def expect(self, then: Facts, told: dict[str, Any]) -> list[str]:  # noqa: ARG002 - all of it is in the facts
        """There is the snapshot."""
        then.guests[0][self.rig.name]["snapshot"] = then.inside = ["point"]
        return []


class ResizeDisk(Trial):
    """A disk that grows."""

    def begin(self) -> str:
        """Start it."""
        return str(self.rig.call("resize_disk", self.rig.name, "vda", 0.125))

    def expect(self, then: Facts, told: dict[str, Any]) -> list[str]:  # noqa: ARG002 - all of it is in the facts
        """The disk is as large as was told."""
        then.size = 128 * MIB
        return []


class _WithModel(Trial):
    """A task beside a guest that is off."""

    seeds: Seeds
    model: str

    def prepare(self) -> None:
        """Define it."""
        self.seeds = Seeds(self.rig)
        self.model = self.seeds.model()


class Clone(_WithModel):
    """A clone."""

    def begin(self) -> str:
        """Start it."""
        return str(self.rig.call("clone", self.model, f"{self.model}-2", self.rig.name))

    def expect(self, then: Facts, told: dict[str, Any]) -> list[str]:
        """There is the new guest, and its image."""
        (image,) = told["spec"]["volumes"].values()
        path = self.rig.pool / image
        then.files.add(image)
        disks = [["vda", str(path)]]
        then.guests[0][f"{self.model}-2"] = {**then.guests[0][self.model], "disks": disks, "later": disks}
        same = "identical" in run("qemu-img", "compare", self.rig.pool / IMAGE, path)
        return [] if same else ["the clone's disk differs"]


class Convert(_WithModel):
    """A conversion."""

    def begin(self) -> str:
        """Start it."""
        return str(self.rig.call("convert", self.rig.name, IMAGE, "new.raw", format="raw"))

    def expect(self, then: Facts, told: dict[str, Any]) -> list[str]:  # noqa: ARG002 - all of it is in the facts
        """There is the new volume."""
        then.files.add("new.raw")
        words = ("compare", "-f", "qcow2", "-F", "raw", self.rig.pool / IMAGE, self.rig.pool / "new.raw")
        return [] if "identical" in run("qemu-img", *words) else ["the new volume differs"]


class _OfBackup(Trial):
    """A task on a backup."""

    backup: str

    def prepare(self) -> None:
        """Make the backup."""
        self.backup = self.rig.start("backup", self.rig.name)
        told = self.rig.ended(self.backup)
        assert told["state"] == "done", told


class Restore(_OfBackup):
    """A backup that is restored as another guest."""

    def begin(self) -> str:
        """Start it."""
        return str(self.rig.call("restore", self.backup, f"{self.rig.name}-2", self.rig.name))

    def expect(self, then: Facts, told: dict[str, Any]) -> list[str]:
        """There is the new guest, off, and its image."""
        (image,) = told["spec"]["volumes"].values()
        path = self.rig.pool / image
        then.files.add(image)
        old, disks = then.guests[0][self.rig.name], [["vda", str(path)]]
        then.guests[0][f"{self.rig.name}-2"] = {**old, "disks": disks, "later": disks, "state": "shut off"}
        return [] if "identical" in run("qemu-img", "compare", "-U", self.rig.disk, path) else ["the disk differs"]


class Verify(_OfBackup):
    """A backup that is verified."""

    def begin(self) -> str:
        """Start it."""
        return str(self.rig.call("verify", self.backup, self.rig.name, seconds=2))

    def expect(self, then: Facts, told: dict[str, Any]) -> list[str]:  # noqa: ARG002 - all is as it was
        """The manifest says so."""
        listed = self.rig.loaders.modules["libvirt_backup.list"](self.rig.name, self.rig.name)
        return [] if listed[0]["verified"] else ["the manifest does not say so"]


class _Seeding(Trial):
    """A task that a master has to say something to."""

    seeds: Seeds

    def _disks(self, told: str) -> list[list[str]]:
        """Leave out a seed that a guest without a system does not let go of at once; its image is gone."""
        gone = [row for row in super()._disks(told) if row[1].endswith(".iso") and not Path(row[1]).exists()]
        return [row for row in super()._disks(told) if row not in gone]

    def attend(self, task: str) -> None:
        """Say it."""
        with contextlib.suppress(CommandExecutionError):  # libvirtd is away, or it has ended
            told = self.seeds.told(task)
            if told["offer"]:
                self.seeds.answer(task, "accepted")
            elif told["step"] == "answer":
                self.seeds.answer(task, "answered")

    def running(self, then: Facts, volume: str) -> None:
        """Have the guest run, with its own disk alone."""
        disks = [["vda", str(self.rig.pool / volume)]]
        told = {"state": "running", "disks": disks, "later": disks, "job": NO_JOB}
        then.guests[0][self.seeds.name] = {**told, "checkpoint": [], "snapshot": []}


class Create(_Seeding):
    """A guest that is made from an image and seeded."""

    def prepare(self) -> None:
        """Make the image."""
        self.seeds = Seeds(self.rig)

    def begin(self) -> str:
        """Start it."""
        return self.seeds.create()

    def expect(self, then: Facts, told: dict[str, Any]) -> list[str]:
        """The guest runs, and its volume is there."""
        (volume,) = told["spec"]["volumes"]
        then.files.add(volume)
        self.running(then, volume)
        return []


class Seed(_Seeding):
    """A seed of a guest that is there."""

    def prepare(self) -> None:
        """Define the guest."""
        self.seeds = Seeds(self.rig)
        self.seeds.model()

    def begin(self) -> str:
        """Start it."""
        return str(self.rig.call("seed", self.seeds.name, **WISH))

    def expect(self, then: Facts, told: dict[str, Any]) -> list[str]:  # noqa: ARG002 - all of it is in the facts
        """The guest runs."""
        self.running(then, IMAGE)
        return []


TRIALS: dict[str, type[Trial]] = {
    "backup": Backup,
    "clone": Clone,
    "convert": Convert,
    "copy_disk": CopyDisk,
    "create": Create,
    "migrate": Migrate,
    "pivot": Pivot,
    "resize_disk": ResizeDisk,
    "restore": Restore,
    "seed": Seed,
    "snapshot": Snapshot,
    "verify": Verify,
}


def delayed_convert(folder: Path, real: str, seconds: float) -> None:
    """Make a ``qemu-img`` in ``folder`` whose conversions begin late, so that a fault can come before them."""
    (folder / "qemu-img").write_text(f'#!/bin/sh\n[ "$1" != convert ] || sleep {seconds}\nexec {real} "$@"\n')
    (folder / "qemu-img").chmod(0o755)
