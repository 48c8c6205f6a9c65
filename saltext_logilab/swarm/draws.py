"""
Chance without state: a draw is a function of (seed, minion, purpose, number).

A run is repeatable whatever the order in which answers arrive, and a minion needs no generator of its own (a
``random.Random`` takes 2.5 kB): it only counts, per purpose.
"""

from __future__ import annotations

import hashlib

_BITS = 53  # what a float holds: all draws stay below 1


def draw(seed: int, minion: str, purpose: str, number: int = 0) -> float:
    """Return the draw ``number`` of ``minion`` for ``purpose``: uniform in [0, 1)."""
    text = f"{seed}\0{minion}\0{purpose}\0{number}"
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> (64 - _BITS)) / (1 << _BITS)
