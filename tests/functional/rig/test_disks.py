"""A small disk gets full, and goes away."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

MADE: list[Path] = []


def test_full_disk_refuses(small_disk: Callable[[int], Path]) -> None:
    """Writing more than the disk holds raises ENOSPC; what fits stays readable."""
    disk = small_disk(1 << 20)
    MADE.append(disk)
    (disk / "fits").write_bytes(b"x" * 1000)
    with pytest.raises(OSError, match="No space left") as refusal:
        (disk / "large").write_bytes(b"x" * (2 << 20))
    assert refusal.value.errno == errno.ENOSPC
    assert (disk / "fits").read_bytes() == b"x" * 1000


def test_disk_is_gone_after() -> None:
    """The disk of the test before is unmounted and removed."""
    assert MADE
    assert str(MADE[0]) not in Path("/proc/self/mountinfo").read_text()
    assert not MADE[0].exists()
