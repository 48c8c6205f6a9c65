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


def items(*args: str, **options: Any) -> dict[str, Any]:
    """
    Return the pillar, or the keys of it that are named; Salt masks the values unless ``unmask=True``.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' pillar.items
    """
    found = _all()
    told = {name: traverse_dict_and_list(found, name, "") for name in args} if args else found
    return dict(pillars.shown(told, options.get("unmask")))


def item(*args: str, **options: Any) -> dict[str, Any]:
    """
    Return the values of these keys, empty where there is none; masked unless ``unmask=True``.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' pillar.item haproxy
    """
    return items(*args, **options)


def get(key: str, default: Any = "", merge: bool = False, delimiter: str = ":", **options: Any) -> Any:
    """
    Return a value of the pillar by a path with colons; else ``default``. Masked on a command line but for
    ``unmask=True``.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' pillar.get haproxy:config
    """
    found = traverse_dict_and_list(_all(), key, default, delimiter)
    if merge and isinstance(found, dict) and isinstance(default, dict):
        found = dictupdate.update(copy.deepcopy(default), found)
    return pillars.shown(found, options.get("unmask"))


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
