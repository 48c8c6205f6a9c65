"""
What a formula's schema has to be: written in the validator's subset, whole, and with secrets marked.

This is for authors: it is looked at by ``salt-formula check`` and by the tests, not at each rendering.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from saltext_logilab.formula.schemas.formula import Formula
from saltext_logilab.formula.schemas.merging import STRATEGIES
from saltext_logilab.formula.schemas.problems import FormulaError, Problem, nearest
from saltext_logilab.formula.schemas.references import Schema, resolved
from saltext_logilab.formula.schemas.secret import looks_secret
from saltext_logilab.formula.schemas.validator import APPLICATORS, validate
from saltext_logilab.formula.schemas.values import ASSERTIONS, TYPES, types_of

ANNOTATIONS = {
    *("$schema", "$id", "$comment", "$defs", "title", "description", "default", "examples", "deprecated"),
    *("writeOnly", "x-merge", "then", "else"),
}
# Below these a schema is a condition, which describes nothing and lets all other keys pass.
CONDITIONS = {"if", "then", "else", "not"}
KEYWORDS = {*ANNOTATIONS, *ASSERTIONS, *APPLICATORS}
Path = tuple[str, ...]


def check(formula: Formula) -> list[Problem]:
    """Return all that is wrong with the files of ``formula``."""
    schema = formula.schema
    top = [] if schema.get("type") == "object" else [Problem((), "must say type: object at its top")]
    if not formula.systems:
        top.append(Problem((), "supports no system: defaults.yaml names none under os_family"))
    try:
        return [*top, *_walk(schema, (), schema), *_layers(formula)]
    except FormulaError as err:
        return [*top, Problem((), str(err))]


def subschemas(schema: Schema) -> Iterator[tuple[Path, Schema]]:
    """Yield each schema within ``schema``, with its path."""
    for keyword in ("properties", "$defs"):
        for key, one in schema.get(keyword, {}).items():
            yield (keyword, key), one
    for keyword in ("additionalProperties", "propertyNames", "items", "not", "if", "then", "else"):
        if isinstance(schema.get(keyword), Mapping):
            yield (keyword,), schema[keyword]
    for keyword in ("allOf", "anyOf", "oneOf"):
        for index, one in enumerate(schema.get(keyword, ())):
            yield (keyword, str(index)), one


def _walk(schema: Any, path: Path, root: Schema) -> Iterator[Problem]:
    if not isinstance(schema, Mapping):
        yield Problem(path, f"must be a mapping, not {schema!r}")
        return
    yield from _keywords(schema, path)
    yield from _annotations(schema, path, root)
    for step, one in subschemas(schema):
        if step[0] in ("properties", "$defs") and not CONDITIONS & {*path, *step}:
            yield from _described((*path, *step), one, root)
        if step[0] != "$defs" or not path:
            yield from _walk(one, (*path, *step), root)


def _keywords(schema: Schema, path: Path) -> Iterator[Problem]:
    for key in schema:
        if key not in KEYWORDS:
            yield Problem((*path, key), f"is no keyword of the subset{nearest(key, KEYWORDS)}")
    for name in types_of(schema):
        if name not in TYPES:
            yield Problem((*path, "type"), f"is no type: {name!r}{nearest(name, TYPES)}")
    if "properties" in schema and "additionalProperties" not in schema and not CONDITIONS & {*path}:
        yield Problem(path, "must say additionalProperties, else a misspelt key would pass")


def _annotations(schema: Schema, path: Path, root: Schema) -> Iterator[Problem]:
    found = resolved(schema, root)
    strategies = [one for name in types_of(found) for one in STRATEGIES.get(name, ())]
    if "x-merge" in schema and schema["x-merge"] not in strategies:
        yield Problem((*path, "x-merge"), f"must be one of {strategies}, not {schema['x-merge']!r}")
    shown = [("examples", one) for one in schema.get("examples", ())]
    shown += [("default", schema["default"])] if "default" in schema else []
    for keyword, value in shown:
        # The definitions of the whole schema, as a part may refer to them.
        yield from validate({**schema, "$defs": root.get("$defs", {})}, value, (*path, keyword))


def _described(path: Path, schema: Any, root: Schema) -> Iterator[Problem]:
    if not isinstance(schema, Mapping):
        return
    found = resolved(schema, root)
    if not found.get("description"):
        yield Problem(path, "has no description")
    if not {"type", "enum", "const", "oneOf", "anyOf"} & set(found):
        yield Problem(path, "has no type")
    if "string" in types_of(found) and looks_secret(path[-1], "x") and not found.get("writeOnly"):
        yield Problem(path, "has the name of a secret, but is not marked by writeOnly: true")


def _layers(formula: Formula) -> Iterator[Problem]:
    for layer, systems in formula.layers.items():
        for name, values in systems.items():
            yield from validate({**formula.schema, "required": []}, values or {}, (layer, name))
