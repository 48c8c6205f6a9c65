"""The hypervisor's side of a seed: its keys are offered with its word for them, and what a master says is noted."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from saltext_logilab.errors import ConfigurationError, RefusedError, UnavailableError
from saltext_logilab.guests.seeds.offer import Offer
from saltext_logilab.guests.tasks import report
from saltext_logilab.guests.tasks.desk import Desk
from saltext_logilab.guests.tasks.records import Task

KINDS = ("create", "seed")
WORDS = ("accepted", "refused", "answered")
ACCEPT = "accept"  # the step in which a task waits for a master to accept the key


def seeds(desk: Desk, host: str, key: Path, clock: Callable[[], float] = time.time) -> list[dict[str, Any]]:
    """
    Return the seeds of this host, the newest first.

    :param host: the id of this host's minion.
    :param key: the file with its private key, which signs what is offered.
    """
    desk.settle()
    found = []
    for task in desk.records.all():
        if task.kind not in KINDS:
            continue
        told = {**report.short(task), "id": task.spec["wish"]["id"], "nonce": task.spec["nonce"], "offer": None}
        if task.active and task.spec.get("step") == ACCEPT and "offer" in task.spec and "accepted" not in task.spec:
            told["offer"] = _offer(task, host, clock()).signed(_private(key)).plain()
        found.append(told)
    return found


def _offer(task: Task, host: str, now: float) -> Offer:
    spec = task.spec
    left = max(0, int(spec["until"] - now))
    return Offer(host, task.id, spec["nonce"], spec["wish"]["id"], left, spec["offer"])


def _private(key: Path) -> bytes:
    try:
        return key.read_bytes()
    except OSError as err:
        raise UnavailableError(f"the key of this minion cannot be read: {key}: {err.strerror}") from err


def answer(desk: Desk, name: str, nonce: str, word: str, reason: str | None = None) -> dict[str, Any]:
    """
    Note what a master says of the seed of the task ``name``, and return how the task stands.

    :param word: ``accepted`` (the key is), ``refused`` (it is not), or ``answered`` (the guest's minion has).
    :raises RefusedError: the task is none of this seed, or has ended.
    """
    if word not in WORDS:
        raise ConfigurationError(f"word must be one of {', '.join(WORDS)}, not {word!r}")
    task = desk.records.get(name)
    if task.kind not in KINDS or task.spec["nonce"] != nonce:
        raise RefusedError(f"the task {name!r} is none of the seed {nonce!r}")
    if not task.active:
        raise RefusedError(f"the task {name} has ended already: {task.state}")
    if word == "answered" and "started" not in task.spec:
        raise RefusedError(f"the guest of the task {name} is not started")
    told = {word: reason or "by a master" if word == "refused" else True}
    desk.records.learn(name, **told)
    return desk.status(name)
