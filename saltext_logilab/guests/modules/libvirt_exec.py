"""
Commands and files inside the guests of this host, by the QEMU guest agent: without a network path into the guest.

The guest runs ``qemu-guest-agent`` and has a channel ``org.qemu.guest_agent.0``; nothing else is needed in it. What
takes too long is killed there even if the minion has ended meanwhile.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from saltext_logilab.guests import interior, told
from saltext_logilab.guests import settings as guests_settings
from saltext_logilab.within import salted
from saltext_logilab.within.functions import named as shared
from saltext_logilab.within.overrides import take_over

if TYPE_CHECKING:
    __opts__: dict[str, Any]


@contextmanager
def _inside(name: str) -> Iterator[interior.Interior]:
    with salted.errors():
        settings = guests_settings.read(__opts__)
        yield interior.enter(settings.uri, name, settings.agent_timeout)


def ping(name: str) -> bool:
    """
    Return True when the agent of a guest answers.

    :raises CommandExecutionError: there is no such guest, it does not run, or it has no agent that answers.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_exec.ping web
    """
    with _inside(name) as inside:
        inside.agent.ask("guest-ping")
    return True


def about(name: str) -> dict[str, Any]:
    """
    Return what a guest tells of itself by its agent.

    A mapping of ``agent`` (its version), ``system``, ``host_name``, ``timezone``, ``interfaces`` (each with ``mac`` and
    ``addresses``) and ``file_systems`` (each with ``type``, and ``used`` and ``total`` in bytes). What the agent does
    not know, or may not tell, is left out.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_exec.about web
    """
    with _inside(name) as inside:
        return told.everything(inside.agent)


take_over(shared, globals(), {"docker_exec": "libvirt_exec", "salt host1": "salt kvm1"})
