"""
Storage pools of libvirt, as far as guests need them: there, active, and started with the host.

Other kinds of pools than folders are defined by hand; the state starts them all the same.

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


def present(name: str, path: str | None = None, autostart: bool | None = True) -> dict[str, Any]:
    """
    Have an active storage pool. One that is there is adopted; one that lies elsewhere is an error, and is not moved.

    name
        The pool.
    path
        The folder for its volumes; a new pool needs it, and it is made where it is missing.
    autostart
        Whether it starts with the host; None for as it is.

    .. code-block:: yaml

        default:
          libvirt_pool.present:
            - path: /var/lib/libvirt/images
    """
    try:
        with connection.opened(guests_settings.read(__opts__).uri) as link:
            changes = pools.plan(link, name, path, autostart)
            if not changes:
                return _answer(name, True, f"the pool {name} is as it shall be")
            if __opts__["test"]:
                return _answer(name, None, f"the pool {name} would be changed", changes)
            pools.apply(link, name, changes)
    except LogilabError as err:
        return _answer(name, False, str(err))
    return _answer(name, True, f"the pool {name} is changed", changes)
