"""Waiting for a condition with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PAUSE = 0.05


def wait_until(condition: Callable[[], T], timeout: float, what: str) -> T:
    """
    Call ``condition`` until it returns something true, and return that.

    :param what: what is waited for; stands in the error.
    :raises TimeoutError: it was not true within ``timeout`` seconds; it is asked once more at the end.
    """
    deadline = time.monotonic() + timeout
    while True:
        late = time.monotonic() >= deadline
        if answer := condition():
            return answer
        if late:
            raise TimeoutError(f"{what}: not within {timeout:g} s")
        time.sleep(PAUSE)
