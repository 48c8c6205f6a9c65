"""What the areas share: files that are replaced whole, and locks that one process holds."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from saltext_logilab import files, locks
from saltext_logilab.errors import UnavailableError


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    """The content and the mode are as told, and nothing else is left in the folder."""
    path = tmp_path / "told"
    assert files.read(path) is None
    files.replace(path, "old")
    assert (files.read(path), stat.S_IMODE(path.stat().st_mode)) == ("old", 0o600)
    files.replace(path, "new", 0o644, durable=False)
    assert (files.read(path), stat.S_IMODE(path.stat().st_mode)) == ("new", 0o644)
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_had(tmp_path: Path) -> None:
    """A folder in its place, a parent that is missing, bytes that are no text: one sentence that names the path."""
    with pytest.raises(UnavailableError, match=f"{tmp_path} cannot be read"):
        files.read(tmp_path)
    with pytest.raises(UnavailableError, match="missing/file cannot be written: No such file"):
        files.replace(tmp_path / "missing/file", "text")
    (tmp_path / "bytes").write_bytes(b"\xff")
    with pytest.raises(UnavailableError, match="bytes cannot be read"):
        files.read(tmp_path / "bytes")


def test_one_holder(tmp_path: Path) -> None:
    """The second asks again until it is told to wait no longer; the lock ends with its holder, and names it."""
    path, asked = tmp_path / "new/engine.lock", []
    assert not locks.is_held(path)
    with locks.elected(path, lambda: True) as first:
        assert (first, locks.is_held(path)) == (True, True)
        with locks.elected(path, lambda: asked.append(1) or len(asked) < 3) as second:
            assert (second, len(asked)) == (False, 3)
    assert path.read_text() == str(os.getpid())
    with locks.elected(path, lambda: False) as third:
        assert third
    assert not locks.is_held(path)


def test_a_lock_that_cannot_be_opened(tmp_path: Path) -> None:
    """A sentence with the path."""
    (tmp_path / "file").touch()
    with (
        pytest.raises(UnavailableError, match=r"file/engine\.lock cannot be opened"),
        locks.elected(tmp_path / "file/engine.lock", lambda: False),
    ):
        pass
