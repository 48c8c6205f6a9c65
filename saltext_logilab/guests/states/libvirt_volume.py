"""
Volumes of storage pools that a guest shall find when it comes, such as one for its data.

The disks of a guest are made by ``libvirt_guest.present`` itself.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from saltext_logilab.errors import LogilabError
from saltext_logilab.guests import connection, pools
from saltext_logilab.guests import settings as guests_settings
from saltext_logilab.outcomes import outcome as _answer

if TYPE_CHECKING:
    __opts__: dict[str, Any]


def present(
    name: str,
    pool: str,
    size_gib: float | None = None,
    format: str = "qcow2",  # noqa: A002 - people type it
    backing: str | None = None,
) -> dict[str, Any]:
    """
    Have a volume in a storage pool that holds at least so much. One that is there keeps its data; none is made smaller.

    name
        The volume.
    pool
        The pool, which is active.
    size_gib
        What it shall hold; a new one needs it, or ``backing``. A smaller one grows, unless a guest that runs writes it.
    format
        ``qcow2`` or ``raw``; one that is there has to have it.
    backing
        The volume of the same pool that a new one begins as a copy of: it holds the difference only.

    .. code-block:: yaml

        archive.qcow2:
          libvirt_volume.present:
            - pool: default
            - size_gib: 200
    """
    try:
        want = pools.read_volume(pool, name, size_gib, format)
        with connection.opened(guests_settings.read(__opts__).uri) as link:
            todo = pools.plan_volume(link, want, backing)
            if not todo.changes:
                return _answer(name, True, f"the volume {name} is as it shall be")
            if __opts__["test"]:
                return _answer(name, None, f"the volume {name} would be changed", todo.changes)
            pools.apply_volume(link, want, todo)
    except LogilabError as err:
        return _answer(name, False, str(err))
    return _answer(name, True, f"the volume {name} is changed", todo.changes)
