"""
Wait for a task on a hypervisor (see the execution module ``libvirt_task``), however long it takes.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import salt.client

from saltext_logilab.guests.tasks.watch import Watch, live

if TYPE_CHECKING:
    __opts__: dict[str, Any]

ANSWER = 10  # seconds for one question


def wait(minion: str, task: str, timeout: float = 3600, interval: float = 2) -> dict[str, Any]:
    """
    Wait until a task has ended; on a terminal its progress is shown meanwhile.

    It asks by short jobs, so that a task may take longer than any of Salt's time-outs, and a minion that is restarted
    meanwhile is asked again. When the task was not ``done`` in time, ``retcode`` and the exit code are 1.

    :param minion: the hypervisor's minion.
    :param task: the task's id.
    :param timeout: seconds, an hour by default.
    :param interval: seconds between two questions.
    :return: what ``libvirt_task.status`` says, and ``problem``, a sentence, where the end was not seen.

    CLI Example:

    .. code-block:: bash

        salt-run libvirt_task.wait kvm1 20261123T101500-1a2b3c4d
    """
    problems: list[str] = []
    with salt.client.get_local_client(mopts=__opts__) as client:

        def ask() -> Mapping[str, Any] | None:
            told = client.cmd(minion, "libvirt_task.status", [task], timeout=ANSWER).get(minion)
            problems[:] = [told] if isinstance(told, str) else []  # an error of the minion's
            return told if isinstance(told, dict) else None

        show = live(sys.stderr)
        status, problem = Watch(ask, show, interval).until_ended(timeout if not refused(ask, problems) else 0)
        show("")
    found = dict(status or {})
    if problem:
        found["problem"] = problems[0] if problems else problem
    return found if found.get("state") == "done" else {**found, "retcode": 1}


def refused(ask: Any, problems: list[str]) -> bool:
    """Say whether the minion answers with an error, such as that there is no such task: asking again is in vain."""
    ask()
    return bool(problems)
