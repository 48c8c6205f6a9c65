"""
What Salt's loader makes of the package, by the interpreter that runs the tests and by the installed wheel.

The matrix run does the same with each version of Salt that the package serves.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import salt.loader

from saltext_logilab.lab import salts
from tests.support.distribution import ROOT, list_plugins, run
from tests.support.list_plugins import LOADER_TYPES
from tests.support.roots import cache_root

PEERS = ("saltext-dockermod", "saltext-virt")
SALT = Path(salt.loader.__file__).parent.parent
# Files that may bear the name of one of Salt's or a peer's: "type/name" with the reason.
SAME_NAME: dict[str, str] = {}

IMPORTS = """
import sys
before = set(sys.modules)
import {modules}
print(*sorted(set(sys.modules) - before))
"""


@pytest.fixture(scope="module")
def listed() -> dict[str, Any]:
    """Return the plugins that the Salt beside the tests loads."""
    return list_plugins(sys.executable)


def plugin_files() -> Iterator[tuple[str, Path]]:
    """Yield the type and the file of each plugin in the checkout."""
    for file in sorted((ROOT / "saltext_logilab").glob("*/*/[!_]*")):
        if file.parent.name in LOADER_TYPES and (file.suffix == ".py" or (file / "__init__.py").exists()):
            yield file.parent.name, file


@pytest.mark.matrix
def test_every_plugin_loads(listed: dict[str, Any]) -> None:
    """Each plugin's file gives functions, and what Salt sends of them can be pickled and packed."""
    assert {plugin["file"]: plugin["loaded"] for plugin in listed["plugins"] if plugin["loaded"] is not True} == {}
    kinds = {plugin["type"] for plugin in listed["plugins"]}
    wanted = {str(file) for kind, file in plugin_files() if kind in kinds}
    assert {plugin["file"] for plugin in listed["plugins"]} == wanted


def test_no_plugin_has_keyword_only_arguments() -> None:
    """Salt 3006 takes them for arguments that do not exist: it reads the positional ones alone."""
    found = []
    for _, file in plugin_files():
        for source in [file] if file.suffix == ".py" else sorted(file.rglob("*.py")):
            for one in ast.parse(source.read_text(encoding="utf-8")).body:
                if isinstance(one, ast.FunctionDef) and not one.name.startswith("_") and one.args.kwonlyargs:
                    found.append(f"{source.relative_to(ROOT)}: {one.name}")
    assert found == []


@pytest.mark.parametrize("version", ["3006", "3007"])
def test_older_versions_of_salt_load_the_same(listed: dict[str, Any], version: str) -> None:
    """Each plugin loads in the oldest versions, in the environments that the lab makes; resources came with 3008."""
    older = list_plugins(salts.get(version, lambda _text: None).python)
    assert older["salt"].startswith(version)
    assert {one["file"]: one["loaded"] for one in older["plugins"]} == {
        one["file"]: one["loaded"] for one in listed["plugins"] if one["type"] != "resources"
    }


def test_the_installed_wheel_loads_the_same(listed: dict[str, Any], installed: Path) -> None:
    """The wheel in an empty environment loads what the checkout loads."""

    def told(answer: dict[str, Any]) -> list[tuple[str, bool, list[str]]]:
        return [(one["type"], one["loaded"], list(one["functions"])) for one in answer["plugins"]]

    assert told(list_plugins(installed)) == told(listed)


@pytest.mark.matrix
def test_every_function_shows_how_to_call_it(listed: dict[str, Any]) -> None:
    """Execution and runner functions, which people call by hand, have a ``CLI Example:``."""
    functions = {
        name: function["doc"] or ""
        for plugin in listed["plugins"]
        if plugin["type"] in ("modules", "runners")
        for name, function in plugin["functions"].items()
    }
    assert [name for name, doc in functions.items() if "CLI Example:" not in doc] == []


@pytest.mark.matrix
def test_no_file_hides_one_of_salts() -> None:
    """A plugin with the file name of one of Salt's would take that whole module away."""
    hidden = {f"{kind}/{file.stem}" for kind, file in plugin_files() if is_in(SALT / kind, file.stem)}
    assert hidden - set(SAME_NAME) == set()


def is_in(folder: Path, name: str) -> bool:
    """Say whether ``folder`` holds a module or package ``name``."""
    return any((folder / one).exists() for one in (f"{name}.py", name))


def test_no_file_hides_one_of_a_known_extension() -> None:
    """Nor has it the file name of a plugin in the extensions that users have beside this one."""
    theirs = {one for peer in PEERS for one in plugins_of(wheel_of(peer))}
    assert theirs, "the peers' wheels were not read"
    assert {f"{kind}/{file.stem}" for kind, file in plugin_files()} & theirs - set(SAME_NAME) == set()


def wheel_of(project: str) -> Path:
    """Return a wheel of ``project``, downloaded once."""
    folder = cache_root() / "peers" / project
    if not list(folder.glob("*.whl")):
        run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, project])
    return max(folder.glob("*.whl"))


def plugins_of(wheel: Path) -> set[str]:
    """Return ``type/name`` for each plugin in ``wheel``."""
    with zipfile.ZipFile(wheel) as archive:
        paths = [Path(name) for name in archive.namelist() if name.endswith(".py")]
    return {f"{path.parent.name}/{path.stem}" for path in paths if path.stem != "__init__"}


@pytest.mark.matrix
def test_no_two_plugins_share_a_name() -> None:
    """Two areas with plugins of one type and name would hide each other."""
    found = [f"{kind}/{file.stem}" for kind, file in plugin_files()]
    assert sorted(set(found)) == sorted(found)


@pytest.mark.matrix
def test_importing_an_area_costs_nothing() -> None:
    """Every Salt process imports each area: that brings in no other module, of the standard library or of anyone."""
    areas = sorted(f"saltext_logilab.{path.parent.name}" for path in (ROOT / "saltext_logilab").glob("*/__init__.py"))
    done = subprocess.run(
        [sys.executable, "-I", "-c", IMPORTS.format(modules=", ".join(areas))],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["saltext_logilab", *areas]
