"""Make a guest from an image, and seed it: its disk is copied, it is defined, told who it is, and started."""

from __future__ import annotations

import uuid
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from saltext_logilab.errors import RefusedError
from saltext_logilab.guests import canonical, change, connection, storage, wanted
from saltext_logilab.guests.connection import Connection
from saltext_logilab.guests.sizes import GIB, MIB
from saltext_logilab.guests.tasks import fetch, images, operation
from saltext_logilab.guests.tasks.records import Task
from saltext_logilab.guests.tasks.restore import remove_images
from saltext_logilab.guests.tasks.seed import TARGETS, Seed

DISK = "vda"
KIND = "qcow2"
SEED_SIZE = MIB  # what an image of a seed takes at most


def check(link: Connection, name: str, image: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, object]:
    """
    Return the spec of a new guest ``name``.

    :param image: ``volume`` and ``from`` (its pool), the ``pool`` for the new disk, ``size_gib`` (None for the
        image's), ``linked`` (whether the disk holds its difference from the image only), and ``host`` (the libvirt of
        another host that has the image; None for this one).
    :param told: what a state would tell of the guest, but for its disks.
    :raises RefusedError: there is such a guest, no such pool or image, a guest writes the image, or there is no room.
    """
    wanted.read(name, told)  # what is wrong with it is told before anything is looked up
    if any(one.name() == name for one in link.listAllDomains()):
        raise RefusedError(f"there is a guest {name!r} already")
    source, size = _fetched(link, image) if image["host"] else _source(link, image)
    _check_networks(link, told.get("interfaces") or [])
    disk = {"target": DISK, "pool": image["pool"], "size_gib": image["size_gib"] or size / GIB}
    change.plan(link, wanted.read(name, {**told, "disks": [{**disk, "volume": f"{name}-{DISK}-new"}]}))
    return {
        "uuid": str(uuid.uuid4()),
        "pool": image["pool"],
        **source,
        "linked": bool(image["linked"]),
        "size_gib": image["size_gib"],
        "target": TARGETS[0],
        "told": dict(told),
    }


def _source(link: Connection, image: Mapping[str, Any]) -> tuple[dict[str, object], int]:
    """Return where the image is, and what it holds in bytes; :raises RefusedError: it cannot be copied."""
    pool, volume = image["from"], image["volume"]
    storage.refresh(storage.file_pool(link, pool))
    found = storage.volume(link, pool, volume)
    if found is None:
        raise RefusedError(f"the pool {pool!r} has no image {volume!r}")
    path, kind = str(found.path()), storage.image_format(found)
    if writing := [one for one in change.users(link, path) if connection.find(link, one).isActive()]:
        raise RefusedError(f"the image {volume!r} is written by {', '.join(writing)}")
    taken = images.in_pools(link, Path(path), kind)
    size = int(images.info(Path(path), kind)["virtual-size"])
    _check_room(link, image, 0 if image["linked"] else taken, size)
    return {"source": [path, kind]}, size


def _fetched(link: Connection, image: Mapping[str, Any]) -> tuple[dict[str, object], int]:
    """Return the same of an image that another host has."""
    if image["linked"]:
        raise RefusedError(f"the image {image['volume']!r} is at {image['host']}: a linked disk needs it here")
    found = fetch.look(image["host"], image["from"], image["volume"])
    again = found.size if found.format != KIND else 0  # the disk beside what has come
    _check_room(link, image, found.size + again, found.capacity)
    told = {"host": image["host"], "pool": image["from"], "volume": image["volume"], "size": found.size}
    return {"fetch": told, "source": [image["volume"], found.format]}, found.capacity


def _check_room(link: Connection, image: Mapping[str, Any], taken: int, size: int) -> None:
    """:raises RefusedError: the pool has no room for it, or ``size_gib`` is smaller than the image."""
    need, volume = SEED_SIZE + taken, image["volume"]
    if need > (room := storage.room(link, image["pool"])):
        raise RefusedError(f"a guest of the image {volume!r} takes {need} bytes, the pool {image['pool']!r} has {room}")
    if image["size_gib"] is not None and image["size_gib"] * GIB < size:
        raise RefusedError(f"the image {volume!r} holds {size} bytes: size_gib is too small for it")


