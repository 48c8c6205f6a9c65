"""
What a swarm counts: jobs asked, answered, dropped, failed; latencies in a histogram of constant size.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field, fields
from typing import Any

_PER_DECADE = 20  # buckets a decade: a percentile is off by at most 12 %
_LOWEST = -4  # 10^-4 s
_BUCKETS = 8 * _PER_DECADE


@dataclass
class Histogram:
    """Durations, counted in buckets that grow by the logarithm."""

    buckets: list[int] = field(default_factory=lambda: [0] * _BUCKETS)
    count: int = 0
    total: float = 0.0
    longest: float = 0.0

    def add(self, seconds: float) -> None:
        """Count a duration."""
        place = int((math.log10(max(seconds, 1e-9)) - _LOWEST) * _PER_DECADE)
        self.buckets[min(max(place, 0), _BUCKETS - 1)] += 1
        self.count += 1
        self.total += seconds
        self.longest = max(self.longest, seconds)

    def percentile(self, share: float) -> float:
        """Return the duration that ``share`` of all do not exceed (the upper end of its bucket), 0 for none."""
        wanted, seen = share * self.count, 0
        for place, number in enumerate(self.buckets):
            seen += number
            if number and seen >= wanted:
                return float(min(10 ** (_LOWEST + (place + 1) / _PER_DECADE), self.longest))
        return 0.0

    def summary(self) -> dict[str, float]:
        """Return mean, percentiles and maximum, in seconds."""
        mean = self.total / self.count if self.count else 0.0
        return {
            "mean": round(mean, 6),
            "p50": round(self.percentile(0.5), 6),
            "p90": round(self.percentile(0.9), 6),
            "p99": round(self.percentile(0.99), 6),
            "max": round(self.longest, 6),
        }


@dataclass
class Counts:
    """
    Numbers since the start.

    ``asked`` counts jobs times the minions that they meant; each ends up in ``answered`` (of which ``failed`` were told
    to fail), ``dropped`` (told to), ``absent`` (the minion was away) or ``lost`` (no master took the answer).
    """

    publications: int = 0
    asked: int = 0
    answered: int = 0
    failed: int = 0
    dropped: int = 0
    absent: int = 0
    lost: int = 0
    retried: int = 0
    sign_ins: int = 0
    refusals: int = 0
    pillars: int = 0
    events: int = 0
    beacons: int = 0
    mines: int = 0
    pings: int = 0
    failovers: int = 0
    failbacks: int = 0


class Counters:
    """All that is counted, and since when."""

    def __init__(self) -> None:
        """Begin at zero, now."""
        self.counts = Counts()
        self.latency = Histogram()
        self.begun = time.time()
        self.first_return = 0.0
        self.last_return = 0.0
        self._cpu = time.process_time()

    def returned(self, asked_at: float, now: float) -> None:
        """Count an answer that a master has acknowledged; both times by the same clock, in seconds."""
        self.counts.answered += 1
        self.latency.add(now - asked_at)
        self.first_return = self.first_return or now
        self.last_return = now

    def cpu(self) -> float:
        """Return the CPU seconds of this process since the start."""
        return time.process_time() - self._cpu

    def summary(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {"counts": asdict(self.counts), "latency": self.latency.summary(), "cpu": round(self.cpu(), 3)}


NAMES = tuple(one.name for one in fields(Counts))
