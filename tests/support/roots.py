"""
Where the tests put things: short private directories for daemons, and the cache of what is dear to build.

pytest's own temporary directories are too long for Unix sockets and closed to other users.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.leftovers import SESSION
from tests.support.sessions import remove_tree

KEPT = 14 * 24 * 3600


@pytest.fixture(scope="session")
def daemon_root(pytestconfig: pytest.Config) -> Path:
    """A short directory of this session that others may pass through; removed at the end, mounts included."""
    return pytestconfig.stash[SESSION].path


def new_root(parent: Path, kind: str) -> Path:
    """Make a new directory for one daemon."""
    made = Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=parent))
    made.chmod(0o711)
    return made


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
            _prune(final)
    os.utime(final)
    return final


def _prune(new: Path) -> None:
    """Remove the older versions of a new entry unused for :data:`KEPT` seconds; the last ``-`` begins the key."""
    for other in new.parent.glob(f"{new.name.rpartition('-')[0]}-*{new.suffix}"):
        if other != new and other.suffix == new.suffix and time.time() - other.stat().st_mtime > KEPT:
            remove_tree(other) if other.is_dir() else other.unlink()
