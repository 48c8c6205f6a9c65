"""
The grains of a resource: what is known of it from outside, and what system it has inside.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from salt.utils import dictupdate
from salt.utils.data import traverse_dict_and_list

if TYPE_CHECKING:
    __resource__: dict[str, Any]
    __resource_funcs__: dict[str, Any]


def _all() -> dict[str, Any]:
    return dict(__resource_funcs__[f"{__resource__['type']}.grains"]())


def items() -> dict[str, Any]:
    """
    Return all grains.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' grains.items
    """
    return _all()


def ls() -> list[str]:
    """
    Return the names of all grains.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' grains.ls
    """
    return sorted(_all())


def item(*args: str) -> dict[str, Any]:
    """
    Return the grains of these names, empty where there is none.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker' grains.item image health
    """
    found = _all()
    return {name: traverse_dict_and_list(found, name, "") for name in args}


def get(key: str, default: Any = "", delimiter: str = ":") -> Any:
    """
    Return a grain, or a value in one by a path with colons; else ``default``.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker' grains.get labels:role
    """
    return traverse_dict_and_list(_all(), key, default, delimiter)


def has_value(key: str) -> bool:
    """
    Say whether a grain is there and not empty.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker' grains.has_value health
    """
    return bool(traverse_dict_and_list(_all(), key, False))


def filter_by(
    lookup_dict: dict[str, Any],
    grain: str = "os_family",
    merge: dict[str, Any] | None = None,
    default: str = "default",
    base: str | None = None,
) -> Any:
    """
    Return what a mapping has for the value of a grain, as Salt's own function does; for templates.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' grains.filter_by '{Debian: a, default: b}'
    """
    found = lookup_dict.get(str(traverse_dict_and_list(_all(), grain, "")), lookup_dict.get(default))
    told = dictupdate.update(copy.deepcopy(lookup_dict.get(base, {})), found or {}) if base else copy.deepcopy(found)
    return dictupdate.update(told or {}, merge) if merge else told
