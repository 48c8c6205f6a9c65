"""
Tasks whose minion is gone: what is known of them, and where their guests are now.

Whoever answers settles its own tasks by being asked. For a host that is silent only what it last told the mine is left,
and the other hosts can tell whether its guests run there. Nothing is started: a silent host may still run them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from saltext_logilab.guests import inventory
from saltext_logilab.guests.fleet import Ask, Fleet
from saltext_logilab.guests.summary import Summary, Work
from saltext_logilab.guests.tasks.records import ACTIVE


def reap(fleet: Fleet, told: Mapping[str, Summary], ask: Ask, now: float) -> dict[str, Any]:
    """
    Return the tasks that go on, by host, and what is known of those of hosts that do not answer.

    :param fleet: the hosts that answer, and why the others do not.
    :param told: what all hosts last told the mine.
    """
    replies = ask(sorted(fleet.hosts), "libvirt_task.list", {}) if fleet.hosts else {}
    going = {
        host: [task for task in reply.value if task["state"] in ACTIVE]
        for host, reply in sorted(replies.items())
        if isinstance(reply.value, list)
    }
    silent = {
        host: {
            "problem": problem,
            "age": round(now - told[host].at) if host in told else None,
            "tasks": [_gone(fleet, told[host], work) for work in told[host].tasks] if host in told else [],
        }
        for host, problem in sorted(fleet.problems.items())
    }
    return {"going": going, "silent": silent}


def _gone(fleet: Fleet, host: Summary, work: Work) -> dict[str, Any]:
    """Return a task of a silent host, and where the guest with that UUID is (None: on none of those that answer)."""
    uuid = host.guests[work.guest].uuid if work.guest in host.guests else None
    found = [
        f"{name} ({row.state})"
        for name, one in sorted(fleet.hosts.items())
        for row in one.guests.values()
        if row.uuid == uuid
    ]
    runs = [one for one in found if not one.endswith(f"({inventory.OFF})")]
    return {"task": work.task, "kind": work.kind, "guest": work.guest, "seen": next(iter(runs or found), None)}
