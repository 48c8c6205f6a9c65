"""How often a minion is told to look: what flaps, in hands that need not be friendly, must not keep masters busy."""

from __future__ import annotations

REST = 1.0
BURST, REFILL = 30.0, 4.0


class Pace:
    """Lets something be done each :data:`REST` seconds, and of more than :data:`BURST` in a row each :data:`REFILL`."""

    def __init__(self) -> None:
        self._at = float("-inf")
        self._credit = BURST

    @property
    def due(self) -> float:
        """The earliest time at which it may be done again."""
        return self._at + (REST if self._credit >= 1 else REFILL)

    def took(self, now: float) -> None:
        """Note that it was done."""
        self._credit = max(0.0, min(BURST, self._credit + (now - self._at) / REFILL) - 1)
        self._at = now
