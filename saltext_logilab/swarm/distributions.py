"""
Distributions of durations: each turns a uniform draw in [0, 1) into seconds, by its inverse distribution function.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol

_EDGE = 1e-12  # the normal distribution has no value at 0


class Distribution(Protocol):
    """Something that gives seconds for a draw."""

    def at(self, draw: float) -> float:
        """Return the seconds at ``draw``, never below 0."""


@dataclass(frozen=True)
class Constant:
    """Always the same."""

    seconds: float

    def at(self, draw: float) -> float:  # noqa: ARG002  # the contract of Distribution
        """Return the seconds."""
        return self.seconds


@dataclass(frozen=True)
class Uniform:
    """Anything between ``low`` and ``high``."""

    low: float
    high: float

    def at(self, draw: float) -> float:
        """Return the seconds at ``draw``."""
        return self.low + draw * (self.high - self.low)


@dataclass(frozen=True)
class Normal:
    """The bell curve, cut off at 0."""

    mean: float
    deviation: float

    def at(self, draw: float) -> float:
        """Return the seconds at ``draw``."""
        return max(0.0, self.mean + self.deviation * NormalDist().inv_cdf(max(draw, _EDGE)))


@dataclass(frozen=True)
class LogNormal:
    """Half below ``median``, with a long tail that ``sigma`` widens: how most real services answer."""

    median: float
    sigma: float

    def at(self, draw: float) -> float:
        """Return the seconds at ``draw``."""
        return self.median * math.exp(self.sigma * NormalDist().inv_cdf(max(draw, _EDGE)))


@dataclass(frozen=True)
class Exponential:
    """Waiting for something that happens by chance once in ``mean`` seconds."""

    mean: float

    def at(self, draw: float) -> float:
        """Return the seconds at ``draw``."""
        return -self.mean * math.log(1.0 - draw)
