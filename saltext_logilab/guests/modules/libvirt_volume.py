"""
The volumes of this host's storage pools.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from salt.exceptions import CommandExecutionError

from saltext_logilab.errors import LogilabError
from saltext_logilab.guests import connection, storage
from saltext_logilab.guests import settings as guests_settings

if TYPE_CHECKING:
    __opts__: dict[str, Any]

__func_alias__ = {"list_": "list"}


def list_(pool: str, name: str | None = None) -> dict[str, dict[str, Any]]:
    """
    Return the volumes of a pool by name, or the one called ``name`` where there is such a one.

    :param pool: an active storage pool.
    :param name: only this volume.
    :return: for each ``path``, ``format``, ``capacity`` and ``allocation`` in bytes, and ``backing``: the path of what
        it stands on, None where it stands alone.
    :raises CommandExecutionError: libvirt does not answer, or has no such active pool.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_volume.list default
        salt kvm1 libvirt_volume.list default debian-12.qcow2
    """
    try:
        with connection.opened(guests_settings.read(__opts__).uri) as link:
            return storage.listing(link, str(pool), name and str(name))
    except LogilabError as err:
        raise CommandExecutionError(str(err)) from err
