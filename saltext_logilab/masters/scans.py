"""
When all keys are looked at: the kernel tells which of them change, and this finds what it has not told.

A look costs what there is to look at: some ten milliseconds for thousands of keys.
"""

from __future__ import annotations

from dataclasses import dataclass

INTERVAL = 30.0
OFTEN = 20.0
RARELY = 1000.0
LONGEST = 300.0


@dataclass
class Scans:
    """
    Looks at a whole key store whose ``stamp`` changes when keys come or go.

    One is due when the store has changed and then been calm from one question to the next, but no more than a twentieth
    of the time goes into that; and every :data:`INTERVAL` seconds, or so rarely that no more than a thousandth of the
    time goes into that, though every :data:`LONGEST` seconds at least.

    :param cost: how many seconds of a processor the last look has taken.
    """

    known: object = None
    last: object = None
    at: float = float("-inf")
    cost: float = 0.0

    def is_due(self, stamp: object, now: float) -> bool:
        """Say whether to look now, at ``stamp``; then that is taken for done."""
        waited, calm = now - self.at, stamp == self.last != self.known
        self.last = stamp
        if (calm and waited > OFTEN * self.cost) or waited > max(INTERVAL, min(RARELY * self.cost, LONGEST)):
            self.known, self.at = stamp, now
            return True
        return False
