"""
How a resource is inside: load, memory, disks, processes.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from saltext_logilab.within import publication
from saltext_logilab.within import status as read

if TYPE_CHECKING:
    __opts__: dict[str, Any]
    __resource__: dict[str, Any]
    __resource_funcs__: dict[str, Any]


def loadavg() -> dict[str, float]:
    """
    Return the load over 1, 5 and 15 minutes; in a container it is that of its host.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' status.loadavg
    """
    with publication.reached(__resource__, __resource_funcs__, __opts__) as inside:
        return read.load(inside)


def uptime() -> float:
    """
    Return the seconds since the first process inside was started.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' status.uptime
    """
    with publication.reached(__resource__, __resource_funcs__, __opts__) as inside:
        return read.uptime(inside)


def meminfo() -> dict[str, dict[str, str]]:
    """
    Return the memory as ``/proc/meminfo`` inside tells it.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' status.meminfo
    """
    with publication.reached(__resource__, __resource_funcs__, __opts__) as inside:
        return read.memory(inside)


def diskusage() -> dict[str, dict[str, Any]]:
    """
    Return the use of each file system inside, in KiB.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' status.diskusage
    """
    with publication.reached(__resource__, __resource_funcs__, __opts__) as inside:
        return read.disks(inside)


def procs() -> dict[str, dict[str, str]]:
    """
    Return the processes inside by number, with user and command.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' status.procs
    """
    with publication.reached(__resource__, __resource_funcs__, __opts__) as inside:
        return read.processes(inside)
