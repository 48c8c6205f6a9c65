"""Let a disk of a guest grow, while it runs or is off."""

from __future__ import annotations

from dataclasses import replace

from saltext_logilab.errors import RefusedError
from saltext_logilab.guests import change, connection, wanted
from saltext_logilab.guests.connection import Connection
from saltext_logilab.guests.tasks import operation
from saltext_logilab.guests.tasks.held import Held
from saltext_logilab.guests.tasks.records import Task
from saltext_logilab.guests.wanted import Wanted


def check(link: Connection, guest: str, disk: str, size_gib: float) -> dict[str, object]:
    """
    Return the spec of a growth.

    :raises RefusedError: the guest has no such disk, it has that size already, or would have to become smaller.
    """
    found = connection.find(link, guest)
    want = {"disks": [{"target": disk, "size_gib": size_gib}]}
    growths = change.plan(link, wanted.read(guest, want)).growths
    if not growths:
        raise RefusedError(f"{disk} of the guest {guest!r} has that size already")
    return {"uuid": found.UUIDString(), "disk": disk, "old": growths[0].old, "new": growths[0].new, "want": want}


class ResizeDisk(Held):
    """A growth; done at once, whatever happens afterwards."""

    def work(self, link: Connection, task: Task) -> None:
        """Let it grow; nothing else of the guest is touched, also of one that is not defined for good."""
        change.apply(link, replace(change.plan(link, _want(task)), definition=None))

    def worked(self, link: Connection, task: Task) -> bool:
        """Whether nothing is left to grow."""
        return operation.domain(link, task) is not None and not change.plan(link, _want(task)).growths

    def clean(self, link: Connection, task: Task) -> None:
        """Leave the disk as it is: larger, or as it was."""


def _want(task: Task) -> Wanted:
    return wanted.read(task.guest, task.spec["want"])
