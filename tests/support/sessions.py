"""
The directory of a test session, and what is left of sessions that were killed before they could clear up.

A session holds a lock in its directory as long as it lives. What no process and no directory is (a network namespace, a
bridge) is written down in it before it is made, as the commands that undo it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.support.processes import run

PREFIX = "logilab-"
LOCK = "session.lock"
UNDO = "undo"
_current: list[Path] = []


@dataclass(frozen=True)
class SessionRoot:
    """A session's directory: short, and open for others to pass through; pytest's own are neither."""

    path: Path
    lock: IO[str]

    @classmethod
    def create(cls) -> SessionRoot:
        """Make one and lock it."""
        path = Path(tempfile.mkdtemp(prefix=PREFIX))
        path.chmod(0o711)
        lock = (path / "new").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        (path / "new").rename(path / LOCK)  # nobody sees it unlocked
        _current.append(path)
        return cls(path, lock)

    def release(self) -> None:
        """Remove it and give the lock back."""
        _current.remove(self.path)
        remove_tree(self.path)
        self.lock.close()


def undo_when_abandoned(commands: Sequence[Sequence[str]]) -> None:
    """Write down commands that another session shall run if this one is killed."""
    with (_current[-1] / UNDO).open("a") as undo:
        undo.writelines(json.dumps(list(command)) + "\n" for command in commands)


def abandoned() -> Iterator[Path]:
    """Yield the directories of this user's sessions that are dead, locked meanwhile: one session clears each."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.ExitStack() as stack:
            try:
                lock = stack.enter_context((path / LOCK).open())
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:  # it lives, is gone, or is another user's
                continue
            stat = os.fstat(lock.fileno())
            if stat.st_uid == os.geteuid() and stat.st_nlink:  # else another session has removed it meanwhile
                yield path


def clear(root: Path) -> None:
    """Undo what a dead session wrote down, and remove its directory; its processes are gone already."""
    undo = root / UNDO
    for line in undo.read_text().splitlines() if undo.exists() else ():
        subprocess.run(json.loads(line), check=False, capture_output=True, timeout=60)  # most are undone already
    remove_tree(root)


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
