"""
How defaults and pillar become one: the merge of layers, and the defaults that a schema states.

In a schema ``x-merge`` says how a key's values from two layers become one: of mappings ``deep`` (key by key, the
default) or ``replace``; of lists ``replace`` (the default), ``append`` or ``unique`` (append what is not there yet).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .references import Schema, fitting, items, member, resolved
from .values import canonical, copied, types_of

STRATEGIES = {"object": ("deep", "replace"), "array": ("replace", "append", "unique")}


def merge(schema: Schema, lower: Any, upper: Any, root: Schema | None = None) -> Any:
    """Return ``lower`` overlaid with ``upper`` as ``schema`` says; neither is changed."""
    root = root or schema
    schema = fitting(schema, upper, root)
    strategy = schema.get("x-merge")
    if isinstance(lower, Mapping) and isinstance(upper, Mapping) and strategy != "replace":
        both = {
            key: merge(member(schema, key), lower[key], value, root) if key in lower else copied(value)
            for key, value in upper.items()
        }
        return {**copied(lower), **both}
    if isinstance(lower, list) and isinstance(upper, list) and strategy in ("append", "unique"):
        return copied([*lower, *(upper if strategy == "append" else _new(lower, upper))])
    return copied(upper)


def _new(lower: list[Any], upper: list[Any]) -> list[Any]:
    there = {canonical(one) for one in lower}
    return [one for one in upper if canonical(one) not in there]


def fill(schema: Schema, value: Any, root: Schema | None = None) -> Any:
    """
    Return ``value`` with the defaults of all keys that it lacks, at every depth.

    Where the schema allows a mapping as well as nothing, nothing is an empty mapping.
    """
    root = root or schema
    schema = fitting(schema, value, root)
    if value is None and {"object", "null"} <= set(types_of(schema)):
        value = {}
    if isinstance(value, Mapping):
        lacking = {key: resolved(one, root) for key, one in schema.get("properties", {}).items() if key not in value}
        defaults = {key: copied(one["default"]) for key, one in lacking.items() if "default" in one}
        return {key: fill(member(schema, key), one, root) for key, one in {**value, **defaults}.items()}
    if isinstance(value, list):
        return [fill(items(schema), one, root) for one in value]
    return value
