"""
The backups in a storage pool: which there are, and which may go. They are made, verified and restored by tasks (see
``libvirt_task.backup``, ``verify`` and ``restore``).

Beside the images of each backup lies a manifest, so the pool tells by itself what is in it, on any host that has it.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from salt.exceptions import CommandExecutionError, SaltInvocationError

from saltext_logilab.errors import LogilabError
from saltext_logilab.guests import backups, connection, retention, storage
from saltext_logilab.guests import settings as guests_settings
from saltext_logilab.guests.connection import Connection
from saltext_logilab.guests.tasks import desk as desks

if TYPE_CHECKING:
    __opts__: dict[str, Any]

__func_alias__ = {"list_": "list"}


@contextlib.contextmanager
def _opened() -> Iterator[Connection]:
    try:
        with connection.opened(guests_settings.read(__opts__).uri) as link:
            yield link
    except LogilabError as err:
        raise CommandExecutionError(str(err)) from err


def list_(pool: str, name: str | None = None) -> list[dict[str, Any]]:
    """
    Return the backups in a pool, the oldest first.

    :param pool: the storage pool (its volumes are files).
    :param name: only those of this guest.
    :return: for each ``task`` (the id of the task that made it, which is its name), ``guest``, ``uuid``, ``at`` (the
        moment that it holds, Unix time), ``images`` by disk, ``full``, ``base`` (the backup that it stands on),
        ``checkpoint`` and ``verified`` (when it was last seen to start, or None).
    :raises CommandExecutionError: there is no such pool, or a manifest in it cannot be read.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_backup.list backups web
    """
    with _opened() as link:
        found = backups.all_in(storage.folder(storage.file_pool(link, str(pool))))
    return [backups.plain(one) for one in found.values() if name in (None, one.guest)]


def prune(name: str, pool: str, keep: int = 7, test: bool = False) -> list[str]:
    """
    Remove the older backups of a guest, and return their names; the newest stay, and all that they stand on.

    A backup with which a task is at work stays, too. The checkpoints of those that go are removed from the guest, if it
    runs here.

    :param name: the guest.
    :param pool: the storage pool.
    :param keep: so many stay, at least 1.
    :param test: only say which would go.
    :raises CommandExecutionError: there is no such pool, or something in it cannot be read or removed.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_backup.prune web backups keep=14 test=True
    """
    if isinstance(keep, bool) or not isinstance(keep, int) or keep < 1:
        raise SaltInvocationError(f"keep must be a whole number of at least 1, not {keep!r}")
    with _opened() as link, desks.opened(guests_settings.read(__opts__), Path(__opts__["conf_file"])) as desk:
        gone = retention.surplus(link, str(pool), str(name), keep, desk.records.all())
        if not test:
            retention.remove(link, str(pool), gone)
    return [one.task for one in gone]
