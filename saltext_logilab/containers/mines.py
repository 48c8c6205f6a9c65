"""
What this area reads of a master's caches, for Salt 3006, 3007 and 3008: mine entries, accepted keys, pillar.

3006 and 3007 keep a minion's mine in the bank ``minions/<id>``, 3008 in the bank ``mine``. No job is sent.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import salt.cache
import salt.key
import salt.utils.minions
from salt.utils.mine import MINE_ITEM_ACL_DATA, MINE_ITEM_ACL_ID

from saltext_logilab.containers.fleet import Entry

FUNCTION = "docker_ports"


def entries(opts: Mapping[str, Any], minions: Collection[str] | None = None) -> Iterator[Entry]:
    """Yield the table of each minion that has sent one, or of those in ``minions``, one at a time."""
    cache = salt.cache.factory(opts)
    accepted = set(accepted_keys(opts))
    for minion, bank, key in _places(cache):
        if minions is not None and minion not in minions:
            continue
        mine = cache.fetch(bank, key)
        table = mine.get(FUNCTION) if isinstance(mine, Mapping) else None
        if isinstance(table, Mapping) and MINE_ITEM_ACL_ID in table:
            table = table.get(MINE_ITEM_ACL_DATA)
        if table is not None:
            yield Entry(minion, table, float(cache.updated(bank, key) or 0.0), minion in accepted)


def _places(cache: Any) -> Iterator[tuple[str, str, str]]:
    """Yield each minion with the bank and the key of its mine; the newer layout first, where a master was upgraded."""
    found = set(cache.list("mine") or ())
    yield from ((minion, "mine", minion) for minion in sorted(found))
    for minion in sorted(set(cache.list("minions") or ()) - found):
        if cache.contains(f"minions/{minion}", "mine"):
            yield minion, f"minions/{minion}", "mine"


def accepted_keys(opts: Mapping[str, Any]) -> list[str]:
    """Return the ids of the minions whose keys are accepted."""
    with salt.key.get_key(opts) as keys:
        return [str(one) for one in keys.list_status("accepted").get("minions", ())]


def chosen(opts: Mapping[str, Any], tgt: str, tgt_type: str) -> set[str]:
    """Return the accepted minions that a target means, as the master's caches tell."""
    found = salt.utils.minions.CkMinions(dict(opts)).check_minions(tgt, tgt_type)
    return set(found["minions"])


def pillar(opts: Mapping[str, Any], minion: str) -> Mapping[str, Any]:
    """Return the pillar of a minion as the master has last made it; empty where it keeps none."""
    found = salt.utils.minions.get_minion_data(minion, opts)[2]
    return found if isinstance(found, Mapping) else {}


def resources(opts: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """Return the type and the id of each resource that is registered here (Salt 3008), with its minion."""
    from salt.utils.resource_registry import get_registry  # noqa: PLC0415 - unknown to Salt 3006 and 3007

    registry = get_registry(dict(opts))
    found = (
        (kind, one) for kind in registry._store.resource_types() for one in registry.get_resource_ids_by_type(kind)
    )
    owned = {key: registry.get_managing_minions_for_srn(*key) for key in found}
    return {key: minions[0] for key, minions in owned.items() if minions}
