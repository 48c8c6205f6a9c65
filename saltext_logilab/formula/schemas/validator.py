"""
A validator for a subset of JSON Schema 2020-12 that tells all that is wrong at once.

The subset: ``type``, ``enum``, ``const``, ``properties``, ``required``, ``additionalProperties``, ``propertyNames``,
``minProperties``, ``maxProperties``, ``dependentRequired``, ``items``, ``minItems``, ``maxItems``, ``uniqueItems``,
``minLength``, ``maxLength``, ``pattern``, ``minimum``, ``maximum``, ``exclusiveMinimum``, ``exclusiveMaximum``,
``multipleOf``, ``allOf``, ``anyOf``, ``oneOf``, ``not``, ``if``/``then``/``else``, and ``$ref`` to ``#`` or
``#/$defs/NAME``. ``writeOnly: true`` marks a secret: no message shows a value from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .problems import Problem, alternatives, nearest, show
from .references import Schema, resolved, target
from .secret import looks_secret
from .values import ASSERTIONS, TYPES, WORDS, types_of


@dataclass(frozen=True)
class Place:
    """Where a check stands: the whole schema, the path into the value, and whether what lies here is secret."""

    root: Schema
    path: tuple[str, ...]
    secret: bool = False

    def at(self, key: object) -> Place:
        """Return the place one step further."""
        return replace(self, path=(*self.path, str(key)))

    def wrong(self, message: str, value: Any) -> Problem:
        """Return the problem ``message`` with ``value``."""
        return Problem(self.path, f"{message}, not {show(value, self.secret)}")


def validate(schema: Schema, value: Any, path: tuple[str, ...] = ()) -> list[Problem]:
    """
    Return all that is wrong with ``value``, in the order of the schema.

    :param path: what stands before each problem's place.
    :raises FormulaError: the schema refers to a definition that it does not have.
    """
    return list(_check(schema, value, Place(schema, path)))


def _check(schema: Schema | bool, value: Any, place: Place) -> Iterator[Problem]:
    if isinstance(schema, bool):
        if not schema:
            yield Problem(place.path, "is not allowed here")
        return
    if schema.get("writeOnly"):
        place = replace(place, secret=True)
    for keyword, told in schema.items():
        if keyword in ASSERTIONS:
            kind, assertion = ASSERTIONS[keyword]
            message = assertion(told, value) if kind is None or TYPES[kind](value) else None
            if message:
                yield place.wrong(message, value)
        elif keyword in APPLICATORS:
            kind, applicator = APPLICATORS[keyword]
            if kind is None or TYPES[kind](value):
                yield from applicator(told, value, place, schema)


def _valid(schema: Schema, value: Any, place: Place) -> bool:
    return next(_check(schema, value, place), None) is None


def _ref(told: str, value: Any, place: Place, _schema: Schema) -> Iterator[Problem]:
    yield from _check(target(told, place.root), value, place)


def _properties(told: Schema, value: Mapping[Any, Any], place: Place, _schema: Schema) -> Iterator[Problem]:
    for key, schema in told.items():
        if key in value:
            yield from _check(schema, value[key], place.at(key))


def _required(told: list[str], value: Mapping[Any, Any], place: Place, _schema: Schema) -> Iterator[Problem]:
    for key in told:
        if key not in value:
            yield Problem((*place.path, key), "is missing")


def _additional(told: Schema | bool, value: Mapping[Any, Any], place: Place, schema: Schema) -> Iterator[Problem]:
    known = schema.get("properties", {})
    for key, one in value.items():
        if key in known:
            continue
        if not isinstance(key, str):
            yield Problem(place.at(key).path, f"is the key {key!r}, but keys must be texts: quote it")
        elif told is False:
            yield _unknown(key, one, place, known)
        else:
            yield from _check(told, one, place.at(key))


def _unknown(key: str, value: Any, place: Place, known: Schema) -> Problem:
    """Return the problem of a key that is not known; a value that may be a secret at the wrong place stays hidden."""
    hint = nearest(key, known)
    if not hint and (homes := [home for home in _homes(place.root, key) if home]):
        hint = f" (it is known under {homes[0]!r})"
    if not hint:
        hint = f" (known: {', '.join(known)})" if known else " (no key is allowed here)"
    near = next((resolved(known[one], place.root) for one in known if repr(one) in hint), {})
    secret = place.secret or bool(near.get("writeOnly")) or looks_secret(key, value)
    return Problem(place.at(key).path, f"is not a known key{hint}; its value is {show(value, secret)}")


def _homes(schema: Schema, key: str, path: str = "", root: Schema | None = None, depth: int = 0) -> Iterator[str]:
    """Yield the paths, at most six deep, under which ``key`` is known; ``NAME`` is a key that the user chooses."""
    root = root or schema
    schema = resolved(schema, root)
    if key in schema.get("properties", {}):
        yield path
    named = schema.get("additionalProperties")
    below = {**schema.get("properties", {}), **({"NAME": named} if isinstance(named, Mapping) else {})}
    for name, sub in below.items() if depth < 6 else ():
        yield from _homes(sub, key, f"{path}:{name}".lstrip(":"), root, depth + 1)


def _names(told: Schema, value: Mapping[Any, Any], place: Place, _schema: Schema) -> Iterator[Problem]:
    for key in value:
        if isinstance(key, str):
            for problem in _check(told, key, replace(place, path=(), secret=False)):
                yield Problem((*place.path, key), f"is no name that is allowed here: it {problem.message}")


def _dependent(told: Mapping[str, list[str]], value: Any, place: Place, _schema: Schema) -> Iterator[Problem]:
    for key, wanted in told.items():
        for other in wanted if key in value else ():
            if other not in value:
                yield Problem((*place.path, other), f"is missing, but {key!r} needs it")


def _items(told: Schema, value: list[Any], place: Place, _schema: Schema) -> Iterator[Problem]:
    for index, one in enumerate(value):
        yield from _check(told, one, place.at(index))


def _all(told: list[Schema], value: Any, place: Place, _schema: Schema) -> Iterator[Problem]:
    for one in told:
        yield from _check(one, value, place)


def _any(told: list[Schema], value: Any, place: Place, _schema: Schema) -> Iterator[Problem]:
    if not any(_valid(one, value, place) for one in told):
        yield from _none_fits(told, value, place)


def _one(told: list[Schema], value: Any, place: Place, _schema: Schema) -> Iterator[Problem]:
    fits = sum(_valid(one, value, place) for one in told)
    if fits == 0:
        yield from _none_fits(told, value, place)
    elif fits > 1:
        yield place.wrong("fits more than one alternative", value)


def _none_fits(told: list[Schema], value: Any, place: Place) -> Iterator[Problem]:
    """Yield the problems of the one alternative that ``value`` has the type of, else what the alternatives are."""
    branches = [(one, resolved(one, place.root)) for one in told]
    same = [one for one, branch in branches if any(TYPES[name](value) for name in types_of(branch))]
    if len(same) == 1:
        yield from _check(same[0], value, place)
    else:
        words = [branch.get("title") or _word(branch) for _, branch in branches]
        yield place.wrong(f"must be {alternatives(list(dict.fromkeys(words)))}", value)


def _word(schema: Schema) -> str:
    if "const" in schema or "enum" in schema:
        return alternatives([show(one) for one in schema.get("enum", [schema.get("const")])])
    word = alternatives([WORDS[name] for name in types_of(schema)] or ["another value"])
    return f"{word} that matches {schema['pattern']}" if "pattern" in schema else word


def _not(told: Schema, value: Any, place: Place, _schema: Schema) -> Iterator[Problem]:
    if _valid(told, value, place):
        yield place.wrong("must be another value", value)


def _if(told: Schema, value: Any, place: Place, schema: Schema) -> Iterator[Problem]:
    then = schema.get("then" if _valid(told, value, place) else "else", True)
    why = "" if isinstance(then, bool) else then.get("description", "")
    for problem in _check(then, value, place):
        yield replace(problem, message=f"{problem.message}: {why}") if why else problem


Applicator = Callable[[Any, Any, Place, Schema], Iterator[Problem]]
APPLICATORS: dict[str, tuple[str | None, Applicator]] = {
    "$ref": (None, _ref),
    "properties": ("object", _properties),
    "required": ("object", _required),
    "additionalProperties": ("object", _additional),
    "propertyNames": ("object", _names),
    "dependentRequired": ("object", _dependent),
    "items": ("array", _items),
    "allOf": (None, _all),
    "anyOf": (None, _any),
    "oneOf": (None, _one),
    "not": (None, _not),
    "if": (None, _if),
}
