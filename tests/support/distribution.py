"""The package as users get it: sdist and wheel built from this checkout, and an environment with the wheel in it."""

from __future__ import annotations

import email
import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.support.roots import cached

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = shutil.ignore_patterns(".git", ".venv*", "build", "dist", "*.egg-info", "__pycache__", ".*_cache", "_build")


def run(command: Sequence[str | Path], **options: Any) -> str:
    """Run ``command`` and return its output; a failure shows all of it."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def make_venv(path: Path, *install: str | Path) -> Path:
    """Make a virtual environment with what ``install`` asks pip for, and return its interpreter."""
    run([sys.executable, "-m", "venv", "--without-pip", path])
    python = path / "bin" / "python"
    if install:
        run([*pip(python), "install", "--quiet", *install])
    return python


def pip(python: Path) -> list[str]:
    """Return the command that runs this environment's pip on that of ``python``."""
    return [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]


def list_plugins(python: Path | str) -> dict[str, Any]:
    """Return what ``list_plugins.py`` prints with the interpreter ``python`` and the Salt that it has."""
    script = Path(__file__).with_name("list_plugins.py")
    answer: dict[str, Any] = json.loads(run([python, "-I", script]))
    return answer


@dataclass(frozen=True)
class Distributions:
    """What ``python -m build`` makes: the sdist, and the wheel built out of it."""

    sdist: Path
    wheel: Path


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the checkout without what earlier builds left in it."""
    copy = tmp_path_factory.mktemp("sources") / "saltext-logilab"
    shutil.copytree(ROOT, copy, symlinks=True, ignore=LEFT_OUT)
    return copy


@pytest.fixture(scope="session")
def distributions(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """Return the sdist, and the wheel built out of it."""
    folder = tmp_path_factory.mktemp("dist")
    run([sys.executable, "-m", "build", "--outdir", folder, sources])
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return Distributions(sdist, wheel)


def requirements(wheel: Path) -> list[str]:
    """Return what ``wheel`` requires without extras."""
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(path))
    return [one for one in metadata.get_all("Requires-Dist") or [] if "extra ==" not in one]


@pytest.fixture(scope="session")
def installed(distributions: Distributions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    Return the interpreter of an environment that holds the wheel and what it requires, nothing else.

    What it requires is installed once a week, so that a new release of Salt is met soon; each session gets a copy.
    """
    required = requirements(distributions.wheel)
    key = repr((required, sys.version, datetime.now(tz=timezone.utc).isocalendar()[:2]))
    kept = cached(f"required-{hashlib.sha256(key.encode()).hexdigest()[:16]}", lambda venv: make_venv(venv, *required))
    venv = tmp_path_factory.mktemp("installed") / "venv"
    shutil.copytree(kept, venv, symlinks=True)
    run([*pip(venv / "bin" / "python"), "install", "--quiet", "--no-deps", distributions.wheel])
    run([*pip(venv / "bin" / "python"), "check"])
    return venv / "bin" / "python"
