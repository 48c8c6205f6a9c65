"""
Long work on the guests of this host: it is recorded, goes on without the minion, shows itself and can be stopped.

A function that starts one answers with the task's id at once. libvirt itself does the work; a worker outside of the
minion follows it. Whatever is restarted meanwhile, the record tells the truth afterwards: ``done``, ``failed`` (and
why), ``cancelled``, or ``lost`` where nobody can tell. A guest has one task at a time.

While a task goes on, the minion fires ``salt/logilab/guests/<minion>/<task>/progress``, at most every
``progress_interval`` seconds, and at its end ``…/ended``. The events say what :func:`list_` says; they are for people
to look at: nothing shall be decided by them.

Minion configuration, all of it optional:

.. code-block:: yaml

    logilab:
      guests:
        uri: qemu:///system
        progress_interval: 5

.. versionadded:: 0.1.0
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from salt.exceptions import CommandExecutionError, SaltInvocationError

from saltext_logilab.errors import LogilabError
from saltext_logilab.guests import connection
from saltext_logilab.guests import settings as guests_settings
from saltext_logilab.guests.tasks import backup as backups
from saltext_logilab.guests.tasks import clone as clones
from saltext_logilab.guests.tasks import convert as conversions
from saltext_logilab.guests.tasks import copy_disk as copies
from saltext_logilab.guests.tasks import desk as desks
from saltext_logilab.guests.tasks import limits
from saltext_logilab.guests.tasks import migrate as migrations
from saltext_logilab.guests.tasks import resize as growths
from saltext_logilab.guests.tasks import restore as restores
from saltext_logilab.guests.tasks import snapshot as snapshots
from saltext_logilab.guests.tasks import verify as verifications
from saltext_logilab.guests.tasks.desk import Desk
from saltext_logilab.guests.tasks.records import ACTIVE, ENDED, Order

if TYPE_CHECKING:
    __opts__: dict[str, Any]

VERIFY_STALL = 3600.0  # seconds that the check of one image may take

__func_alias__ = {"list_": "list"}


@contextlib.contextmanager
def _desk() -> Iterator[Desk]:
    """Give the tasks of this host; what goes wrong becomes Salt's error."""
    try:
        with desks.opened(guests_settings.read(__opts__), Path(__opts__["conf_file"])) as desk:
            yield desk
    except LogilabError as err:
        raise CommandExecutionError(str(err)) from err


def _start(kind: str, guest: str, check: Callable[[Any], dict[str, Any]], policy: limits.Limits) -> str:
    """Check, record and start a task."""
    with _desk() as desk:
        uri = guests_settings.read(__opts__).uri
        with connection.opened(uri) as link:
            spec = check(link)
        return desk.start(Order(kind, str(guest), uri, spec), policy)


def copy_disk(
    name: str,
    disk: str,
    pool: str,
    pivot: bool = False,
    bandwidth: int = 0,
    stall: float = limits.STALL,
    seconds_per_gib: float = limits.SECONDS_PER_GIB,
) -> str:
    """
    Copy a disk of a running guest into a new qcow2 volume, and return the id of the task.

    The copy is that of the moment at which it ends. If the task does not come to its end, the volume is removed.

    :param name: the guest.
    :param disk: the disk's target, such as ``vda``.
    :param pool: the storage pool for the copy (its volumes are files).
    :param pivot: let the guest go on with the copy; its old disk stays where it is.
    :param bandwidth: bytes a second; 0 for as fast as it goes.
    :param stall: give up after so many seconds without progress; 0 for never.
    :param seconds_per_gib: give up when it takes longer than this for each GiB; 0 for never.
    :raises CommandExecutionError: guest, disk or pool do not allow it, or the guest has a task already.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_task.copy_disk web vda fast
        salt kvm1 libvirt_task.copy_disk web vda fast pivot=True bandwidth=50000000
    """
    options: dict[str, object] = {"pivot": bool(pivot), "bandwidth": _bandwidth(bandwidth)}
    policy = limits.Limits(stall, seconds_per_gib)
    return _start("copy_disk", name, lambda link: copies.check(link, name, str(disk), str(pool), options), policy)


