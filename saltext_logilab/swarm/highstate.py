"""
State runs that look like real ones: the return of ``state.apply`` and its kin, as job views and returners see it.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from typing import Any

from saltext_logilab.swarm.behaviour import States

FUNCTIONS = (
    "state.apply",
    "state.highstate",
    "state.sls",
    "state.test",
    "state.single",
    "state.sls_id",
    "state.top",
)
FAILED = 2  # the exit code that Salt gives a run with a failed state

_SOFTWARE = ("nginx", "openssh-server", "postgresql", "rsyslog", "chrony", "curl", "git", "htop", "python3", "cron")
_DAY = 86_400


def run(
    states: States, chance: Callable[[str], float], sls: Sequence[str], *, test: bool, now: float
) -> tuple[dict[str, Any], int]:
    """
    Return what a run of ``states`` gives, and its exit code.

    :param chance: gives a draw for a purpose.
    :param sls: the formulas that were asked for; none is a highstate.
    :param now: the time of the run, in seconds of the day.
    """
    result: dict[str, Any] = {}
    names = list(sls) or ["base"]
    failed = False
    for number in range(states.count):
        subject = _SOFTWARE[number % len(_SOFTWARE)] + (f"-{number // len(_SOFTWARE)}" * (number >= len(_SOFTWARE)))
        outcome = chance(f"state {number}")
        bad = outcome < states.failed
        changed = not bad and outcome < states.failed + states.changed
        took = states.duration.at(chance(f"state {number} took"))
        made = _STATES[number % len(_STATES)](subject, bad, changed)
        failed = failed or bad
        result[made.pop("key")] = {
            **_dressed(made, bad=bad, changed=changed, test=test),
            "__run_num__": number,
            "__sls__": names[number % len(names)],
            "start_time": _clock(now),
            "duration": round(took * 1000, 3),
        }
        now += took
    return result, FAILED if failed else 0


def _dressed(made: dict[str, Any], *, bad: bool, changed: bool, test: bool) -> dict[str, Any]:
    if bad:
        return {**made, "result": False, "changes": {}}
    if not changed:
        return {**made, "result": True, "changes": {}}
    return {**made, "result": None if test else True}


def _package(subject: str, bad: bool, changed: bool) -> dict[str, Any]:
    comment = "All specified packages are already installed"
    if bad:
        comment = f"Problem encountered installing package(s). E: Unable to locate package {subject}"
    elif changed:
        comment = "The following packages were installed/updated: " + subject
    return {
        "key": f"pkg_|-{subject}_installed_|-{subject}_|-installed",
        "__id__": f"{subject}_installed",
        "name": subject,
        "comment": comment,
        "changes": {subject: {"old": "", "new": "1.18.0-6"}},
    }


def _file(subject: str, bad: bool, changed: bool) -> dict[str, Any]:
    path = f"/etc/{subject}/{subject}.conf"
    comment = f"File {path} is in the correct state"
    if bad:
        comment = f"Unable to manage file: Jinja variable 'dict object' has no attribute '{subject}'"
    elif changed:
        comment = f"File {path} updated"
    return {
        "key": f"file_|-{subject}_config_|-{path}_|-managed",
        "__id__": f"{subject}_config",
        "name": path,
        "comment": comment,
        "changes": {"diff": f"--- \n+++ \n@@ -1,2 +1,2 @@\n # {subject}\n-workers 1\n+workers 4\n"},
    }


def _service(subject: str, bad: bool, changed: bool) -> dict[str, Any]:
    comment = f"The service {subject} is already running"
    if bad:
        comment = f"Service {subject} is already enabled, and is dead"
    elif changed:
        comment = f"Service {subject} has been enabled, and is running"
    return {
        "key": f"service_|-{subject}_running_|-{subject}_|-running",
        "__id__": f"{subject}_running",
        "name": subject,
        "comment": comment,
        "changes": {subject: True},
    }


_STATES = (_package, _file, _service)


def _clock(now: float) -> str:
    moment = datetime.datetime(2000, 1, 1) + datetime.timedelta(seconds=now % _DAY)  # a time of day only
    return moment.strftime("%H:%M:%S.%f")
