"""
The pillar of a resource: that of its minion, without the other resources' own, with its own laid over it.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from salt.utils import dictupdate
from salt.utils.data import traverse_dict_and_list

from saltext_logilab.within import pillars

if TYPE_CHECKING:
    __opts__: dict[str, Any]
    __resource__: dict[str, Any]


def _all() -> dict[str, Any]:
    return pillars.of(__opts__, str(__resource__["type"]), str(__resource__["id"]))


def items(*args: str) -> dict[str, Any]:
    """
    Return the pillar, or the keys of it that are named.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' pillar.items
    """
    found = _all()
    return {name: traverse_dict_and_list(found, name, "") for name in args} if args else found


def item(*args: str) -> dict[str, Any]:
    """
    Return the values of these keys, empty where there is none.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' pillar.item haproxy
    """
    return items(*args)


def get(key: str, default: Any = "", merge: bool = False, delimiter: str = ":", **_: Any) -> Any:
    """
    Return a value of the pillar by a path with colons; else ``default``.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' pillar.get haproxy:config
    """
    found = traverse_dict_and_list(_all(), key, default, delimiter)
    if merge and isinstance(found, dict) and isinstance(default, dict):
        return dictupdate.update(copy.deepcopy(default), found)
    return found


def ls() -> list[str]:
    """
    Return the first keys of the pillar.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' pillar.ls
    """
    return sorted(_all())


def keys(key: str, delimiter: str = ":") -> list[str]:
    """
    Return the keys of a mapping in the pillar.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' pillar.keys haproxy
    """
    found = traverse_dict_and_list(_all(), key, {}, delimiter)
    return sorted(found) if isinstance(found, dict) else []