def backup(
    name: str,
    pool: str,
    checkpoint: str | None = None,
    since: str | None = None,
    incremental: bool = False,
    stall: float = limits.STALL,
    seconds_per_gib: float = limits.SECONDS_PER_GIB,
) -> str:
    """
    Back up all disks of a running guest into new qcow2 volumes, and return the id of the task.

    The guest is not stopped; the backup is that of the moment at which it begins. If the task does not come to its
    end, volumes and checkpoint are removed.

    :param name: the guest.
    :param pool: the storage pool for the backup (its volumes are files).
    :param checkpoint: make a checkpoint of this name, so that a later backup can go on from here.
    :param since: copy only what has changed since the checkpoint of this name, of which the pool has a backup.
    :param incremental: copy only what has changed since the newest backup in the pool, with a checkpoint for the next;
        a full one where there is none, or where the disks have no checkpoints (raw ones).
    :param stall: give up after so many seconds without progress; 0 for never.
    :param seconds_per_gib: give up when it takes longer than this for each GiB; 0 for never.
    :raises CommandExecutionError: guest, disks, pool or checkpoints do not allow it, or the guest has a task already.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_task.backup web backups checkpoint=monday
        salt kvm1 libvirt_task.backup web backups checkpoint=tuesday since=monday
        salt kvm1 libvirt_task.backup web backups incremental=True
    """
    policy = limits.Limits(stall, seconds_per_gib)
    if incremental and (checkpoint or since):
        raise SaltInvocationError("incremental chooses checkpoint and since by itself")
    wish = backups.Wish(checkpoint, since, bool(incremental))
    return _start("backup", name, lambda link: backups.check(link, name, str(pool), wish), policy)


def restore(
    backup: str,
    name: str,
    pool: str,
    target: str | None = None,
    stall: float = limits.STALL,
    seconds_per_gib: float = limits.SECONDS_PER_GIB,
) -> str:
    """
    Restore a backup as a new guest, and return the id of the task.

    The guest gets the name, a UUID and MACs of its own; it is defined, and not started. Its disks stand alone: they
    need the backup no more. Passwords of its definition are not in the backup. If the task does not come to its end,
    nothing of the guest is left.

    :param backup: the backup's name (``libvirt_backup.list``).
    :param name: what the new guest is called.
    :param pool: the pool with the backups.
    :param target: the pool for the new disks (its volumes are files); by default the same.
    :param stall: give up after so many seconds without progress; 0 for never.
    :param seconds_per_gib: give up when it takes longer than this for each GiB; 0 for never.
    :raises CommandExecutionError: there is no such backup or pool, an image is gone or not what it has to be, there is
        no room, or there is such a guest already.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_task.restore 20261123T101500-1a2b3c4d web-restored backups target=default
    """
    told = (str(pool), str(backup), str(name), str(target or pool))
    return _start("restore", name, lambda link: restores.check(link, *told), limits.Limits(stall, seconds_per_gib))


def verify(backup: str, pool: str, seconds: float = 20, timeout: float = 300) -> str:
    """
    Verify a backup, and return the id of the task: its images are whole, and a guest starts from them.

    The guest for that has another name, no network cards, and images of its own for what it writes; it is destroyed in
    the end. Either its agent answers, or it runs on for some seconds and has read from its disks. The backup itself is
    not changed, but for the note in its manifest when it was verified.

    :param backup: the backup's name (``libvirt_backup.list``).
    :param pool: the pool with the backups.
    :param seconds: how long a guest has to run whose agent does not answer.
    :param timeout: seconds that the guest has for all of it.
    :raises CommandExecutionError: there is no such backup or pool, an image is gone or not what it has to be, or the
        guest whose backup it is has a task already.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_task.verify 20261123T101500-1a2b3c4d backups seconds=60
    """
    with _desk() as desk:
        uri = guests_settings.read(__opts__).uri
        with connection.opened(uri) as link:
            guest, spec = verifications.check(link, str(pool), str(backup))
        spec |= {"seconds": limits.number("seconds", seconds), "timeout": limits.number("timeout", timeout)}
        return desk.start(Order("verify", guest, uri, spec), limits.Limits(VERIFY_STALL, 0))


