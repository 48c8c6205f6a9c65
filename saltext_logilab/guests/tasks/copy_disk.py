"""
Copy a disk of a running guest into a new volume (``virDomainBlockCopy``), and let it go on with the copy if wanted.

The copy is that of one moment, its end. Block jobs live in qemu: they survive workers and libvirtd.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from xml.sax.saxutils import quoteattr

from saltext_logilab.errors import RefusedError
from saltext_logilab.guests import connection, definition, storage
from saltext_logilab.guests.connection import Connection
from saltext_logilab.guests.tasks import operation
from saltext_logilab.guests.tasks.operation import Operation, Phase, Seen
from saltext_logilab.guests.tasks.records import Task


def check(link: Connection, guest: str, disk: str, pool: str, options: dict[str, object]) -> dict[str, object]:
    """
    Return the spec of a copy of ``disk``.

    :param options: ``pivot`` and ``bandwidth`` (bytes a second, 0 for as fast as it goes).
    :raises RefusedError: guest, disk or pool do not allow it.
    """
    found = operation.running(link, guest)
    disks = {one.target: one for one in definition.parse(found.XMLDesc()).disks}
    if disk not in disks:
        raise RefusedError(f"the guest {guest!r} has no disk {disk!r} (it has {', '.join(sorted(disks)) or 'none'})")
    if disks[disk].device != "disk" or disks[disk].source is None:
        raise RefusedError(f"{disk!r} of the guest {guest!r} is no disk with data, but a {disks[disk].device}")
    if found.blockJobInfo(disk):
        raise RefusedError(f"the disk {disk!r} of the guest {guest!r} is busy with a block job already")
    room = storage.room(link, pool)
    size = found.blockInfo(disk)
    if size[1] > room:
        raise RefusedError(f"{disk!r} of {guest!r} takes {size[1]} bytes, the pool {pool!r} has {room}")
    return {"uuid": found.UUIDString(), "disk": disk, "pool": pool, **options}


@dataclass(frozen=True)
class Place:
    """Where a disk's data are, and where they are being copied to."""

    source: str | None
    mirror: str | None
    ready: bool


def place(text: str, target: str) -> Place:
    """Return where the disk ``target`` is, by the domain XML ``text``."""
    for disk in ET.fromstring(text).iterfind("devices/disk"):  # noqa: S314 - it comes from libvirtd
        if (name := disk.find("target")) is not None and name.get("dev") == target:
            source, mirror = disk.find("source"), disk.find("mirror")
            to = None if mirror is None else mirror.find("source")
            return Place(
                None if source is None else source.get("file"),
                None if to is None else to.get("file"),
                mirror is not None and mirror.get("ready") == "yes",
            )
    return Place(None, None, ready=False)


class CopyDisk(Operation):
    """A block copy."""

    def begin(self, link: Connection, task: Task) -> None:
        """Make the volume and let qemu copy into it."""
        known, spec = connection.libvirt, task.spec
        guest = operation.running(link, task.guest)
        name = f"{task.guest}-{spec['disk']}-{task.id}.qcow2"  # nobody else's: it holds the task's id
        self.learn(volume=name)
        path = storage.make(link, storage.NewVolume(spec["pool"], name, guest.blockInfo(spec["disk"])[0]))
        self.learn(path=path)
        xml = f"<disk type='file'><driver type='qcow2'/><source file={quoteattr(path)}/></disk>"
        flags = known.VIR_DOMAIN_BLOCK_COPY_REUSE_EXT | known.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB
        parameters = {known.VIR_DOMAIN_BLOCK_COPY_BANDWIDTH: spec["bandwidth"]} if spec["bandwidth"] else {}
        guest.blockCopy(spec["disk"], xml, parameters, flags)

    def look(self, link: Connection, task: Task) -> Seen:
        """Return how it stands: by the mirror in the guest's XML."""
        guest, path, disk = operation.domain(link, task), task.spec.get("path"), task.spec["disk"]
        if guest is None or path is None:
            return Seen(Phase.FAILED, "the guest is gone" if guest is None else "the copy did not begin")
        now = place(guest.XMLDesc(), disk)
        if now.source == path:
            return Seen(Phase.DONE)
        if not guest.isActive():
            return Seen(Phase.FAILED, "the guest was shut off meanwhile")
        if now.mirror == path:
            job = guest.blockJobInfo(disk)
            return Seen(Phase.READY if now.ready else Phase.WORKING, None, job.get("cur", 0), job.get("end", 0))
        if task.spec.get("finishing") and not task.spec["pivot"]:
            return Seen(Phase.DONE)
        room = storage.room(link, task.spec["pool"])
        return Seen(Phase.FAILED, f"the copy ended before it was whole (free in its pool: {room} bytes)")

    def finish(self, link: Connection, task: Task) -> None:
        """End the job that has both disks alike: with the copy in use, or as it is."""
        guest = operation.domain(link, task)
        if guest is not None:
            self.learn(finishing=True)
            pivot = connection.libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT if task.spec["pivot"] else 0
            guest.blockJobAbort(task.spec["disk"], pivot)

    def stop(self, link: Connection, task: Task) -> bool:
        """Abort the job; the guest goes on with its own disk."""
        guest, path = operation.domain(link, task), task.spec.get("path")
        if guest is None or path is None or place(guest.XMLDesc(), task.spec["disk"]).mirror != path:
            return False
        guest.blockJobAbort(task.spec["disk"], 0)
        return True

    def clean(self, link: Connection, task: Task) -> None:
        """Remove the volume."""
        if "volume" in task.spec:
            storage.remove(link, task.spec["pool"], task.spec["volume"])
