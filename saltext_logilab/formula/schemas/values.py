"""What JSON Schema says of single values: the types, equality, and the keywords that look at one value alone."""

from __future__ import annotations

import datetime
import functools
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from .problems import alternatives, nearest, show

WORDS = {
    "object": "a mapping",
    "array": "a list",
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "empty",
}


def is_number(value: Any) -> bool:
    """Say whether ``value`` is a number; a boolean is none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, Mapping),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: is_number(value) and (isinstance(value, int) or value.is_integer()),
    "number": is_number,
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}


def types_of(schema: Mapping[str, Any]) -> list[str]:
    """Return the types that ``schema`` names, perhaps none."""
    told = schema.get("type", [])
    return [told] if isinstance(told, str) else list(told)


def copied(value: Any) -> Any:
    """Return a copy of the plain data ``value``, mappings and lists, in a tenth of the time of ``copy.deepcopy``."""
    if isinstance(value, Mapping):
        return {key: copied(one) for key, one in value.items()}
    return [copied(one) for one in value] if isinstance(value, list) else value


def canonical(value: Any) -> str:
    """Return a text that two values share exactly when JSON Schema calls them equal: 1 is 1.0, but not true."""
    return json.dumps(_numbers(value), sort_keys=True, default=str)


def _numbers(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _numbers(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_numbers(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


_PIECE = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\$")  # an escaped character, a set of characters, the end


@functools.lru_cache(maxsize=1024)
def expression(pattern: str) -> re.Pattern[str]:
    """Return ``pattern`` compiled; its ``$`` is the end alone, as in ECMA-262, not also before a last newline."""
    return re.compile(_PIECE.sub(lambda piece: r"\Z" if piece.group() == "$" else piece.group(), pattern))


def wrong_type(wanted: Any, value: Any) -> str | None:
    """Return what is wrong with the type of ``value``."""
    names = [wanted] if isinstance(wanted, str) else wanted
    if any(TYPES[name](value) for name in names):
        return None
    hint = " (a date: quote it)" if isinstance(value, datetime.date) and "string" in names else ""
    return f"must be {alternatives([WORDS[name] for name in names])}{hint}"


def _enum(allowed: list[Any], value: Any) -> str | None:
    if canonical(value) in map(canonical, allowed):
        return None
    hint = nearest(value, allowed) if isinstance(value, str) else ""
    return f"must be {alternatives([show(one) for one in allowed])}{hint}"


def _unique(wanted: bool, value: list[Any]) -> str | None:
    if not wanted or len({canonical(one) for one in value}) == len(value):
        return None
    return "must not hold the same twice"


def _multiple(step: float, value: float) -> str | None:
    quotient = value / step
    return None if quotient == int(quotient) else f"must be a multiple of {step}"


def _bound(ok: Callable[[Any, Any], bool], words: str, measure: Callable[[Any], Any] = lambda value: value) -> Any:
    """Return a keyword that compares what ``measure`` gives of a value with a bound."""
    return lambda bound, value: None if ok(measure(value), bound) else f"must {words.format(bound)}"


def _at_least(value: Any, bound: Any) -> bool:
    return bool(value >= bound)


def _at_most(value: Any, bound: Any) -> bool:
    return bool(value <= bound)


# For each keyword: the type of values it looks at (None: all) and what says what is wrong.
ASSERTIONS: dict[str, tuple[str | None, Callable[[Any, Any], str | None]]] = {
    "type": (None, wrong_type),
    "enum": (None, _enum),
    "const": (None, lambda wanted, value: _enum([wanted], value)),
    "minimum": ("number", _bound(_at_least, "be at least {}")),
    "maximum": ("number", _bound(_at_most, "be at most {}")),
    "exclusiveMinimum": ("number", _bound(lambda value, bound: value > bound, "be more than {}")),
    "exclusiveMaximum": ("number", _bound(lambda value, bound: value < bound, "be less than {}")),
    "multipleOf": ("number", _multiple),
    "minLength": ("string", _bound(_at_least, "have at least {} characters", len)),
    "maxLength": ("string", _bound(_at_most, "have at most {} characters", len)),
    "pattern": (
        "string",
        lambda pattern, value: None if expression(pattern).search(value) else f"must match {pattern}",
    ),
    "minItems": ("array", _bound(_at_least, "have at least {} items", len)),
    "maxItems": ("array", _bound(_at_most, "have at most {} items", len)),
    "uniqueItems": ("array", _unique),
    "minProperties": ("object", _bound(_at_least, "have at least {} keys", len)),
    "maxProperties": ("object", _bound(_at_most, "have at most {} keys", len)),
}
