"""
Take a snapshot inside a guest's own images (``virDomainSnapshotCreateXML``): of a running guest with its memory.

libvirtd does it in one call, so it goes on when the worker dies; that it is there is told by the guest's snapshots. It
cannot be called off: a guest is paused while its memory is saved, and runs on by itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from saltext_logilab.errors import ConfigurationError, LogilabError, RefusedError
from saltext_logilab.guests import connection, inventory
from saltext_logilab.guests.connection import Connection, Domain
from saltext_logilab.guests.definition import Disk
from saltext_logilab.guests.tasks import images, operation
from saltext_logilab.guests.tasks.operation import Operation, Phase, Seen
from saltext_logilab.guests.tasks.records import Task
from saltext_logilab.guests.wanted import NAME


def check(link: Connection, guest: str, snapshot: str, description: str | None) -> dict[str, object]:
    """
    Return the spec of a snapshot.

    :raises RefusedError: the guest or an image of it has such a snapshot, it has checkpoints, or disks that cannot hold
        one.
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
    if any(_holds(disk, snapshot) for disk in disks):
        raise RefusedError(f"an image of the guest {guest!r} holds a snapshot {snapshot!r} that libvirt does not know")
    return {"uuid": found.UUIDString(), "snapshot": snapshot, "description": description}


def _holds(disk: Disk, snapshot: str) -> bool:
    """Whether the image of a disk holds a snapshot."""
    told = images.info(Path(str(disk.source)))
    return any(one["name"] == snapshot for one in told.get("snapshots", ()))


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
        """Remove the images' part of a snapshot that libvirtd did not come to note before it was ended itself."""
        guest, snapshot = operation.domain(link, task), task.spec["snapshot"]
        if guest is None or snapshot in names(guest):
            return
        disks = [one for one in inventory.disks(guest) if one.format == "qcow2" and one.source and not one.readonly]
        if held := [one.target for one in disks if _holds(one, snapshot)]:
            flags = connection.libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE
            guest.snapshotCreateXML(_known_again(guest, snapshot, held, started=bool(guest.isActive())), flags).delete()


def _known_again(guest: Domain, snapshot: str, held: list[str], *, started: bool) -> str:
    """Return the definition by which libvirt knows a snapshot that is in the images."""
    state, memory = ("running", "internal") if started else ("shutoff", "no")
    disks = "".join(f"<disk name={quoteattr(one)} snapshot='internal'/>" for one in held)
    words = f"<name>{escape(snapshot)}</name><state>{state}</state><creationTime>{int(time.time())}</creationTime>"
    definition = guest.XMLDesc(connection.libvirt.VIR_DOMAIN_XML_SECURE)
    more = f"<memory snapshot='{memory}'/><disks>{disks}</disks>{definition}"
    return f"<domainsnapshot>{words}{more}</domainsnapshot>"