def snapshot(name: str, snapshot: str, description: str | None = None) -> str:
    """
    Take a snapshot inside the images of a guest, with the memory of one that runs, and return the id of the task.

    A running guest pauses while its memory is saved. It cannot be called off, and makes no progress that could be seen.

    :param name: the guest; its disks are of the format qcow2, and it has no checkpoints of backups.
    :param snapshot: what the snapshot is called.
    :param description: a line for people.
    :raises CommandExecutionError: the guest does not allow it, has such a snapshot, or has a task already.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_task.snapshot web before-upgrade
    """
    told = (name, str(snapshot), description and str(description))
    return _start("snapshot", name, lambda link: snapshots.check(link, *told), limits.Limits(0, 0))


def clone(
    name: str,
    clone: str,
    pool: str,
    stall: float = limits.STALL,
    seconds_per_gib: float = limits.SECONDS_PER_GIB,
) -> str:
    """
    Make a new guest that is like another one, and return the id of the task.

    The new guest gets name, UUID and MACs of its own, and disks that stand alone; it is defined, and not started. What
    the system in the guest calls itself stays as it was. If the task does not come to its end, nothing of it is left.

    :param name: the guest; it is off, and stays so until the task has ended.
    :param clone: what the new guest is called.
    :param pool: the pool for its disks (its volumes are files).
    :param stall: give up after so many seconds without progress; 0 for never.
    :param seconds_per_gib: give up when it takes longer than this for each GiB; 0 for never.
    :raises CommandExecutionError: the guest runs or has a task, there is such a guest, a disk cannot be copied or lies
        in no pool, or there is no room.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_task.clone template web2 default
    """
    policy = limits.Limits(stall, seconds_per_gib)
    return _start("clone", name, lambda link: clones.check(link, name, str(clone), str(pool)), policy)


def convert(
    pool: str,
    volume: str,
    name: str,
    format: str = "qcow2",  # noqa: A002 - people type it
    target: str | None = None,
    stall: float = limits.STALL,
    seconds_per_gib: float = limits.SECONDS_PER_GIB,
) -> str:
    """
    Copy a volume that no running guest has into a new one of another format or in another pool; return the task's id.

    :param pool: the pool of the volume.
    :param volume: the volume; what it stands on is taken in.
    :param name: what the new volume is called; it appears when it is whole.
    :param format: ``qcow2`` or ``raw``.
    :param target: the pool for it (its volumes are files); by default the same.
    :param stall: give up after so many seconds without progress; 0 for never.
    :param seconds_per_gib: give up when it takes longer than this for each GiB; 0 for never.
    :raises CommandExecutionError: there is no such volume or pool, the new volume is there already, a running guest has
        the old one, what it stands on lies in no pool, or there is no room.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_task.convert default web-vda.qcow2 web-vda.raw format=raw target=fast
    """
    told = (str(pool), str(volume), str(target or pool), {"name": str(name), "format": str(format)})
    policy = limits.Limits(stall, seconds_per_gib)
    return _start("convert", f"{pool}/{volume}", lambda link: conversions.check(link, *told), policy)


def resize_disk(name: str, disk: str, size_gib: float) -> str:
    """
    Let a disk of a guest grow, while it runs or is off, and return the id of the task; no disk is made smaller.

    :param name: the guest.
    :param disk: the disk's target, such as ``vda``.
    :param size_gib: what it shall hold.
    :raises CommandExecutionError: there is no such guest or disk, it has that size or a larger one, or the guest has a
        task already.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_task.resize_disk web vda 40
    """
    check = limits.number("size_gib", size_gib)
    return _start("resize_disk", name, lambda link: growths.check(link, name, str(disk), check), limits.Limits())


