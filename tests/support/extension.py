"""The extension as its wheel installs it: what a container gets."""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

import pytest

from tests.support.processes import run
from tests.support.roots import cached
from tests.support.sessions import remove_tree

REPOSITORY = Path(__file__).parents[2]
SOURCES = ("README.md", "LICENSE", "pyproject.toml", "setup.cfg", "saltext_logilab", "formulas", "pillar.example")


def source_files() -> list[Path]:
    """Return the files that the wheel is made of, and those that only say how."""
    found = [REPOSITORY / name for name in SOURCES]
    below = [path for root in found if root.is_dir() for path in sorted(root.rglob("*")) if path.suffix != ".pyc"]
    return [path for path in (*found, *below) if path.is_file()]


@pytest.fixture(scope="session")
def extension_tree() -> Path:
    """The folder into which pip installed the wheel of this repository, without dependencies."""
    digest = hashlib.sha256()
    for path in source_files():
        digest.update(f"{path.relative_to(REPOSITORY)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return cached(f"extension-{digest.hexdigest()[:16]}", _install)


def _install(target: Path) -> None:
    """Install a copy of the sources: building in the repository would leave files there."""
    work = target.with_name(f"{target.name}.work")
    remove_tree(work)
    for path in source_files():
        copy = work / path.relative_to(REPOSITORY)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    for link in ("formulas", "pillar.example"):
        (work / link).mkdir(exist_ok=True)
        (work / "saltext_logilab/formula" / link).symlink_to(Path("../..") / link)
    (work / "README.md").touch()
    run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target, work, timeout=300)
    remove_tree(work)
