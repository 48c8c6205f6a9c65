"""
The containers of this host as targets of their own (Salt 3008): which there are, and which are refused and why.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from salt.exceptions import SaltInvocationError

from saltext_logilab.containers import settings, targetrules, targets
from saltext_logilab.within import salted
from saltext_logilab.within.rules import Reserved

if TYPE_CHECKING:
    __opts__: dict[str, Any]
    __pillar__: dict[str, Any]
    __salt__: dict[str, Any]

__func_alias__ = {"list_": "list"}


def list_() -> dict[str, Any]:
    """
    Return the targets by id with their daemon, container and state, and the ids that are refused, with the reason.

    ``errors`` holds the daemons that cannot be asked; the containers of such a one are those that were known.

    CLI Example:

    .. code-block:: bash

        salt web1 docker_targets.list
    """
    pillar = __pillar__.get(__opts__.get("resource_pillar_key") or "resources") or {}
    if "docker" not in pillar:
        raise SaltInvocationError("the pillar has no mapping resources: {docker: …}: no container is a target")
    with salted.errors():
        rule, configured = targetrules.read(pillar["docker"]), settings.read(__opts__, __pillar__)
        reserved = Reserved.told(__opts__["id"], (pillar["docker"] or {}).get("reserved") or {})
        return targets.Targets().look(configured.daemons, rule, __opts__["id"], reserved).summary()


def refresh() -> bool:
    """
    Let the minion look at its containers and register them at its masters, where no engine does.

    CLI Example:

    .. code-block:: bash

        salt web1 docker_targets.refresh
    """
    return bool(__salt__["event.fire"]({}, "resource_refresh"))
