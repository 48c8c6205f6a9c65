"""The validator: agrees with jsonschema on what is valid, tells all problems at once, and says them in plain words."""

from __future__ import annotations

import datetime
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saltext_logilab.formula.schemas.problems import FormulaError
from saltext_logilab.formula.schemas.validator import validate

KEYS = st.sampled_from(["a", "b", "name", "port"])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 12),
    st.sampled_from([0.5, 1.0, 3.0]),
    st.sampled_from(["", "a", "ab", "9"]),
)
VALUES = st.recursive(
    SCALARS, lambda one: st.one_of(st.lists(one, max_size=4), st.dictionaries(KEYS, one, max_size=4)), max_leaves=12
)
TYPES = st.sampled_from(["object", "array", "string", "integer", "number", "boolean", "null"])
BOUNDS = st.integers(0, 4)
KEYWORDS = {
    "type": st.one_of(TYPES, st.lists(TYPES, min_size=1, max_size=3, unique=True)),
    "enum": st.lists(VALUES, min_size=1, max_size=3),
    "const": VALUES,
    **{name: st.integers(-2, 9) for name in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")},
    "multipleOf": st.sampled_from([1, 2, 0.5]),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), BOUNDS),
    "pattern": st.sampled_from(["^a", "b$", "^[0-9]+$", "a|b"]),
    "uniqueItems": st.booleans(),
    "required": st.lists(KEYS, max_size=2, unique=True),
    "dependentRequired": st.dictionaries(KEYS, st.lists(KEYS, max_size=2, unique=True), max_size=2),
    "$ref": st.sampled_from(["#/$defs/one", "#/$defs/two"]),
}


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return schemas that hold schemas of ``inner``."""
    branches = st.lists(inner, min_size=1, max_size=3)
    applicators = {
        "properties": st.dictionaries(KEYS, inner, max_size=3),
        "additionalProperties": st.one_of(st.booleans(), inner),
        "propertyNames": inner,
        "items": inner,
        **dict.fromkeys(("allOf", "anyOf", "oneOf"), branches),
        **dict.fromkeys(("not", "if", "then", "else"), inner),
    }
    return st.fixed_dictionaries({}, optional={**KEYWORDS, **applicators})


PLAIN = st.fixed_dictionaries({}, optional={name: one for name, one in KEYWORDS.items() if name != "$ref"})
SCHEMAS = st.builds(
    lambda schema, one, two: {**schema, "$defs": {"one": one, "two": two}},
    st.recursive(st.fixed_dictionaries({}, optional=KEYWORDS), nested, max_leaves=8),
    PLAIN,
    PLAIN,
)


@given(SCHEMAS, VALUES)
def test_it_agrees_with_jsonschema(schema: dict[str, Any], value: Any) -> None:
    """What is valid here is valid for jsonschema, and the other way round."""
    assert (validate(schema, value) == []) == jsonschema.Draft202012Validator(schema).is_valid(value)


@given(SCHEMAS, VALUES)
def test_each_problem_can_be_said(schema: dict[str, Any], value: Any) -> None:
    """Each problem is one line."""
    for problem in validate(schema, value, ("top",)):
        assert str(problem).startswith("top")
        assert "\n" not in str(problem)


SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["title"],
    "properties": {
        "title": {"type": "string"},
        "mode": {"enum": ["http", "tcp"]},
        "password": {"type": "string", "writeOnly": True, "minLength": 8},
        "global": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"maxconn": {"type": "integer", "minimum": 1}},
        },
        "servers": {
            "type": "object",
            "propertyNames": {"pattern": "^[a-z]+$"},
            "additionalProperties": {"$ref": "#/$defs/server"},
        },
        "bind": {"oneOf": [{"type": "integer"}, {"type": "object", "properties": {"port": {"type": "integer"}}}]},
    },
    "$defs": {"server": {"type": "object", "additionalProperties": False, "properties": {"port": {"type": "integer"}}}},
}


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({}, "p:title is missing"),
        ({"title": 1}, "p:title must be a text, not 1"),
        ({"title": datetime.date(2024, 1, 2)}, "p:title must be a text (a date: quote it), not 2024-01-02"),
        ({"mode": "htttp"}, "p:mode must be 'http' or 'tcp' (did you mean 'http'?), not 'htttp'"),
        ({"mod": "http"}, "p:mod is not a known key (did you mean 'mode'?); its value is 'http'"),
        ({"maxconn": 5}, "p:maxconn is not a known key (it is known under 'global'); its value is 5"),
        ({"global": {"maxconn": 0}}, "p:global:maxconn must be at least 1, not 0"),
        ({"global": {"maxconn": True}}, "p:global:maxconn must be a whole number, not True"),
        ({"global": {"x": 1}}, "p:global:x is not a known key (known: maxconn); its value is 1"),
        ({"global": {80: 1}}, "p:global:80 is the key 80, but keys must be texts: quote it"),
        ({"servers": {"A1": {}}}, "p:servers:A1 is no name that is allowed here: it must match ^[a-z]+$, not 'A1'"),
        ({"servers": {"a": {"prt": 1}}}, "p:servers:a:prt is not a known key (did you mean 'port'?); its value is 1"),
        ({"bind": "80"}, "p:bind must be a whole number or a mapping, not '80'"),
        ({"bind": {"port": "80"}}, "p:bind:port must be a whole number, not '80'"),
        ({"mode": "x" * 200}, f"p:mode must be 'http' or 'tcp', not '{'x' * 58}…"),
    ],
    ids=str,
)
def test_the_words(value: dict[str, Any], sentence: str) -> None:
    """Each kind of problem names the path, the value and the nearest known key."""
    problems = [str(one) for one in validate(SCHEMA, value, ("p",))]
    assert sentence in problems


@pytest.mark.parametrize("wrong", [{"password": "hunter2"}, {"pasword": "hunter2"}, {"db_token": "hunter2"}], ids=str)
def test_a_secret_is_not_shown(wrong: dict[str, Any]) -> None:
    """Neither at its place nor under a key that was meant for it."""
    (problem,) = validate(SCHEMA, {"title": "", **wrong})
    assert "hunter2" not in str(problem)
    assert "hidden" in str(problem)


def test_all_problems_are_told_at_once() -> None:
    """One run tells what is wrong at every depth."""
    wrong = {"mode": 1, "global": {"maxconn": "x", "y": 2}, "servers": {"a": {"port": "1"}, "B": 3}, "z": 0}
    assert len(validate(SCHEMA, wrong)) == 8


def test_an_end_of_a_pattern_is_the_end() -> None:
    """A newline at the end, which would break out of a line of a file, does not slip through ``$``."""
    assert validate({"pattern": "^[a-z]+$"}, "abc\nroot ALL=(ALL) ALL") != []
    assert validate({"pattern": "^[a-z]+$"}, "abc\n") != []
    assert validate({"pattern": r"^\$[a-z]$"}, "$a") == []
    assert validate({"pattern": r"^[a-z$\]]+$"}, "a$]") == []
    assert validate({"pattern": "^[$]$"}, "$\n") != []


def test_a_condition_says_why() -> None:
    """What a condition asks for is told with the description of its branch."""
    then = {"required": ["tls"], "description": "TLS needs a certificate"}
    schema = {"if": {"required": ["port"]}, "then": then}
    assert [str(one) for one in validate(schema, {"port": 1}, ("p",))] == ["p:tls is missing: TLS needs a certificate"]
    assert validate(schema, {}) == []


def test_a_reference_to_nothing_is_an_error() -> None:
    """A schema that refers to a definition it lacks is refused with the reference."""
    with pytest.raises(FormulaError, match=r"'#/\$defs/absent'"):
        validate({"$ref": "#/$defs/absent"}, 1)
