"""
The guests of this host as targets of their own (Salt 3008): which there are, and which are refused and why.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from salt.exceptions import SaltInvocationError

from saltext_logilab.guests import settings, targets
from saltext_logilab.within import salted
from saltext_logilab.within.rules import Reserved

if TYPE_CHECKING:
    __opts__: dict[str, Any]
    __pillar__: dict[str, Any]
    __salt__: dict[str, Any]

__func_alias__ = {"list_": "list"}


def list_() -> dict[str, Any]:
    """
    Return the targets by id with their guest, its state and its agent, and the ids that are refused, with the reason.

    ``error`` says why libvirt cannot be asked; empty where it can.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_targets.list
    """
    pillar = __pillar__.get(__opts__.get("resource_pillar_key") or "resources") or {}
    if targets.TYPE not in pillar:
        raise SaltInvocationError("the pillar has no mapping resources: {libvirt: …}: no guest is a target")
    with salted.errors():
        rule = targets.read(pillar[targets.TYPE])
        reserved = Reserved.told(__opts__["id"], (pillar[targets.TYPE] or {}).get("reserved") or {})
        return targets.Targets(patience=0).look(settings.read(__opts__).uri, rule, __opts__["id"], reserved).summary()


def refresh() -> bool:
    """
    Let the minion look at its guests and register them at its masters, where no engine does.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_targets.refresh
    """
    return bool(__salt__["event.fire"]({}, "resource_refresh"))
