"""
How the minions of a group behave: what they answer, how late, how often not, and what they do by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from saltext_logilab.swarm.distributions import Constant, Distribution
from saltext_logilab.swarm.recipes import Recipe, Template

NOW = Constant(0.0)
_QUICK = Constant(0.01)


@dataclass(frozen=True)
class Stage:
    """What happens to a job: ``latency`` before the answer, ``fail`` and ``drop`` as rates; None: as the group."""

    latency: Distribution | None = None
    fail: float | None = None
    drop: float | None = None


@dataclass(frozen=True)
class Answer:
    """
    What a function returns: made by ``recipe``, or by ``call(minion, *args, **kwargs)``.

    With neither, the function answers as it does in any fake minion, and only ``stage`` differs.
    """

    recipe: Recipe | None = None
    call: Callable[..., Any] | None = None
    retcode: int = 0
    stage: Stage = field(default_factory=Stage)


@dataclass(frozen=True)
class Recorded:
    """What a real minion has answered once."""

    fun: str
    args: tuple[Any, ...]
    value: Any
    retcode: int = 0


@dataclass(frozen=True)
class States:
    """State runs: ``count`` states, each with a rate of changes and of failures and its own duration in seconds."""

    count: int = 8
    changed: float = 0.1
    failed: float = 0.0
    duration: Distribution = _QUICK


@dataclass(frozen=True)
class Flapping:
    """
    A timetable of being away: ``windows`` are (begin, length) in seconds after the start.

    ``repeat`` is the timetable's period, 0 for once; ``share`` is the part of the minions that follow it.
    """

    windows: tuple[tuple[float, float], ...]
    repeat: float = 0.0
    share: float = 1.0

    def away(self, seconds: float) -> bool:
        """Say whether a minion is away ``seconds`` after the start."""
        now = seconds % self.repeat if self.repeat else seconds
        return any(begin <= now < begin + length for begin, length in self.windows)

    def next_change(self, seconds: float) -> float | None:
        """Return the first moment after ``seconds`` at which a minion goes or comes, or None."""
        cycle = seconds // self.repeat * self.repeat if self.repeat else 0.0
        cycles = (cycle, cycle + self.repeat) if self.repeat else (0.0,)
        edges = [base + at + more for base in cycles for at, length in self.windows for more in (0.0, length)]
        return min((edge for edge in edges if edge > seconds), default=None)


@dataclass(frozen=True)
class Periodic:
    """Something that a minion does each ``interval`` seconds; a ``tag`` ends with the beacon's or event's own."""

    name: str
    interval: float
    tag: Recipe
    data: Recipe


@dataclass(frozen=True)
class Mine:
    """What a minion sends to the mine each ``interval`` seconds: functions with their arguments, by alias."""

    interval: float
    functions: Mapping[str, tuple[str, tuple[Any, ...]]]


@dataclass(frozen=True)
class Group:
    """Minions that behave alike."""

    name: str
    count: int
    minion_id: Template
    own_keys: bool = False
    version: Recipe | None = None
    grains: Mapping[str, Recipe] = field(default_factory=dict)
    pillar: Mapping[str, Recipe] | None = None
    ask_pillar: bool = False
    answers: Mapping[str, Answer] = field(default_factory=dict)
    recorded: Mapping[str, tuple[Recorded, ...]] = field(default_factory=dict)
    latency: Distribution = NOW
    fail: float = 0.0
    drop: float = 0.0
    states: States = field(default_factory=States)
    start: Distribution = NOW
    flapping: Flapping | None = None
    mine: Mine | None = None
    beacons: tuple[Periodic, ...] = ()
    events: tuple[Periodic, ...] = ()
    start_event: bool = True

    def stage(self, fun: str) -> tuple[Distribution, float, float]:
        """
        Return latency, rate of failures and rate of drops of the function ``fun``.

        ``saltutil.find_job`` is answered at once and always: how a master learns that a minion is alive and at it.
        """
        if fun == "saltutil.find_job":
            return NOW, 0.0, 0.0
        answer = self.answers.get(fun) or self.answers.get("*")
        own = answer.stage if answer else Stage()
        return (
            self.latency if own.latency is None else own.latency,
            self.fail if own.fail is None else own.fail,
            self.drop if own.drop is None else own.drop,
        )


@dataclass(frozen=True)
class Spec:
    """A swarm as it was asked for."""

    groups: tuple[Group, ...]
    seed: int = 0
    masters: tuple[str, ...] = ()
    kind: str = "hot-hot"
    connections: str = "pooled"
    sockets: int = 32
    fingerprint: str = ""
    sign_key: str = ""
    ping_interval: float = 0.0
    timeout: float = 60.0
    tries: int = 3
    retry: float = 5.0
    retry_max: float = 60.0
    reauth_delay: float = 10.0
    alive_interval: float = 30.0
    failback_interval: float = 0.0

    @property
    def count(self) -> int:
        """The number of minions."""
        return sum(group.count for group in self.groups)

    @property
    def width(self) -> int:
        """How many requests are under way at a time, at each master."""
        return self.sockets if self.connections == "pooled" else self.count
