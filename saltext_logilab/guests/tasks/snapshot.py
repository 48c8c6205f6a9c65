"""
Take a snapshot inside a guest's own images (``virDomainSnapshotCreateXML``): of a running guest with its memory.

libvirtd does it in one call, so it goes on when the worker dies; that it is there is told by the guest's snapshots. It
cannot be called off: a guest is paused while its memory is saved, and runs on by itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from xml.sax.saxutils import escape

from saltext_logilab.errors import ConfigurationError, LogilabError, RefusedError
from saltext_logilab.guests import connection, inventory
from saltext_logilab.guests.connection import Connection, Domain
from saltext_logilab.guests.tasks import operation
from saltext_logilab.guests.tasks.operation import Operation, Phase, Seen
from saltext_logilab.guests.tasks.records import Task
from saltext_logilab.guests.wanted import NAME


def check(link: Connection, guest: str, snapshot: str, description: str | None) -> dict[str, object]:
    """
    Return the spec of a snapshot.

    :raises RefusedError: the guest has such a snapshot, has checkpoints, or disks that cannot hold one.
    """
    if not NAME.fullmatch(snapshot):
        raise ConfigurationError(f"a snapshot's name has letters, digits and ._+- only, not {snapshot!r}")
    found = connection.find(link, guest)
    if snapshot in names(found):
        raise RefusedError(f"the guest {guest!r} has a snapshot {snapshot!r} already")
    if found.listAllCheckpoints():
        raise RefusedError(f"the guest {guest!r} has checkpoints of backups; libvirt takes no snapshot beside them")
    disks = [one for one in inventory.disks(found) if one.source and not one.readonly]
    wrong = [one.target for one in disks if one.format != "qcow2"]
    if wrong or not disks:
        raise RefusedError(
            f"snapshots need disks of format qcow2; of {guest!r} these are not: {', '.join(wrong) or 'any'}"
        )
    return {"uuid": found.UUIDString(), "snapshot": snapshot, "description": description}


def names(guest: Domain) -> list[str]:
    """Return the names of the guest's snapshots."""
    return [one.getName() for one in guest.listAllSnapshots()]


class Snapshot(Operation):
    """An internal snapshot."""

    def __init__(self, learn: Callable[..., None]) -> None:
        super().__init__(learn)
        self._thread: threading.Thread | None = None
        self._failure: str | None = None

    def begin(self, link: Connection, task: Task) -> None:  # noqa: ARG002 - the call blocks a connection of its own
        """Let libvirtd take it."""
        self._thread = threading.Thread(target=self._take, args=(task,), daemon=True)
        self._thread.start()

    def _take(self, task: Task) -> None:
        spec = task.spec
        told = f"<description>{escape(spec['description'])}</description>" if spec["description"] else ""
        try:
            with connection.opened(task.uri) as link:
                guest = operation.domain(link, task)
                if guest is None:
                    raise RefusedError("the guest is gone")
                guest.snapshotCreateXML(
                    f"<domainsnapshot><name>{escape(spec['snapshot'])}</name>{told}</domainsnapshot>"
                )
        except LogilabError as err:
            self._failure = str(err)

    def look(self, link: Connection, task: Task) -> Seen:
        """Return how it stands: by the call, by the guest's job, and by the snapshots that there are."""
        guest = operation.domain(link, task)
        if self._thread is not None and self._thread.is_alive():
            return Seen(Phase.WORKING)
        if guest is not None and task.spec["snapshot"] in names(guest):
            return Seen(Phase.DONE)
        if guest is not None and guest.isActive() and guest.jobStats().get("type", 0):
            return Seen(Phase.WORKING)
        return Seen(Phase.FAILED, self._failure or "the snapshot did not come to be")

    def stop(self, link: Connection, task: Task) -> bool:  # noqa: ARG002 - libvirt knows no way
        """Do nothing: it ends by itself."""
        return False

    def clean(self, link: Connection, task: Task) -> None:
        """Leave everything as it is: libvirt removes what a snapshot that failed has made."""
