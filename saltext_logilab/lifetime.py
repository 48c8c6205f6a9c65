"""How long a process goes on that serves another one, such as an engine its minion."""

from __future__ import annotations

import os
from collections.abc import Callable


def while_parent_lives() -> Callable[[], bool]:
    """Return a function that says whether the process that has started this one still lives."""
    parent = os.getppid()
    return lambda: os.getppid() == parent
