"""Starting, stopping and forgetting guests."""

from __future__ import annotations

import time
from collections.abc import Callable

from saltext_logilab.errors import RefusedError
from saltext_logilab.guests import change, connection, inventory, storage
from saltext_logilab.guests.connection import Connection, Domain

PAUSE = 0.2
RESEND = 10.0  # seconds after which a guest that was still booting is told again to shut down


def state(domain: Domain) -> str:
    """Return how the guest stands: ``running``, ``paused``, ``shut off`` …"""
    number = int(domain.state()[0])
    return inventory.STATES[number] if number < len(inventory.STATES) else str(number)


def start(domain: Domain) -> None:
    """Let the guest run: started, resumed or woken, whatever it needs."""
    now = state(domain)
    if now == "paused":
        domain.resume()
    elif now == "suspended":
        domain.pMWakeup()
    elif now != "running":
        domain.create()


def stop(
    domain: Domain,
    timeout: float,
    *,
    force: bool,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """
    Shut the guest down and wait for it; with ``force`` its power is cut when it has not done so in time.

    :raises RefusedError: it runs on after ``timeout`` seconds.
    """
    begun = told = clock()
    if state(domain) == "paused" and not force:
        raise RefusedError(f"the guest {domain.name()!r} is paused and cannot shut itself down; force cuts its power")
    if timeout and state(domain) == "running":
        _tell(domain)
        while domain.isActive() and clock() - begun < timeout:
            pause(PAUSE)
            if clock() - told > RESEND:
                _tell(domain)
                told = clock()
    if not domain.isActive():
        return
    if not force:
        raise RefusedError(f"the guest {domain.name()!r} has not shut down within {timeout:g} s; force cuts its power")
    domain.destroy()


def _tell(domain: Domain) -> None:
    """Tell the guest to shut down; it may have done so this very moment."""
    try:
        domain.shutdown()
    except connection.libvirt.libvirtError:
        if domain.isActive():
            raise


def removable(link: Connection, domain: Domain) -> list[tuple[str, str]]:
    """
    Return the volumes (pool and name) of the guest's disks that could be deleted with it.

    :raises RefusedError: another guest has one of them, or one stands behind a disk of another guest.
    """
    known = inventory.volumes(link)
    found = []
    for disk in inventory.disks(domain):
        if disk.source not in known or disk.device != "disk" or disk.readonly or disk.shareable:
            continue
        others = [guest for guest in change.users(link, disk.source) if guest != domain.name()]
        others += storage.standing_on(link, disk.source)
        if others:
            raise RefusedError(f"{disk.source} of the guest {domain.name()!r} is used by {', '.join(others)} too")
        found.append((known[disk.source].pool, known[disk.source].name))
    return found


def forget(domain: Domain, *, saved: bool) -> None:
    """
    Remove the definition of a guest that is off, its firmware's variables kept; disks stay where they are.

    :param saved: remove the memory image of a guest that was saved, too.
    :raises RefusedError: there is such an image, and it shall not be removed.
    """
    known = connection.libvirt
    if domain.hasManagedSaveImage() and not saved:
        raise RefusedError(f"the memory of the guest {domain.name()!r} is saved and would be lost; force removes it")
    flags = known.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA | known.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    flags |= known.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM
    domain.undefineFlags(flags | (known.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE if saved else 0))
