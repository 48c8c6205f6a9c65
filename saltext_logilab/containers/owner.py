"""
One owner of the registry on a host: a hot-hot minion runs its engines once per master.

The lock is of the kernel (``flock(2)``): it ends with the process that holds it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from saltext_logilab.errors import UnavailableError

LOCK = "engine.lock"


@contextlib.contextmanager
def elected(folder: Path, wait: Callable[[], bool]) -> Iterator[bool]:
    """
    Become the owner of ``folder``; give False where ``wait``, called again and again meanwhile, says no longer to wait.

    :raises UnavailableError: the lock cannot be opened.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (folder / LOCK).open("a+b")
    except OSError as err:
        raise UnavailableError(f"{folder / LOCK} cannot be opened: {err.strerror}") from err
    with file:
        while not _try(file.fileno(), fcntl.LOCK_EX):
            if not wait():
                yield False
                return
        file.truncate(0)
        file.write(str(os.getpid()).encode())
        file.flush()
        yield True


def is_running(folder: Path) -> bool:
    """Say whether some process is the owner of ``folder``."""
    try:
        with (folder / LOCK).open("rb") as file:
            return not _try(file.fileno(), fcntl.LOCK_SH)
    except OSError:  # never run here, or not for us to see
        return False


def _try(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
