"""
Tell each minion that manages containers or guests which ids are not to be had, so that it registers none of them.

Salt takes every id that a minion registers: one that is another minion's, or that another minion's resource has, would
be answered by both. This external pillar adds ``resources:<type>:reserved`` where a minion's pillar has the type: the
ids of the accepted minions and of others' resources that could be ids of its own.

.. code-block:: yaml

    ext_pillar:
      - resource_ids: {}

What was refused stands in the minion's log, in ``docker_targets.list`` and ``libvirt_targets.list``, and in the events
``salt/logilab/containers/refused`` and ``salt/logilab/guests/refused``.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from saltext_logilab.containers import mines
from saltext_logilab.within import ids

if TYPE_CHECKING:
    __opts__: dict[str, Any]

TYPES = ("docker", "libvirt")


def ext_pillar(minion_id: str, pillar: dict[str, Any], *_: Any) -> dict[str, Any]:
    """
    Return the reserved ids of the types that the minion's pillar has.

    minion_id
        The minion that asks.
    pillar
        What its pillar has so far.
    """
    tree = pillar.get(__opts__.get("resource_pillar_key") or "resources")
    if not isinstance(tree, dict) or not (wanted := [one for one in TYPES if one in tree]):
        return {}
    minions, owned = set(mines.accepted_keys(__opts__)) - {minion_id}, mines.resources(__opts__)
    found: dict[str, Any] = {}
    for one in wanted:
        template = str((tree[one] or {}).get("id") or ids.TEMPLATE)
        ending = f".{minion_id}" if template.endswith(".{minion}") else ""
        others = {key: owner for (kind, key), owner in owned.items() if owner != minion_id and key.endswith(ending)}
        found[one] = {"reserved": {"minions": sorted(key for key in minions if key.endswith(ending)), "owned": others}}
    return {"resources": found}
