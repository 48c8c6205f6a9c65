"""
The seeds of this hypervisor: guests that are told who they are, and whose minions a master knows before they boot.

They are begun by ``libvirt_task.create`` and ``libvirt_task.seed``; what is here is what a master asks and says
meanwhile (the runners ``libvirt_guest.create`` and ``libvirt_seed``, and the engine ``libvirt_seed``).

.. versionadded:: 0.1.0
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from salt.exceptions import CommandExecutionError

from saltext_logilab.errors import LogilabError
from saltext_logilab.guests import settings as guests_settings
from saltext_logilab.guests.seeds import hypervisor
from saltext_logilab.guests.tasks import desk as desks
from saltext_logilab.guests.tasks.desk import Desk

if TYPE_CHECKING:
    __opts__: dict[str, Any]

__func_alias__ = {"list_": "list"}


@contextlib.contextmanager
def _desk() -> Iterator[Desk]:
    try:
        with desks.opened(guests_settings.read(__opts__), Path(__opts__["conf_file"])) as desk:
            yield desk
    except LogilabError as err:
        raise CommandExecutionError(str(err)) from err


def list_() -> list[dict[str, Any]]:
    """
    Return the seeds of this host, the newest first.

    :return: for each what ``libvirt_task.list`` says of its task, the ``id`` of the guest's minion, the ``nonce`` by
        which the seed is called, and the ``offer``: where the task waits for a master to accept the key, the public
        key, signed by this host's minion; else None.
    :raises CommandExecutionError: the records or the key of this minion cannot be read.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_seed.list
    """
    with _desk() as desk:
        return hypervisor.seeds(desk, __opts__["id"], Path(__opts__["pki_dir"]) / "minion.pem")


def answer(task: str, nonce: str, word: str, reason: str | None = None) -> dict[str, Any]:
    """
    Take a master's word for a seed, and return what ``libvirt_task.status`` returns; the runners and the engine say it.

    :param task: the task's id.
    :param nonce: what its seed is called.
    :param word: ``accepted`` (the guest may start), ``refused`` (it may not, and nothing of it stays), or ``answered``
        (the guest's minion has, and the image goes).
    :param reason: why it is refused.
    :raises CommandExecutionError: the task is none of this seed, or has ended.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_seed.answer 20261123T101500-1a2b3c4d 5f0e… refused 'not this one'
    """
    with _desk() as desk:
        return hypervisor.answer(desk, str(task), str(nonce), str(word), reason and str(reason))