def _check_networks(link: Connection, cards: Sequence[Mapping[str, Any]]) -> None:
    """:raises RefusedError: libvirt has no such network, or it is not active."""
    active = {one.name() for one in link.listAllNetworks(connection.libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE)}
    for name in (card["network"] for card in cards if "network" in card):
        if name not in active:
            raise RefusedError(f"there is no active network {name!r} (active: {', '.join(sorted(active)) or 'none'})")


class Create(Seed):
    """A new guest."""

    def work(self, link: Connection, task: Task) -> None:
        """Copy the image, make the seed, define the guest, and offer its key."""
        spec = task.spec
        folder = storage.folder(storage.file_pool(link, spec["pool"]))
        if "fetch" in spec:
            self._fetch(task, folder)
        else:
            self._copy(link, task, folder)
        storage.refresh(storage.file_pool(link, spec["pool"]))
        public = self.make_image(link, task)
        self.learn(step="define", defining=True)
        disk = {"target": DISK, "pool": spec["pool"], "volume": self.disk_name(task)}
        disk |= {"size_gib": spec["size_gib"]} if spec["size_gib"] is not None else {}
        told = {**spec["told"], "disks": [disk, self.seed_disk(link, task)]}
        told["xml"] = _with_uuid(told.get("xml"), spec["uuid"])
        change.apply(link, change.plan(link, wanted.read(task.guest, told)))
        self.offer(task, public)

    def disk_name(self, task: Task) -> str:
        """Return what the volume of the guest is called."""
        return f"{task.guest}-{DISK}-{task.id}.qcow2"

    def _copy(self, link: Connection, task: Task, folder: Path) -> None:
        """Make the disk: a copy of the image, or what stands on it."""
        (path, kind), to = task.spec["source"], folder / self.disk_name(task)
        self.learn(step="copy", volumes=[self.disk_name(task)])
        if task.spec["linked"]:
            self.run("qemu-img", "create", "-q", "-f", "qcow2", "-F", kind, "-b", path, str(to))
        else:
            self.total = images.in_pools(link, Path(path), kind)
            self.run("qemu-img", "convert", "-f", kind, "-O", "qcow2", path, str(to), growing=to)
            self.done = self.total

    def _fetch(self, task: Task, folder: Path) -> None:
        """Make the disk of an image that another host has."""
        told, kind, disk = task.spec["fetch"], task.spec["source"][1], self.disk_name(task)
        part = folder / f"{disk}.part"
        self.learn(step="fetch", volumes=[disk, part.name])
        self.total = told["size"]
        with connection.opened(told["host"]) as other:
            fetch.download(other, told["pool"], told["volume"], part, self._came)
        fetch.check(part, kind, told["size"])
        if kind == KIND:
            self.run("qemu-img", "check", "-q", "-f", kind, str(part))
            part.rename(folder / disk)
        else:
            self.run("qemu-img", "convert", "-f", kind, "-O", KIND, str(part), str(folder / disk))
            part.unlink()
        self.learn(volumes=[disk])

    def _came(self, size: int) -> None:
        self.done = size
        self.check_wanted()

    def clean(self, link: Connection, task: Task) -> None:
        """Have neither the guest nor its volumes."""
        guest, spec = operation.domain(link, task), task.spec
        known = connection.libvirt
        if guest is not None and spec.get("defining"):
            if guest.isActive():
                guest.destroy()
            flags = known.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA | known.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
            guest.undefineFlags(flags | known.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | known.VIR_DOMAIN_UNDEFINE_NVRAM)
        names = [*spec.get("volumes", []), *([spec["image"]] if "image" in spec else [])]
        if names:
            remove_images(link, spec["pool"], names)


def _with_uuid(xml: str | None, own: str) -> str:
    """Return the definition that was told with the UUID by which the guest is known from the start."""
    root = canonical.read(xml or "<domain/>")
    for one in root.findall("uuid"):
        root.remove(one)
    ET.SubElement(root, "uuid").text = own
    return canonical.text_of(root)
