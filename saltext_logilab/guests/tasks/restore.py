"""
Restore a backup as a new guest, with a name, a UUID and MACs of its own; it is defined, not started.

The images are read with the formats and the order that the manifest says; what an image says of a backing file is not
followed, and one that says so is refused.
"""

from __future__ import annotations

import copy
import json
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from saltext_logilab.errors import ConfigurationError, RefusedError, UnavailableError
from saltext_logilab.guests import backups, connection, storage
from saltext_logilab.guests.backups import Backup
from saltext_logilab.guests.connection import Connection
from saltext_logilab.guests.tasks import images
from saltext_logilab.guests.tasks.held import Held
from saltext_logilab.guests.tasks.records import Task
from saltext_logilab.guests.wanted import NAME


def check(link: Connection, pool: str, backup: str, name: str, target: str) -> dict[str, object]:
    """
    Return the spec of a restore of ``backup`` in ``pool`` as the guest ``name``, with its disks in the pool ``target``.

    :raises RefusedError: there is a guest of this name, an image is gone or not what it has to be, or there is no room.
    """
    if not NAME.fullmatch(name):
        raise ConfigurationError(f"a guest's name has letters, digits and ._+- only, not {name!r}")
    if any(one.name() == name for one in link.listAllDomains()):
        raise RefusedError(f"there is a guest {name!r} already")
    folder = storage.folder(storage.file_pool(link, pool))
    found = backups.chain(backups.all_in(folder), backup)
    need = sum(images.alone(folder / image)["actual-size"] for one in found for image in one.images.values())
    room = storage.room(link, target)
    if need > room:
        raise RefusedError(f"the images take {need} bytes, the pool {target!r} has {room}")
    return {"backup": backup, "chain": [one.task for one in found], "pool": pool, "target": target}


def source(folder: Path, found: Sequence[Backup], disk: str) -> str:
    """Return how qemu reads a disk of a chain of backups: each image with its format, on the one before it."""
    block: dict[str, Any] | None = None
    for one in reversed(found):
        if disk in one.images:
            file = {"driver": "file", "filename": str(folder / one.images[disk]), "locking": "off"}
            block = {"driver": "qcow2", "file": file, "backing": block}
    return f"json:{json.dumps(block)}"


def renewed(definition: str, name: str, files: Mapping[str, str]) -> str:
    """Return ``definition`` for a guest of its own called ``name``, with the disks in ``files`` (path by target)."""
    root = ET.fromstring(definition)  # noqa: S314 - libvirtd's own words; libvirtd checks them again
    for tag in ("uuid", "name"):
        for element in root.findall(tag):
            root.remove(element)
    ET.SubElement(root, "name").text = name
    for store in root.findall("os/nvram"):
        store.text = None
    devices = root.find("devices")
    for device in [] if devices is None else list(devices):
        for mac in device.findall("mac"):
            device.remove(mac)
        if device.tag == "channel":
            for path in device.findall("source"):
                device.remove(path)
        target = device.find("target")
        if device.tag == "disk" and target is not None and target.get("dev") in files:
            use_image(device, files[str(target.get("dev"))])
    return ET.tostring(root, encoding="unicode")


def use_image(disk: ET.Element, path: str, below: Sequence[str] = ()) -> None:
    """Let ``disk`` have its data in the qcow2 image ``path``, which stands on the images ``below``, and on no other."""
    for tag in ("source", "backingStore", "driver"):
        for element in disk.findall(tag):
            disk.remove(element)
    disk.set("type", "file")
    ET.SubElement(disk, "driver", name="qemu", type="qcow2")
    ET.SubElement(disk, "source", file=path)
    place = disk
    for image in below:
        place = ET.SubElement(place, "backingStore", type="file")
        ET.SubElement(place, "format", type="qcow2")
        ET.SubElement(place, "source", file=image)
    ET.SubElement(place, "backingStore")


class Restore(Held):
    """A restore."""

    def work(self, link: Connection, task: Task) -> None:
        """Copy the images into new ones that stand alone, then define the guest."""
        spec = task.spec
        folder = storage.folder(storage.file_pool(link, spec["pool"]))
        target = storage.file_pool(link, spec["target"])
        found = backups.chain(backups.all_in(folder), spec["backup"])
        names = {disk: f"{task.guest}-{disk}-{task.id}.qcow2" for disk in found[0].images}
        self.learn(volumes=names)
        sizes = {disk: _taken(folder, found, disk) for disk in names}
        self.total = sum(sizes.values())
        for disk, name in names.items():
            path, before = storage.folder(target) / name, self.done
            self.run("qemu-img", "convert", "-O", "qcow2", source(folder, found, disk), str(path), growing=path)
            self.done = before + sizes[disk]
        storage.refresh(target)
        paths = {disk: str(storage.folder(target) / name) for disk, name in names.items()}
        self.learn(defining=True)
        link.defineXML(renewed(found[0].definition, task.guest, paths))

    def clean(self, link: Connection, task: Task) -> None:
        """Remove the guest, if it came to that, and its images."""
        if volumes := task.spec.get("volumes"):
            if task.spec.get("defining"):
                remove_guest(link, task.guest, volumes.values())
            remove_images(link, task.spec["target"], volumes.values())


def remove_guest(link: Connection, name: str, volumes: Iterable[str]) -> None:
    """Remove the guest ``name`` that is off and has one of these new ``volumes``; another one of this name stays."""
    for one in link.listAllDomains():
        if one.name() == name and not one.isActive() and any(volume in one.XMLDesc() for volume in volumes):
            one.undefineFlags(connection.libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)


def remove_images(link: Connection, pool: str, names: Iterable[str]) -> None:
    """Remove images that were made beside libvirt's back."""
    storage.refresh(storage.active_pool(link, pool))
    for name in names:
        storage.remove(link, pool, name)


def _taken(folder: Path, found: Sequence[Backup], disk: str) -> int:
    try:
        return sum((folder / one.images[disk]).stat().st_size for one in found if disk in one.images)
    except OSError as err:
        raise UnavailableError(f"the image {err.filename} cannot be read: {err.strerror}") from err


def definition_for_trial(backup: Backup, name: str, stacks: Mapping[str, Sequence[str]]) -> str:
    """
    Return the guest of ``backup`` for a trial start: under another name, without network cards, on other images.

    :param stacks: for each disk the image that takes what is written, and those below it.
    """
    root = copy.deepcopy(ET.fromstring(renewed(backup.definition, name, {})))  # noqa: S314 - as above
    devices = root.find("devices")
    for device in [] if devices is None else list(devices):
        target = device.find("target")
        to_the_host = device.tag in ("serial", "console") and device.get("type") not in ("pty", "null")
        if device.tag in ("interface", "hostdev") or to_the_host:
            devices.remove(device)  # type: ignore[union-attr]
        elif device.tag == "disk" and target is not None and target.get("dev") in stacks:
            top, *below = stacks[str(target.get("dev"))]
            use_image(device, top, below)
    return ET.tostring(root, encoding="unicode")
