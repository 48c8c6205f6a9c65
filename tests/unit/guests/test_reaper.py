"""Tasks of a host that is silent: what it last told, and where its guests are now."""

from __future__ import annotations

from typing import Any

from saltext_logilab.guests import fleet, summary
from saltext_logilab.guests.fleet import Reply
from saltext_logilab.guests.tasks import reaper
from tests.unit.guests.test_fleet import Minions, host


def told(guests: dict[str, list[Any]], *tasks: list[str]) -> dict[str, Any]:
    """Return the summary of a host with tasks."""
    return {**host("qemu+tls://x", guests), "tasks": list(tasks)}


def test_tasks_of_a_silent_host() -> None:
    """A guest that went to another host is seen there; one that nobody has seen, or that is off there, is told so."""
    guests = {name: [f"uuid-{name}", "running", 1, 1] for name in ("web", "db", "old")}
    last = told(
        guests, ["t1", "migrate", "web"], ["t2", "backup", "db"], ["t3", "migrate", "old"], ["t4", "create", "new"]
    )
    there = {"web": guests["web"], "other": ["uuid-db2", "running", 1, 1], "old": ["uuid-old", "shut off", 1, 1]}
    now = {"task": "t9", "state": "running"}
    minions = Minions({("b", "summary"): told(there), ("b", "list"): [now, {"task": "t8", "state": "done"}]})
    found = fleet.gather(minions, ["a", "b"])
    known = {"a": summary.read(last), "b": summary.read(told(there))}
    shown = reaper.reap(found, known, minions, now=61)
    assert shown["going"] == {"b": [now]}
    assert (shown["silent"]["a"]["problem"], shown["silent"]["a"]["age"]) == ("the minion does not answer", 60)
    seen = {one["task"]: one["seen"] for one in shown["silent"]["a"]["tasks"]}
    assert seen == {"t1": "b (running)", "t2": None, "t3": "b (shut off)", "t4": None}


def test_nobody_answers() -> None:
    """That is told, and nothing is asked of nobody; what a host told that cannot be read is left out."""
    minions = Minions({("a", "summary"): Reply(problem="broken")})
    found = fleet.gather(minions, ["a"])
    assert reaper.reap(found, {}, minions, 1) == {
        "going": {},
        "silent": {"a": {"problem": "broken", "age": None, "tasks": []}},
    }


def test_a_summary_of_before_has_no_tasks() -> None:
    """What an older release told the mine can be read."""
    assert summary.read(host("", {})).tasks == ()
