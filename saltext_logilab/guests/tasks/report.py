"""What is told of a task: plain data for people, events and the runner."""

from __future__ import annotations

from typing import Any

from saltext_logilab.guests.tasks import limits
from saltext_logilab.guests.tasks.records import Task


def short(task: Task) -> dict[str, Any]:
    """Return how ``task`` stands, without what it was told: this travels over the bus, where many can read it."""
    left = limits.left(task)
    return {
        "task": task.id,
        "kind": task.kind,
        "guest": task.guest,
        "state": task.state,
        "reason": task.reason,
        "step": task.spec.get("step"),
        "percent": limits.percent(task),
        "bytes": task.done,
        "total": task.total,
        "rate": 0 if task.done >= task.total else round(task.rate),
        "left": None if left is None else round(left),
    }


def full(task: Task, *, worker: bool) -> dict[str, Any]:
    """Return all that is known of ``task``; ``worker`` says whether one is at it."""
    times = {"created": task.created, "started": task.started, "ended": task.ended}
    spec = dict(task.spec)
    return {**short(task), **times, "worker": task.worker if worker else None, "cancel": task.cancel, "spec": spec}
