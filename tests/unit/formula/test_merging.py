"""Layers become one as the schema says, defaults stand at every depth, and nothing that is given is changed."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given

from saltext_logilab.formula.schemas.formula import Formula
from saltext_logilab.formula.schemas.merging import fill, merge
from saltext_logilab.formula.schemas.problems import FormulaError, PillarError
from tests.unit.formula.test_validator import VALUES

SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "package": {"type": "string", "default": "web"},
        "plain": {"type": "array", "default": [1]},
        "more": {"type": "array", "x-merge": "append", "default": [1]},
        "once": {"type": "array", "x-merge": "unique", "default": [1, 2]},
        "whole": {"type": "object", "x-merge": "replace", "default": {"a": 1}},
        "deep": {"type": "object", "default": {"a": 1, "b": {"c": 2}}},
        "sites": {"type": "object", "default": {}, "additionalProperties": {"$ref": "#/$defs/site"}},
        "listed": {"type": "array", "items": {"$ref": "#/$defs/site"}},
        "token": {"type": "string", "writeOnly": True},
    },
    "$defs": {
        "site": {
            "type": ["object", "null"],
            "additionalProperties": False,
            "properties": {"port": {"type": "integer", "default": 80}, "note": {"type": "string"}},
        }
    },
}
LAYERS = {
    "os_family": {"Debian": {"package": "web-debian"}, "RedHat": {}},
    "os": {"Ubuntu": {"package": "web-ubuntu"}},
    "osfinger": {"Ubuntu-24.04": {"package": "web-noble"}},
}
FORMULA = Formula("web", SCHEMA, LAYERS)
DEBIAN = {"os_family": "Debian", "os": "Debian", "osfinger": "Debian-12"}


@pytest.mark.parametrize(
    ("key", "upper", "wanted"),
    [
        ("plain", [2], [2]),
        ("more", [1, 2], [1, 1, 2]),
        ("once", [2, 3], [1, 2, 3]),
        ("whole", {"b": 2}, {"b": 2}),
        ("deep", {"b": {"d": 3}}, {"a": 1, "b": {"c": 2, "d": 3}}),
        ("deep", "wrong", "wrong"),
    ],
)
def test_strategies(key: str, upper: Any, wanted: Any) -> None:
    """Each strategy joins the default with what the pillar gives."""
    assert merge(SCHEMA, fill(SCHEMA, {}), {key: upper})[key] == wanted


@given(VALUES, VALUES)
def test_neither_layer_is_changed(lower: Any, upper: Any) -> None:
    """A merge shares nothing with what it was made of, and with an empty upper mapping it gives the lower."""
    before = copy.deepcopy((lower, upper))
    merged = merge({}, lower, upper)
    if isinstance(merged, dict):
        merged["changed"] = True
    assert (lower, upper) == before
    assert not isinstance(lower, dict) or merge({}, lower, {}) == lower


@given(VALUES)
def test_filling_twice_is_filling_once(value: Any) -> None:
    """All defaults are there after the first time."""
    once = fill(SCHEMA, value)
    assert fill(SCHEMA, once) == once


def test_defaults_stand_at_every_depth() -> None:
    """Named things and items of lists have their defaults; one that is given empty is a mapping of defaults."""
    data = fill(SCHEMA, {"sites": {"a": None, "b": {"port": 1}}, "listed": [{}, None]})
    assert data["sites"] == {"a": {"port": 80}, "b": {"port": 1}}
    assert data["listed"] == [{"port": 80}, {"port": 80}]


@pytest.mark.parametrize(
    ("grains", "package"),
    [
        (DEBIAN, "web-debian"),
        ({"os_family": "RedHat", "os": "Rocky", "osfinger": "Rocky Linux-9"}, "web"),
        ({"os_family": "Debian", "os": "Ubuntu", "osfinger": "Ubuntu-22.04"}, "web-ubuntu"),
        ({"os_family": "Debian", "os": "Ubuntu", "osfinger": "Ubuntu-24.04"}, "web-noble"),
    ],
)
def test_systems_overlay_each_other(grains: dict[str, str], package: str) -> None:
    """The family's values are overlaid with the system's, those with the release's, all with the pillar's."""
    assert FORMULA.data(grains, {})["package"] == package
    assert FORMULA.data(grains, {"package": "mine"})["package"] == "mine"


def test_an_unsupported_system_is_named() -> None:
    """The refusal says which systems are supported."""
    with pytest.raises(PillarError, match="does not support the os_family 'FreeBSD': it supports Debian, RedHat"):
        FORMULA.data({"os_family": "FreeBSD"}, {})


def test_all_problems_stand_in_one_error() -> None:
    """The error tells their number, then each on a line with its path under the pillar's key."""
    with pytest.raises(PillarError) as caught:
        FORMULA.data(DEBIAN, {"pakage": "x", "sites": {"a": {"port": "80"}}}, "lb:web")
    first, *problems = str(caught.value).splitlines()
    assert first == "the pillar of the formula web has 2 problems:"
    assert sorted(problems) == [
        "  lb:web:pakage is not a known key (did you mean 'package'?); its value is 'x'",
        "  lb:web:sites:a:port must be a whole number, not '80'",
    ]


@pytest.mark.parametrize("pillar", [[], "x", 3], ids=str)
def test_a_pillar_is_a_mapping(pillar: object) -> None:
    """Anything else is one problem."""
    with pytest.raises(PillarError, match="web must be a mapping, not"):
        FORMULA.data(DEBIAN, pillar)


def test_a_secret_at_a_place_that_is_not_marked() -> None:
    """A private key, or a password among free keys, is refused without being shown; a marked place takes it."""
    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIsecret\n"
    assert FORMULA.data(DEBIAN, {"token": key})["token"] == key
    for wrong in ({"sites": {"a": {"note": key}}}, {"deep": {"db_password": "MIIsecret"}}):
        with pytest.raises(PillarError, match="looks like a secret") as caught:
            FORMULA.data(DEBIAN, wrong)
        assert "MIIsecret" not in str(caught.value)


@pytest.mark.parametrize(
    ("schema", "defaults", "sentence"),
    [
        ("a: [", "", "web/schema.yaml is no YAML"),
        ("[]", "", "web/schema.yaml must be a mapping"),
        ("{}", "osfamily: {}", "web/defaults.yaml: 'osfamily' is not one of os_family, os, osfinger"),
    ],
)
def test_wrong_files_are_named(schema: str, defaults: str, sentence: str) -> None:
    """A formula whose files cannot be read says which one."""
    with pytest.raises(FormulaError, match=sentence):
        Formula.parse("web", schema, defaults)
