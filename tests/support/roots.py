"""
Where the tests put things: short private directories for daemons, and the cache of what is dear to build.

pytest's own temporary directories are too long for Unix sockets and closed to other users.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.leftovers import ROOT
from tests.support.processes import run


@pytest.fixture(scope="session")
def daemon_root() -> Iterator[Path]:
    """A short directory of this session that others may pass through; removed at the end, mounts included."""
    root = Path(os.environ[ROOT])
    yield root
    remove_tree(root)


def new_root(parent: Path, kind: str) -> Path:
    """Make a new directory for one daemon."""
    made = Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=parent))
    made.chmod(0o711)
    return made


def mounts_below(root: Path) -> list[Path]:
    """Return the mount points at or below ``root``, deepest first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [Path(line.split()[4].replace("\\040", " ")) for line in lines]
    return sorted((point for point in points if point.is_relative_to(root)), key=lambda it: -len(it.parts))


def remove_tree(root: Path) -> None:
    """Unmount everything below ``root`` and remove it."""
    for point in mounts_below(root):
        run("umount", point)
    if root.exists():
        shutil.rmtree(root)


def cache_root() -> Path:
    """Return the directory of what is kept between runs, named by its content."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    root = base / "saltext-logilab"
    root.mkdir(parents=True, exist_ok=True)
    return root


def cached(name: str, build: Callable[[Path], None]) -> Path:
    """
    Return the cached file or directory ``name``, built first where it is missing.

    :param build: makes the thing at the path that it gets; only a finished one takes the name. One process builds,
        others wait for it.
    """
    final = cache_root() / name
    with (cache_root() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not final.exists():
            partial = final.with_name(f"{name}.partial")
            remove_tree(partial) if partial.is_dir() else partial.unlink(missing_ok=True)
            build(partial)
            partial.rename(final)
    return final
