"""Removing the older backups of a guest, so that what stays can be restored at any moment."""

from __future__ import annotations

from collections.abc import Iterable

from saltext_logilab.errors import UnavailableError
from saltext_logilab.guests import backups, storage
from saltext_logilab.guests.backups import Backup
from saltext_logilab.guests.connection import Connection
from saltext_logilab.guests.tasks.records import Task


def surplus(link: Connection, pool: str, guest: str, keep: int, tasks: Iterable[Task]) -> list[Backup]:
    """Return the backups of ``guest`` that may go, the newest first; those that a task needs may not."""
    known = backups.all_in(storage.folder(storage.file_pool(link, pool))).values()
    at_work = [one.spec for one in tasks if one.active and one.spec.get("pool") == pool]
    busy = {str(name) for spec in at_work for name in (*spec.get("chain", ()), spec.get("base")) if name}
    return backups.surplus([one for one in known if one.guest == guest], keep, busy)


def remove(link: Connection, pool: str, gone: Iterable[Backup]) -> None:
    """Remove backups in this order: checkpoint, manifest, images, so that none is offered that is not whole."""
    found = storage.file_pool(link, pool)
    folder = storage.folder(found)
    for one in gone:
        _forget_checkpoint(link, one)
        try:
            (folder / one.file).unlink(missing_ok=True)
            for image in one.images.values():
                (folder / image).unlink(missing_ok=True)
        except OSError as err:
            raise UnavailableError(f"{err.filename} cannot be removed: {err.strerror}") from err
    storage.refresh(found)


def _forget_checkpoint(link: Connection, backup: Backup) -> None:
    """Remove the checkpoint from the guest that runs; one that is off keeps it until it is gone."""
    for guest in link.listAllDomains():
        if guest.UUIDString() == backup.uuid and guest.isActive():
            for point in guest.listAllCheckpoints():
                if point.getName() == backup.checkpoint:
                    point.delete()