def migrate(
    name: str,
    to: str,
    transport: str | None = None,
    bandwidth: int = 0,
    unsafe: bool = False,
    stall: float = limits.STALL,
    seconds_per_gib: float = limits.SECONDS_PER_GIB,
) -> str:
    """
    Move a running guest to another host while it runs, and return the id of the task.

    The disks have to lie on storage that both hosts share. The two libvirtds do it between themselves (peer to peer).
    Whatever happens meanwhile, the guest runs on one of them.

    :param name: the guest.
    :param to: the other host's libvirt, as this host reaches it: ``qemu+tls://kvm2/system``.
    :param transport: the URI for the guest's memory; by default libvirt chooses.
    :param bandwidth: bytes a second (libvirt counts in MiB); 0 for as fast as it goes.
    :param unsafe: move it although libvirt cannot see that its disks are shared.
    :param stall: give up after so many seconds without progress; 0 for never.
    :param seconds_per_gib: give up when it takes longer than this for each GiB; 0 for never.
    :raises CommandExecutionError: the guest cannot move, the other host does not answer or has such a guest, or the
        guest has a task already.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_task.migrate web qemu+tls://kvm2/system
    """
    options = {
        "to": str(to),
        "transport": transport and str(transport),
        "bandwidth": _bandwidth(bandwidth),
        "unsafe": bool(unsafe),
    }
    policy = limits.Limits(stall, seconds_per_gib)
    return _start("migrate", name, lambda link: migrations.check(link, name, options), policy)


def list_(state: str | None = None) -> list[dict[str, Any]]:
    """
    Return the tasks of this host, the newest first.

    A task whose worker has gone is settled first: a new worker looks at what libvirt says of it.

    :param state: only those in this state: ``pending``, ``running``, ``done``, ``failed``, ``cancelled`` or ``lost``.
    :return: for each ``task`` (its id), ``kind``, ``guest``, ``state``, ``reason``, ``percent``, ``bytes`` of
        ``total``, ``rate`` (bytes a second) and ``left`` (seconds, or None where nobody can tell).
    :raises SaltInvocationError: there is no such state.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_task.list state=running
    """
    if state not in (None, *ACTIVE, *ENDED):
        raise SaltInvocationError(f"state must be one of {', '.join((*ACTIVE, *ENDED))}, not {state!r}")
    with _desk() as desk:
        return desk.all(state)


def status(task: str) -> dict[str, Any]:
    """
    Return all that is known of a task.

    :return: what :func:`list_` says of it, ``created``, ``started`` and ``ended`` (Unix time), ``worker`` (how it is
        followed, ``unit`` or ``process``, or None), ``cancel`` (why it shall end) and ``spec`` (what it was told and
        has made).
    :raises CommandExecutionError: there is no such task.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_task.status 20261123T101500-1a2b3c4d
    """
    with _desk() as desk:
        return desk.status(task)


def wait(task: str, timeout: float = 10) -> dict[str, Any]:
    """
    Wait until a task has ended, at most ``timeout`` seconds, and return what :func:`status` returns.

    For longer times use the runner ``libvirt_task.wait``, which asks again and again.

    :raises CommandExecutionError: there is no such task.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_task.wait 20261123T101500-1a2b3c4d timeout=30
    """
    with _desk() as desk:
        return desk.wait(task, timeout)


def cancel(task: str) -> dict[str, Any]:
    """
    Call a task off, and return what :func:`status` returns; it is ``cancelled`` a moment later.

    The guest stays as it was before, and what the task has made is removed. A task that comes to its end meanwhile is
    ``done``.

    :raises CommandExecutionError: there is no such task, or it has ended.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_task.cancel 20261123T101500-1a2b3c4d
    """
    with _desk() as desk:
        return desk.cancel(task, "by request")


def log(task: str) -> list[str]:
    """
    Return what has happened to a task, a line each, with times in UTC.

    :raises CommandExecutionError: there is no such task.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_task.log 20261123T101500-1a2b3c4d
    """
    with _desk() as desk:
        return desk.log(task)


def prune(days: float = 30) -> list[str]:
    """
    Forget the tasks that ended more than ``days`` ago, and return their ids; what they have made stays.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_task.prune days=7
    """
    with _desk() as desk:
        return desk.prune(days)


def _bandwidth(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise SaltInvocationError(f"bandwidth must be a whole number of bytes a second, at least 0, not {value!r}")
    return value
