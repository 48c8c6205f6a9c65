"""
Move a running guest to another host (``virDomainMigrateToURI3``, peer to peer): its disks must be shared.

The two libvirtds do it between themselves, so that it goes on when the worker dies. How it ended is told by the place
where the guest is, not by what the call returned.
"""

from __future__ import annotations

import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

from saltext_logilab.errors import LogilabError, RefusedError, UnavailableError
from saltext_logilab.guests import connection, definition
from saltext_logilab.guests.connection import Connection
from saltext_logilab.guests.sizes import MIB
from saltext_logilab.guests.tasks import operation
from saltext_logilab.guests.tasks.operation import Operation, Phase, Seen
from saltext_logilab.guests.tasks.records import Task


def check(link: Connection, guest: str, options: dict[str, Any]) -> dict[str, object]:
    """
    Return the spec of a migration.

    :param options: ``to`` (the other host's libvirt, as this host reaches it), ``transport`` (a migration URI, or
        None), ``bandwidth`` (bytes a second, 0 for as fast as it goes) and ``unsafe`` (the disks are shared although
        libvirt cannot see it).
    :raises RefusedError: the guest cannot move, or the other host has it already.
    :raises UnavailableError: the other host does not answer.
    """
    found = operation.running(link, guest)
    made = definition.parse(found.XMLDesc())
    if made.passthrough:
        raise RefusedError(f"the guest {guest!r} holds {made.passthrough} devices of this host and cannot move")
    uuid = found.UUIDString()
    with connection.opened(options["to"]) as other:
        if any(guest == one.name() or uuid == one.UUIDString() for one in other.listAllDomains()):
            if _host(other) == _host(link):
                raise RefusedError(f"{options['to']} is the host on which the guest {guest!r} runs")
            raise RefusedError(f"{options['to']} has a guest {guest!r} already")
    return {"uuid": uuid, "persistent": bool(found.isPersistent()), **options}


def _host(link: Connection) -> str | None:
    """Return the UUID of a host; libvirtd may take seconds to answer, as it tries all its emulators the first time."""
    return ET.fromstring(link.getCapabilities()).findtext("host/uuid")  # noqa: S314 - it comes from libvirtd


class Migrate(Operation):
    """A live migration."""

    def __init__(self, learn: Callable[..., None]) -> None:
        super().__init__(learn)
        self._thread: threading.Thread | None = None
        self._failure: str | None = None

    def begin(self, link: Connection, task: Task) -> None:  # noqa: ARG002 - the call blocks a connection of its own
        """Let the two hosts begin."""
        self.learn(begun=True)
        self._thread = threading.Thread(target=self._migrate, args=(task,), daemon=True)
        self._thread.start()

    def _migrate(self, task: Task) -> None:
        try:
            with connection.opened(task.uri) as link:
                operation.running(link, task.guest).migrateToURI3(task.spec["to"], _parameters(task), _flags(task))
        except LogilabError as err:
            self._failure = str(err)

    def look(self, link: Connection, task: Task) -> Seen:
        """Return how it stands: by the job here, and by the place where the guest is when there is none."""
        guest = operation.domain(link, task)
        job = guest.jobStats() if guest is not None and guest.isActive() else {}
        if job.get("type", 0) != connection.libvirt.VIR_DOMAIN_JOB_NONE or self._calling():
            return Seen(Phase.WORKING, None, job.get("data_processed", 0), job.get("data_total", 0))
        if guest is not None and guest.isActive():
            return Seen(Phase.FAILED, self._failure or "the migration ended with the guest on its old host")
        try:
            with connection.opened(task.spec["to"]) as other:
                arrived = operation.domain(other, task)
                there = arrived is not None and bool(arrived.isActive())
        except UnavailableError as err:
            return Seen(Phase.LOST, f"the guest has left this host, and the other one cannot be asked: {err}")
        if there:
            return Seen(Phase.DONE)
        return Seen(Phase.FAILED, self._failure or "the guest runs on neither host: it was shut off meanwhile")

    def _calling(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def stop(self, link: Connection, task: Task) -> bool:
        """Abort the job; the guest runs on here."""
        guest = operation.domain(link, task)
        if guest is None or not guest.isActive() or not guest.jobStats().get("type", 0):
            return False
        guest.abortJob()
        return True

    def clean(self, link: Connection, task: Task) -> None:
        """Leave everything as it is: libvirt removes what a migration that failed has made."""


def _parameters(task: Task) -> dict[str, Any]:
    known, spec = connection.libvirt, task.spec
    parameters: dict[str, Any] = {}
    if spec["transport"]:
        parameters[known.VIR_MIGRATE_PARAM_URI] = spec["transport"]
    if spec["bandwidth"]:
        parameters[known.VIR_MIGRATE_PARAM_BANDWIDTH] = max(1, spec["bandwidth"] // MIB)
    return parameters


def _flags(task: Task) -> int:
    known, spec = connection.libvirt, task.spec
    flags = known.VIR_MIGRATE_LIVE | known.VIR_MIGRATE_PEER2PEER
    if spec["persistent"]:
        flags |= known.VIR_MIGRATE_PERSIST_DEST | known.VIR_MIGRATE_UNDEFINE_SOURCE
    return int(flags | (known.VIR_MIGRATE_UNSAFE if spec["unsafe"] else 0))
