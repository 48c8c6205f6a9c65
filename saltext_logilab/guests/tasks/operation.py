"""What every kind of task has in common: how it looks from outside, and the guest that it works on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from saltext_logilab.errors import RefusedError
from saltext_logilab.guests import connection
from saltext_logilab.guests.connection import Connection, Domain
from saltext_logilab.guests.tasks.records import Task


class Phase(Enum):
    """How the work stands, by what libvirt says."""

    WORKING = "working"
    READY = "ready"  # nothing is left but to finish it
    DONE = "done"
    FAILED = "failed"  # it is over, and nothing of it is in force
    LOST = "lost"  # it is over, and nobody can tell how


@dataclass(frozen=True)
class Seen:
    """What was seen at one look; sizes in bytes."""

    phase: Phase
    reason: str | None = None
    done: int = 0
    total: int = 0


class Operation(ABC):
    """
    A kind of work on a guest that libvirt owns: it goes on when the one who began it dies.

    :meth:`look` relies on the record and on libvirt alone, so that any worker can take over from a dead one.
    """

    def __init__(self, learn: Callable[..., None]) -> None:
        """``learn(key=value)`` adds to the task's spec, durably."""
        self.learn = learn

    @abstractmethod
    def begin(self, link: Connection, task: Task) -> None:
        """Begin; what is going to be made is learnt before it is made."""

    @abstractmethod
    def look(self, link: Connection, task: Task) -> Seen:
        """Return how it stands."""

    @abstractmethod
    def stop(self, link: Connection, task: Task) -> bool:
        """Tell libvirt to end it, the guest being as it was before; False where there is nothing to end (yet)."""

    @abstractmethod
    def clean(self, link: Connection, task: Task) -> None:
        """Remove what it has made, when it has not been done."""

    def complete(self, link: Connection, task: Task) -> None:  # noqa: B027 - most have nothing to add
        """Add what belongs to a work that is done, before the record says so; it may be called again."""

    def limited(self, task: Task) -> bool:  # noqa: ARG002 - most are, from begin to end
        """Whether the limits of time and progress count at this point of the work."""
        return True

    def finish(self, link: Connection, task: Task) -> None:  # noqa: B027 - most have nothing to finish
        """Finish what is ready."""


def domain(link: Connection, task: Task) -> Domain | None:
    """Return the guest of ``task`` where it is; None where it is not."""
    try:
        return link.lookupByUUIDString(task.spec["uuid"])
    except connection.libvirt.libvirtError as err:
        if err.get_error_code() != connection.libvirt.VIR_ERR_NO_DOMAIN:
            raise
        return None


def running(link: Connection, guest: str) -> Domain:
    """
    Return the running guest called ``guest``.

    :raises GuestError: there is none.
    :raises RefusedError: it does not run.
    """
    found = connection.find(link, guest)
    if not found.isActive():
        raise RefusedError(f"the guest {guest!r} does not run, and this work needs a running one")
    return found
