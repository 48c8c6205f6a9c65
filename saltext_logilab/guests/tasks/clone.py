"""Make a new guest that is like another one, which is off: its disks are copied, name, UUID and MACs are its own."""

from __future__ import annotations

from pathlib import Path

from saltext_logilab.errors import ConfigurationError, RefusedError
from saltext_logilab.guests import connection, inventory, storage
from saltext_logilab.guests.connection import Connection
from saltext_logilab.guests.tasks import images, operation
from saltext_logilab.guests.tasks.held import Held
from saltext_logilab.guests.tasks.records import Task
from saltext_logilab.guests.tasks.restore import remove_guest, remove_images, renewed
from saltext_logilab.guests.wanted import NAME


def check(link: Connection, guest: str, name: str, pool: str) -> dict[str, object]:
    """
    Return the spec of a clone ``name`` of ``guest``, with its disks in ``pool``.

    :raises RefusedError: the guest runs, a disk cannot be copied, there is no room, or there is such a guest.
    """
    if not NAME.fullmatch(name):
        raise ConfigurationError(f"a guest's name has letters, digits and ._+- only, not {name!r}")
    found = connection.find(link, guest)
    if found.isActive():
        raise RefusedError(f"the guest {guest!r} runs: only one that is off can be cloned (or restore a backup of it)")
    if any(one.name() == name for one in link.listAllDomains()):
        raise RefusedError(f"there is a guest {name!r} already")
    disks = [one for one in inventory.disks(found) if one.device == "disk" and one.source and not one.readonly]
    if wrong := [one.target for one in disks if one.kind not in ("file", "block") or one.shareable or not one.format]:
        raise RefusedError(f"these disks of {guest!r} cannot be copied: {', '.join(wrong)}")
    need = sum(images.in_pools(link, Path(str(one.source)), str(one.format)) for one in disks)
    if need > (room := storage.room(link, pool)):
        raise RefusedError(f"the disks of {guest!r} take {need} bytes, the pool {pool!r} has {room}")
    sources = {one.target: [one.source, one.format] for one in disks}
    return {"uuid": found.UUIDString(), "clone": name, "pool": pool, "sources": sources}


class Clone(Held):
    """A clone."""

    def work(self, link: Connection, task: Task) -> None:
        """Copy the disks into images that stand alone, then define the guest; its model must stay off meanwhile."""
        spec, known = task.spec, connection.libvirt
        folder = storage.folder(storage.file_pool(link, spec["pool"]))
        names = {disk: f"{spec['clone']}-{disk}-{task.id}.qcow2" for disk in spec["sources"]}
        self.learn(volumes=names)
        self.total = sum(images.in_pools(link, Path(path), kind) for path, kind in spec["sources"].values())
        for disk, (path, kind) in spec["sources"].items():
            to, before = folder / names[disk], self.done
            self.run("qemu-img", "convert", "-f", kind, "-O", "qcow2", path, str(to), growing=to)
            self.done = before + to.stat().st_size
        guest = operation.domain(link, task)
        if guest is None or guest.isActive():
            raise RefusedError(f"the guest {task.guest!r} was started or removed meanwhile")
        storage.refresh(storage.file_pool(link, spec["pool"]))
        paths = {disk: str(folder / name) for disk, name in names.items()}
        self.learn(defining=True)
        link.defineXML(renewed(guest.XMLDesc(known.VIR_DOMAIN_XML_INACTIVE), spec["clone"], paths))

    def clean(self, link: Connection, task: Task) -> None:
        """Remove the new guest, if it came to that, and its images."""
        if volumes := task.spec.get("volumes"):
            if task.spec.get("defining"):
                remove_guest(link, task.spec["clone"], volumes.values())
            remove_images(link, task.spec["pool"], volumes.values())
