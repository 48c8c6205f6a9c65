"""Memory that a burst of changes has needed, and that is needed no more."""

from __future__ import annotations

import ctypes

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # malloc_trim(3); another C library than glibc may lack it


def give_back() -> None:
    """Give back to the system what is free: glibc keeps much of it otherwise."""
    if _trim is not None:
        _trim(0)
