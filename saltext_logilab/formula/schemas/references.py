"""How one finds the schema of a part of a value: through ``$ref``, by key, by index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .problems import FormulaError
from .values import TYPES, types_of

Schema = Mapping[str, Any]
DEEPEST = 32


def target(reference: str, root: Schema) -> Schema:
    """
    Return what ``reference`` (``#`` or ``#/$defs/NAME``) names in ``root``.

    :raises FormulaError: there is no such definition.
    """
    if reference == "#":
        return root
    definitions = root.get("$defs", {})
    name = reference.removeprefix("#/$defs/")
    if name == reference or name not in definitions:
        raise FormulaError(f"the schema refers to {reference!r}, which is not in its $defs")
    found: Schema = definitions[name]
    return found


def resolved(schema: Schema, root: Schema) -> Schema:
    """Return ``schema`` with what its ``$ref`` names; its own keywords override those."""
    for _ in range(DEEPEST):
        if "$ref" not in schema:
            return schema
        own = {key: value for key, value in schema.items() if key != "$ref"}
        schema = {**target(schema["$ref"], root), **own}
    raise FormulaError(f"the schema's $ref leads back to itself: {schema['$ref']!r}")


def fitting(schema: Schema, value: Any, root: Schema) -> Schema:
    """Return ``schema`` resolved, with the first of its alternatives whose type ``value`` has."""
    schema = resolved(schema, root)
    for keyword in ("oneOf", "anyOf"):
        for one in schema.get(keyword, ()):
            branch = fitting(one, value, root)
            if any(TYPES[name](value) for name in types_of(branch)):
                return {**schema, **branch}
    return schema


def member(schema: Schema, key: str) -> Schema:
    """Return the schema of the member ``key`` of a mapping of the (resolved) ``schema``; empty when it has none."""
    if key in schema.get("properties", {}):
        found: Schema = schema["properties"][key]
        return found
    others = schema.get("additionalProperties", {})
    return others if isinstance(others, Mapping) else {}


def items(schema: Schema) -> Schema:
    """Return the schema of the items of a list of the (resolved) ``schema``; empty when it has none."""
    found = schema.get("items", {})
    return found if isinstance(found, Mapping) else {}
