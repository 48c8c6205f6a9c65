"""Every formula's schema: sound, complete, and obeyed by its defaults and its example pillar."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from saltext_logilab.formula.packaged import example_pillars, formulas

FORMULAS = sorted(folder.name for folder in formulas().iterdir() if folder.is_dir())


def read(path: Path) -> Any:
    """Return the YAML in ``path``."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def validator(formula: str) -> jsonschema.Draft202012Validator:
    """Return the validator of a formula's pillar."""
    return jsonschema.Draft202012Validator(read(formulas() / formula / "schema.yaml"))


def subschemas(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each named key that a schema describes, with its path."""
    for group in ("properties", "$defs"):
        for key, value in schema.get(group, {}).items():
            yield f"{path}/{group}/{key}", value
            yield from subschemas(value, f"{path}/{group}/{key}")


@pytest.mark.parametrize("formula", FORMULAS)
def test_the_schema_is_sound(formula: str) -> None:
    """The schema is JSON Schema 2020-12, and each of its examples and defaults obeys it."""
    schema = read(formulas() / formula / "schema.yaml")
    jsonschema.Draft202012Validator.check_schema(schema)
    check = validator(formula)
    for path, sub in [("", schema), *subschemas(schema)]:
        values = [*sub.get("examples", []), *([sub["default"]] if "default" in sub else [])]
        for value in values:
            errors = [
                error.message for error in check.evolve(schema={**sub, "$defs": schema["$defs"]}).iter_errors(value)
            ]
            assert errors == [], f"{path}: {value!r}"


@pytest.mark.parametrize("formula", FORMULAS)
def test_the_schema_describes_every_key(formula: str) -> None:
    """Each key has a description, and either a type or a reference; objects refuse unknown keys."""
    schema = read(formulas() / formula / "schema.yaml")
    assert schema["additionalProperties"] is False
    for path, sub in subschemas(schema):
        assert sub.get("description"), path
        assert {"type", "$ref", "oneOf"} & set(sub), path
        assert "properties" not in sub or sub["additionalProperties"] is False, path


@pytest.mark.parametrize("formula", FORMULAS)
def test_the_defaults_obey_the_schema(formula: str) -> None:
    """``defaults.yaml`` is valid, and equals the defaults that the schema states."""
    schema, defaults = read(formulas() / formula / "schema.yaml"), read(formulas() / formula / "defaults.yaml")
    assert list(validator(formula).iter_errors(defaults)) == []
    assert defaults == {key: sub["default"] for key, sub in schema["properties"].items() if "default" in sub}


@pytest.mark.parametrize("formula", FORMULAS)
def test_the_example_pillar_obeys_the_schema(formula: str) -> None:
    """The example pillar is listed in ``top.sls``, holds the formula's key alone and is valid."""
    assert formula in read(example_pillars() / "top.sls")["base"]["*"]
    pillar = read(example_pillars() / f"{formula}.sls")
    assert list(pillar) == [formula]
    assert [error.message for error in validator(formula).iter_errors(pillar[formula])] == []


@pytest.mark.parametrize(
    "pillar",
    [
        {"user": {}},
        {"users": {"Alice": {}}},
        {"users": {"alice.b": {}}},
        {"users": {"alice": {"uid": 0}}},
        {"users": {"alice": {"uid": "2001"}}},
        {"users": {"alice": {"fullname": "a:b"}}},
        {"users": {"alice": {"ssh_keys": ["not a key"]}}},
        {"users": {"alice": {"sudo": ["ALL=(ALL) ALL\nbob ALL=(ALL) ALL"]}}},
        {"users": {"alice": {"sudo": "ALL=(ALL) ALL"}}},
        {"groups": {"deployers": {"gidd": 1}}},
        {"absent_users": ["../etc"]},
        {"sudoers_dir": "etc"},
    ],
    ids=str,
)
def test_wrong_pillars_of_users_are_refused(pillar: dict[str, Any]) -> None:
    """The schema of "users" refuses unknown keys, wrong types and values that would break a file."""
    assert not validator("users").is_valid(pillar)
