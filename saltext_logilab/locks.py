"""
One process at a time for what a host has once, such as an engine that a hot-hot minion runs once per master.

The lock is of the kernel (``flock(2)``): it ends with the process that holds it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from saltext_logilab.errors import UnavailableError

ENGINE = "engine.lock"


@contextlib.contextmanager
def elected(path: Path, wait: Callable[[], bool]) -> Iterator[bool]:
    """
    Hold the lock file ``path``; give False where ``wait``, called again and again meanwhile, says no longer to wait.

    :raises UnavailableError: it cannot be opened.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = path.open("a+b")
    except OSError as err:
        raise UnavailableError(f"{path} cannot be opened: {err.strerror}") from err
    with file:
        while not _try(file.fileno(), fcntl.LOCK_EX):
            if not wait():
                yield False
                return
        file.truncate(0)
        file.write(str(os.getpid()).encode())
        file.flush()
        yield True


def is_held(path: Path) -> bool:
    """Say whether some process holds the lock file ``path``."""
    try:
        with path.open("rb") as file:
            return not _try(file.fileno(), fcntl.LOCK_SH)
    except OSError:  # never run here, or not for us to see
        return False


def _try(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
