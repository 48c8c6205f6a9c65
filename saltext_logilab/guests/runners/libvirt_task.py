"""
Wait for a task on a hypervisor (see the execution module ``libvirt_task``), however long it takes.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import salt.client

from saltext_logilab.errors import LogilabError
from saltext_logilab.guests.tasks import watch

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
    show = watch.live(sys.stderr)
    with salt.client.get_local_client(mopts=__opts__) as client:
        try:
            asking = watch.Watch(lambda: _ask(client, minion, task), show, interval)
            status, problem = asking.until_ended(timeout)
        except LogilabError as err:
            status, problem = {}, str(err)
    show("")
    found = {**(status or {}), **({"problem": problem} if problem else {})}
    return found if found.get("state") == "done" else {**found, "retcode": 1}


def _ask(client: Any, minion: str, task: str) -> dict[str, Any] | None:
    """Return the task's status, None when the minion is silent; :raises LogilabError: it answers with an error."""
    told = client.cmd(minion, "libvirt_task.status", [task], timeout=ANSWER).get(minion)
    if isinstance(told, str):
        raise LogilabError(told)
    return told if isinstance(told, dict) else None
