"""Small disks that get full."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.processes import run
from tests.support.roots import new_root


@pytest.fixture
def small_disk(daemon_root: Path) -> Iterator[Callable[[int], Path]]:
    """Return a maker of file systems of ``size`` bytes; each is unmounted after the test."""
    made: list[Path] = []

    def make(size: int) -> Path:
        point = new_root(daemon_root, "disk")
        run("mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", point)
        made.append(point)
        return point

    yield make
    for point in made:
        run("umount", point)
        point.rmdir()
