"""The sdist and the wheel: what is in them, and that each way to install finds the formulas."""

from __future__ import annotations

import email
import email.message
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.support.distribution import ROOT, Distributions, make_venv, run

LOCATE = "from saltext_logilab.formula import packaged as p; print(p.formulas()); print(p.example_pillars())"


def files(folder: Path) -> set[str]:
    """Return the paths below ``folder``."""
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return {path for path in found if "__pycache__" not in path}


def names(wheel: Path) -> set[str]:
    """Return the paths in ``wheel``."""
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def metadata(distributions: Distributions) -> email.message.Message:
    """Return the wheel's METADATA."""
    with zipfile.ZipFile(distributions.wheel) as archive:
        (path,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(path))


def test_the_wheel_holds_every_module(distributions: Distributions) -> None:
    """Each Python file of the package is in the wheel, with the mark that it is typed and nothing of the tests."""
    ours = {str(path.relative_to(ROOT)) for path in (ROOT / "saltext_logilab").rglob("*.py")}
    assert ours | {"saltext_logilab/py.typed"} <= names(distributions.wheel)
    assert {name.partition("/")[0].partition("-")[0] for name in names(distributions.wheel)} == {"saltext_logilab"}


@pytest.mark.parametrize("folder", ["formulas", "pillar.example"])
def test_the_wheel_holds_the_formulas_as_files(distributions: Distributions, folder: str) -> None:
    """What the checkout has behind a link is in the wheel as regular files with the same bytes."""
    with zipfile.ZipFile(distributions.wheel) as archive:
        inside = {info.filename: info for info in archive.infolist()}
        for name in files(ROOT / folder):
            info = inside[f"saltext_logilab/formula/{folder}/{name}"]
            assert info.external_attr >> 28 == 0o10, f"{name} is no regular file"
            assert archive.read(info) == (ROOT / folder / name).read_bytes()


def test_the_sdist_builds_what_the_checkout_builds(distributions: Distributions, sources: Path, tmp_path: Path) -> None:
    """A wheel made out of the sdist holds the same files as one made out of the checkout."""
    run([sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, sources])
    (direct,) = tmp_path.glob("*.whl")
    assert names(direct) == names(distributions.wheel)
    with tarfile.open(distributions.sdist) as archive:
        assert [member.name for member in archive if member.issym() and "saltext_logilab" not in member.name] == []


def test_the_metadata(metadata: email.message.Message) -> None:
    """Requirements, extras and the licence reach the wheel: a [project] table would drop them in silence."""
    requirements = metadata.get_all("Requires-Dist") or []
    assert "salt>=3006" in requirements
    assert not [one for one in requirements if "extra ==" not in one and "==" in one], "no exact pins"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["License-File"] == "LICENSE"
    assert {"docker", "virt", "etcd", "postgresql", "lab"} <= set(metadata.get_all("Provides-Extra") or [])
    assert metadata["Description-Content-Type"] == "text/markdown"


def test_each_area_is_an_entry_point(distributions: Distributions) -> None:
    """Each area is an entry point of group salt.loader, and each entry point an area; what they share is neither."""
    with zipfile.ZipFile(distributions.wheel) as archive:
        (path,) = (name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt"))
        text = archive.read(path).decode()
    section = text.partition("[salt.loader]")[2].partition("[")[0]
    points = {line.split("=")[1].strip() for line in section.splitlines() if "=" in line}
    areas = {path.parent.name for path in (ROOT / "saltext_logilab").glob("*/__init__.py")} - {"within"}
    assert points == {f"saltext_logilab.{area}" for area in areas}


@pytest.mark.parametrize("options", [(), ("--editable",)], ids=["plain", "editable"])
def test_pip_install_finds_the_formulas(sources: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    """``pip install .`` and ``pip install -e .`` give a package that knows where its formulas lie."""
    python = make_venv(tmp_path / "venv", "--no-deps", *options, sources)
    formulas, pillars = map(Path, run([python, "-I", "-c", LOCATE]).split())
    assert formulas.is_relative_to(sources if options else tmp_path)
    assert files(formulas) == files(ROOT / "formulas")
    assert files(pillars) == files(ROOT / "pillar.example")


def test_the_installed_wheel_finds_the_formulas(installed: Path) -> None:
    """The wheel in an empty environment knows where its formulas lie, and they are real files there."""
    formulas, pillars = map(Path, run([installed, "-I", "-c", LOCATE]).split())
    assert formulas.is_relative_to(installed.parent.parent)
    assert (files(formulas), files(pillars)) == (files(ROOT / "formulas"), files(ROOT / "pillar.example"))
