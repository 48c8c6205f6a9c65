"""
The pillar of a resource.

It is that of its minion, which alone may ask for it; what stands there of resources is left out, but for what is meant
for this one: ``resources:<type>:pillar:<id>``, which is laid over the rest. Nothing that a resource tells of itself,
such as its labels, selects any of it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import salt.utils.dictupdate
import salt.utils.resources

try:
    from salt.utils import secret
except ImportError:  # the first of 3008 masked nothing
    secret = None


def of(opts: Mapping[str, Any], resource_type: str, resource_id: str) -> dict[str, Any]:
    """Return the pillar of a resource."""
    whole = opts.get("pillar") or {}
    key = salt.utils.resources.resource_pillar_key(opts)
    tree = salt.utils.resources.pillar_resources_tree(opts).get(resource_type)
    own = (tree.get("pillar") or {}).get(resource_id) if isinstance(tree, Mapping) else None
    rest = {name: copy.deepcopy(value) for name, value in whole.items() if name != key}
    return dict(salt.utils.dictupdate.update(rest, copy.deepcopy(dict(own)))) if isinstance(own, Mapping) else rest


def shown(found: Any, unmask: bool | None) -> Any:
    """Return what of the pillar may be shown: masked as Salt's own functions do, but for templates and ``unmask``."""
    if secret is None:
        return found
    if unmask is None:
        unmask = not secret.mask_pillar.get()
    return secret.expose(found) if unmask else secret.serial(found)
