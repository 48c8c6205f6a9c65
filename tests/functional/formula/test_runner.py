"""The runner: formulas listed and shown, files that hide others, the compiled pillars of minions checked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import salt.cache
import salt.loader

from saltext_logilab.formula.packaged import formulas
from tests.support.formulas import BACKENDS, DEBIAN, FORMULAS


@pytest.fixture
def opts(new_master_opts: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """A master's options."""
    return new_master_opts(BACKENDS)


def run(opts: dict[str, Any], function: str, *arguments: Any, **named: Any) -> Any:
    """Return what the runner answers."""
    return salt.loader.runner(opts)[f"formula.{function}"](*arguments, **named)


def know(opts: dict[str, Any], minion: str, pillar: dict[str, Any], **grains: Any) -> None:
    """Make ``minion`` one whose key is accepted, whose grains are cached, and that has ``pillar``."""
    for folder in ("minions", "minions_pre", "minions_rejected", "minions_denied"):
        (Path(opts["pki_dir"]) / folder).mkdir(parents=True, exist_ok=True)
    (Path(opts["pki_dir"]) / "minions" / minion).write_text("key")
    salt.cache.factory(opts).store("grains", minion, {**DEBIAN, "id": minion, **grains})
    root = Path(opts["pillar_roots"]["base"][0])
    (root / f"{minion}.sls").write_text(json.dumps(pillar))
    top = json.loads((root / "top.sls").read_text()) if (root / "top.sls").exists() else {"base": {}}
    top["base"][minion] = [minion]
    (root / "top.sls").write_text(json.dumps(top))


def test_list_and_show(opts: dict[str, Any]) -> None:
    """Each formula is listed with its description; show tells parameters with type and default, and an example."""
    listed = run(opts, "list")
    assert set(listed["formulas"]) == set(FORMULAS)
    assert listed["shadows"] == {}
    shown = run(opts, "show", "users")
    assert shown["parameters"]["users:sudo_package"] == {
        "type": "string",
        "description": FORMULAS["users"].schema["properties"]["sudo_package"]["description"],
        "default": "sudo",
    }
    assert shown["parameters"]["users:users:NAME:gid"]["type"] == "integer or string"
    assert "alice" in shown["example"]["users"]["users"]
    parameters = run(opts, "show", "openldap")["parameters"]
    assert parameters["openldap:databases:NAME:replicate_from:[]:starttls"]["type"] == "string or boolean"


def test_files_that_hide_others_are_listed(opts: dict[str, Any]) -> None:
    """In either direction: a user's file before ours, and ours before a user's."""
    own = Path(opts["file_roots"]["base"][0]) / "users/init.sls"
    own.parent.mkdir(parents=True)
    own.write_text("")
    assert run(opts, "list")["shadows"] == {"users/init.sls": "the file of roots hides the one of logilab_formulas"}
    turned = {**opts, "fileserver_backend": ["logilab_formulas", "roots"]}
    assert run(turned, "list")["shadows"] == {"users/init.sls": "the file of logilab_formulas hides the one of roots"}


def test_hidden_files_of_a_plain_folder_are_listed(opts: dict[str, Any]) -> None:
    """Who puts the package's folder into file_roots is told as well, by folder."""
    mine, plain = opts["file_roots"]["base"][0], str(formulas())
    own = Path(mine) / "users/init.sls"
    own.parent.mkdir(parents=True)
    own.write_text("")
    plainly = {**opts, "fileserver_backend": ["roots"]}
    first = run({**plainly, "file_roots": {"base": [mine, plain]}}, "list")["shadows"]
    assert first == {"users/init.sls": f"the file of {mine} hides the one of {plain}"}
    turned = run({**plainly, "file_roots": {"base": [plain, mine]}}, "list")["shadows"]
    assert turned == {"users/init.sls": f"the file of {plain} hides the one of {mine}"}


def test_path(opts: dict[str, Any]) -> None:
    """The folder is the one for file_roots."""
    assert run(opts, "path") == str(formulas())


@pytest.mark.parametrize(
    ("function", "arguments", "settings", "sentence"),
    [
        ("show", ["user"], {}, "there is no formula 'user' (did you mean 'users'?)"),
        ("list", [], {"mount": "x"}, "logilab:formula:mount is not a known setting (did you mean 'mountpoint'?)"),
    ],
)
def test_what_goes_wrong_is_a_sentence(
    opts: dict[str, Any], function: str, arguments: list[str], settings: dict[str, Any], sentence: str
) -> None:
    """An unknown formula and a wrong setting are told with exit code 1."""
    answer = run({**opts, "logilab": {"formula": settings}}, function, *arguments)
    assert answer["error"].startswith(sentence)
    assert answer["retcode"] == 1


def test_the_pillars_of_all_minions_are_checked(opts: dict[str, Any]) -> None:
    """Each minion's compiled pillar is checked with its own grains; nothing is sent to anyone."""
    know(opts, "good", {"users": {"users": {"bob": {}}}, "other": 1})
    know(opts, "bad", {"users": {"users": {"bob": {"uid": "x"}}, "goups": {}}, "uses": {}})
    know(opts, "bsd", {"users": {}}, os_family="FreeBSD")
    answer = run(opts, "validate", "*")
    assert (answer["ok"], answer["minions"], answer["retcode"]) == (False, 3, 1)
    assert answer["problems"] == {
        "bad": [
            "users:goups is not a known key (did you mean 'groups'?); its value is {}",
            "users:users:bob:uid must be a whole number, not 'x'",
            "uses is the key of no formula (did you mean 'users'?)",
        ],
        "bsd": [answer["problems"]["bsd"][0]],
    }
    assert "does not support the os_family 'FreeBSD'" in answer["problems"]["bsd"][0]
    assert run(opts, "validate", "good") == {"ok": True, "minions": 1, "problems": {}}


def test_a_minion_that_is_not_known(opts: dict[str, Any]) -> None:
    """A target that matches nothing, and a minion without grains, are problems, not silence."""
    assert run(opts, "validate", "nobody")["problems"] == {"nobody": ["no minion matches"]}
    know(opts, "new", {})
    salt.cache.factory(opts).flush("grains", "new")
    assert "its grains are not known" in run(opts, "validate", "*")["problems"]["new"][0]


def test_ones_own_formula_is_checked_too(opts: dict[str, Any]) -> None:
    """A formula with a schema in file_roots counts as the package's do, also one that hides ours."""
    own = Path(opts["file_roots"]["base"][0]) / "mine"
    own.mkdir()
    (own / "schema.yaml").write_text("type: object\nadditionalProperties: false\nproperties: {port: {type: integer}}\n")
    (own / "defaults.yaml").write_text("os_family: {Debian: {}}\n")
    know(opts, "web", {"mine": {"port": "80"}})
    assert run(opts, "validate", "web")["problems"] == {"web": ["mine:port must be a whole number, not '80'"]}
