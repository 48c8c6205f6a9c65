"""
Back up the disks of a running guest into new volumes (``virDomainBackupBegin``, push mode), full or since a checkpoint.

The copy is that of the moment of its begin. The job lives in qemu: it survives workers and libvirtd.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from saltext_logilab.errors import RefusedError
from saltext_logilab.guests import backups, connection, definition, storage
from saltext_logilab.guests.connection import Connection, Domain
from saltext_logilab.guests.tasks import operation
from saltext_logilab.guests.tasks.operation import Operation, Phase, Seen
from saltext_logilab.guests.tasks.records import Task


@dataclass(frozen=True)
class Wish:
    """
    Where a backup begins, and whether a later one can go on from it.

    :param checkpoint: the name of a checkpoint to make, from which a later backup can go on.
    :param since: the name of a checkpoint: only what has changed since is copied.
    :param incremental: choose both: since the newest backup in the pool from which the guest can go on, if there is
        one.
    """

    checkpoint: str | None = None
    since: str | None = None
    incremental: bool = False


def check(link: Connection, guest: str, pool: str, wish: Wish) -> dict[str, object]:
    """
    Return the spec of a backup of all disks that the guest can write.

    :raises RefusedError: guest, disks, pool or checkpoints do not allow it.
    """
    found = operation.running(link, guest)
    folder = storage.folder(storage.file_pool(link, pool))
    all_disks = definition.parse(found.XMLDesc()).disks
    disks = [one for one in all_disks if one.device == "disk" and one.source and not one.readonly]
    if not disks:
        raise RefusedError(f"the guest {guest!r} has no disk to back up")
    raw = [one.target for one in disks if one.format != "qcow2"]
    points = {one.getName() for one in found.listAllCheckpoints()}
    earlier = [one for one in backups.all_in(folder).values() if one.uuid == found.UUIDString()]
    checkpoint, since = wish.checkpoint, wish.since
    if wish.incremental and not raw:
        last = backups.latest_checkpoint(earlier, points)
        checkpoint = f"backup-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"
        since = last.checkpoint if last else None
    if raw and (checkpoint or since):
        raise RefusedError(f"checkpoints need disks of format qcow2; of {guest!r} these are not: {', '.join(raw)}")
    if checkpoint in points:
        raise RefusedError(f"the guest {guest!r} has a checkpoint {checkpoint!r} already")
    if since is not None and since not in points:
        raise RefusedError(f"the guest {guest!r} has no checkpoint {since!r} (it has {', '.join(points) or 'none'})")
    base = next((one.task for one in earlier if since is not None and one.checkpoint == since), None)
    if since is not None and base is None:
        raise RefusedError(f"the pool {pool!r} has no backup of {guest!r} with the checkpoint {since!r} to stand on")
    what = {"uuid": found.UUIDString(), "disks": [one.target for one in disks], "pool": pool, "base": base}
    return {**what, "checkpoint": checkpoint, "since": since}


class Backup(Operation):
    """A push backup."""

    def begin(self, link: Connection, task: Task) -> None:
        """Make the volumes, and the checkpoint, and let qemu copy into them."""
        known, spec = connection.libvirt, task.spec
        guest = operation.running(link, task.guest)
        names = {disk: f"{task.guest}-{disk}-{task.id}.qcow2" for disk in spec["disks"]}
        self.learn(volumes=names)
        paths = {
            disk: storage.make(link, storage.NewVolume(spec["pool"], name, guest.blockInfo(disk)[0]))
            for disk, name in names.items()
        }
        guest.jobStats(known.VIR_DOMAIN_JOB_STATS_COMPLETED)  # forgets how an earlier job ended
        point = None
        if spec["checkpoint"]:
            every = "".join(f"<disk name={quoteattr(disk)} checkpoint='bitmap'/>" for disk in names)
            point = (
                f"<domaincheckpoint><name>{escape(spec['checkpoint'])}</name><disks>{every}</disks></domaincheckpoint>"
            )
        inactive = guest.XMLDesc(known.VIR_DOMAIN_XML_INACTIVE)
        told = (task.id, task.guest, spec["uuid"], time.time(), inactive, names, spec["checkpoint"], spec["base"])
        backups.draft(storage.folder(storage.file_pool(link, spec["pool"])), backups.Backup(*told))
        self.learn(begun=True)
        flags = known.VIR_DOMAIN_BACKUP_BEGIN_REUSE_EXTERNAL
        guest.backupBegin(_description(guest, paths, spec["since"]), point, flags)

    def look(self, link: Connection, task: Task) -> Seen:
        """Return how it stands: by the guest's job, or by the last one that ended."""
        known, guest = connection.libvirt, operation.domain(link, task)
        if guest is None or not guest.isActive():
            return Seen(Phase.FAILED, "the guest was shut off meanwhile")
        if not task.spec.get("begun"):
            return Seen(Phase.FAILED, "the backup did not begin")
        job = guest.jobStats()
        if job.get("operation") == known.VIR_DOMAIN_JOB_OPERATION_BACKUP and job["type"] != known.VIR_DOMAIN_JOB_NONE:
            return Seen(Phase.WORKING, None, job.get("disk_processed", 0), job.get("disk_total", 0))
        last = guest.jobStats(known.VIR_DOMAIN_JOB_STATS_COMPLETED | known.VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED)
        if last.get("operation") != known.VIR_DOMAIN_JOB_OPERATION_BACKUP:
            return Seen(Phase.FAILED, "libvirt does not tell how the backup ended, so nobody knows that it is whole")
        if last["type"] == known.VIR_DOMAIN_JOB_COMPLETED and last.get("success", True):
            return Seen(Phase.DONE, None, last.get("disk_processed", 0), last.get("disk_total", 0))
        return Seen(Phase.FAILED, last.get("errmsg") or "libvirt ended the backup")

    def complete(self, link: Connection, task: Task) -> None:
        """Let the manifest appear: from now on there is such a backup."""
        backups.publish(storage.folder(storage.file_pool(link, task.spec["pool"])), task.guest, task.id)

    def stop(self, link: Connection, task: Task) -> bool:
        """Abort the job."""
        guest = operation.domain(link, task)
        if guest is None or guest.jobStats().get("operation") != connection.libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP:
            return False
        guest.abortJob()
        return True

    def clean(self, link: Connection, task: Task) -> None:
        """Remove the checkpoint and the volumes."""
        guest = operation.domain(link, task)
        if guest is not None and task.spec.get("begun") and task.spec["checkpoint"]:
            _remove_checkpoint(guest, task.spec["checkpoint"])
        backups.discard(storage.folder(storage.file_pool(link, task.spec["pool"])), task.guest, task.id)
        for name in task.spec.get("volumes", {}).values():
            storage.remove(link, task.spec["pool"], name)


def _description(guest: Domain, paths: dict[str, str], since: str | None) -> str:
    """Return the backup's XML: the disks in ``paths``, and none of the others."""
    told = ""
    for one in definition.parse(guest.XMLDesc()).disks:
        name = quoteattr(one.target)
        if one.target in paths:
            target = f"<target file={quoteattr(paths[one.target])}/><driver type='qcow2'/>"
            told += f"<disk name={name} backup='yes' type='file'>{target}</disk>"
        else:
            told += f"<disk name={name} backup='no'/>"
    older = f"<incremental>{escape(since)}</incremental>" if since else ""
    return f"<domainbackup mode='push'>{older}<disks>{told}</disks></domainbackup>"


def _remove_checkpoint(guest: Domain, name: str) -> None:
    for one in guest.listAllCheckpoints():
        if one.getName() == name:
            one.delete()
