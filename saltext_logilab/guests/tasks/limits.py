"""When a task is given up: pure decisions, after KubeVirt's migration limits (no progress, seconds per GiB)."""

from __future__ import annotations

from dataclasses import dataclass

from saltext_logilab.errors import ConfigurationError
from saltext_logilab.guests.sizes import GIB
from saltext_logilab.guests.tasks.records import Task

STALL = 150.0
SECONDS_PER_GIB = 800.0


@dataclass(frozen=True)
class Limits:
    """
    :param stall: seconds without progress after which a task is given up; 0 for never.
    :param seconds_per_gib: how long it may take for each GiB (at least one); 0 for any time.
    """

    stall: float = STALL
    seconds_per_gib: float = SECONDS_PER_GIB

    def check(self) -> None:
        """:raises ConfigurationError: one of them is no number of at least 0."""
        number("stall", self.stall)
        number("seconds_per_gib", self.seconds_per_gib)


def number(name: str, value: object) -> float:
    """Return ``value``; :raises ConfigurationError: it is no number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        raise ConfigurationError(f"{name} must be a number of at least 0, not {value!r}")
    return value


def exceeded(task: Task, limits: Limits, now: float) -> str | None:
    """Return why ``task`` has to end at the time ``now``; None when it may go on."""
    if limits.stall and now - task.moved > limits.stall:
        return f"no progress for {limits.stall:g} s"
    allowed = limits.seconds_per_gib * max(1.0, task.total / GIB)
    if allowed and task.started is not None and now - task.started > allowed:
        return f"longer than {limits.seconds_per_gib:g} s per GiB"
    return None


def percent(task: Task) -> int:
    """Return how much of the task is done, 0 to 100; 100 only once it is done."""
    if task.state == "done":
        return 100
    return min(99, 100 * task.done // task.total) if task.total else 0


def left(task: Task) -> float | None:
    """Return the seconds that the rest will take at the present rate; None where nobody can tell."""
    if not task.active or not task.rate or task.done >= task.total:
        return None
    return max(0.0, (task.total - task.done) / task.rate)
