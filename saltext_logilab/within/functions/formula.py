"""
The data of a formula for a resource, in its templates.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from salt.exceptions import CommandExecutionError

if TYPE_CHECKING:
    __minion__: dict[str, Any]


def data(name: str, saltenv: str | None = None) -> dict[str, Any]:
    """
    Return the data of a formula, of the resource's grains and pillar; for the templates of its states.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' state.show_sls haproxy
    """
    if "__minion__" not in globals():
        raise CommandExecutionError("the data of a formula are to be had in the templates of states alone")
    found: dict[str, Any] = __minion__["formula.data"](name, saltenv)
    return found
