"""
The configuration that functions and states of a resource read: that of its minion.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from salt.utils.data import traverse_dict_and_list

from saltext_logilab.within import pillars

if TYPE_CHECKING:
    __opts__: dict[str, Any]
    __resource__: dict[str, Any]
    __resource_funcs__: dict[str, Any]


def option(value: str, default: Any = "", **_: Any) -> Any:
    """
    Return a setting of the resource's minion, else one of the pillar, else ``default``.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' config.option saltenv
    """
    if value in __opts__ and value not in ("pillar", "grains"):
        return __opts__[value]
    return get(value, default)


def get(key: str, default: Any = "", delimiter: str = ":", **_: Any) -> Any:
    """
    Return a value of the grains, else one of the pillar, else ``default``, by a path with colons.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' config.get os
    """
    missing = object()
    grains = __resource_funcs__[f"{__resource__['type']}.grains"]()
    pillar = pillars.of(__opts__, str(__resource__["type"]), str(__resource__["id"]))
    for tree in (grains, pillar):
        found = traverse_dict_and_list(dict(tree), key, missing, delimiter)
        if found is not missing:
            return found
    return default
