"""
Wait for a task on a hypervisor (see the execution module ``libvirt_task``), however long it takes, or reap all of them.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING, Any

import salt.client

from saltext_logilab.errors import LogilabError, WireError
from saltext_logilab.guests import fleet as fleets
from saltext_logilab.guests import summary as summaries
from saltext_logilab.guests.tasks import reaper, watch

if TYPE_CHECKING:
    __opts__: dict[str, Any]
    __salt__: dict[str, Any]

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


def reap(tgt: str = "*", tgt_type: str = "glob") -> dict[str, Any]:
    """
    Settle the tasks of all hypervisors, and tell of those whose minion is gone.

    Each hypervisor that answers looks after its own: a task whose worker has gone is settled by what libvirt says. Of
    one that is silent the tasks are shown that it last told the mine, and on which other hypervisor the guest was seen
    meanwhile, as after a migration. Nothing is started: a host that is silent may run its guests all the same.

    :param tgt: which hypervisors, ``*`` by default.
    :param tgt_type: how ``tgt`` is meant.
    :return: ``going`` (by hypervisor the tasks that go on) and ``silent`` (by hypervisor ``problem``, the ``age`` of
        what it told in seconds, and its ``tasks`` with ``seen``: where the guest is now); the exit code is 1 when one
        that is silent had tasks.

    CLI Example:

    .. code-block:: bash

        salt-run libvirt_task.reap 'kvm*'
    """
    told: dict[str, summaries.Summary] = {}
    hosts = __salt__["mine.get"](tgt, "libvirt_guest.summary", tgt_type)
    for host, said in hosts.items():
        with contextlib.suppress(WireError):  # who cannot be read is asked all the same
            told[host] = summaries.read(said)
    with salt.client.get_local_client(mopts=__opts__) as client:
        ask = fleets.through(client)
        found = reaper.reap(fleets.gather(ask, hosts), told, ask, time.time())
    return {**found, "retcode": int(any(one["tasks"] for one in found["silent"].values()))}


def _ask(client: Any, minion: str, task: str) -> dict[str, Any] | None:
    """Return the task's status, None when the minion is silent; :raises LogilabError: it answers with an error."""
    told = client.cmd(minion, "libvirt_task.status", [task], timeout=ANSWER).get(minion)
    if isinstance(told, str):
        raise LogilabError(told)
    return told if isinstance(told, dict) else None
