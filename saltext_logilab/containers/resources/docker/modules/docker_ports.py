"""
The published ports of one container.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from saltext_logilab.containers import host, selection, settings, targets
from saltext_logilab.within import salted

if TYPE_CHECKING:
    __opts__: dict[str, Any]
    __resource__: dict[str, Any]

__func_alias__ = {"list_": "list"}


def _told() -> tuple[settings.ContainersSettings, targets.Target]:
    return settings.read(__opts__, __opts__.get("pillar")), targets.KNOWN.target(__resource__["id"])


def list_() -> dict[str, Any]:
    """
    Return the published ports of the container, as ``docker_ports.list`` of its minion does.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' docker_ports.list
    """
    with salted.errors():
        configured, one = _told()
        return dict(host.find(configured, selection.criteria(container=one.name), one.daemon))


def container() -> dict[str, Any]:
    """
    Return what the Engine tells now of the container's ports: those that it has, and those that it was asked for.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' docker_ports.container
    """
    with salted.errors():
        configured, one = _told()
        return host.container(configured, one.name, one.daemon)


def wait(port: str | int, protocol: str = "tcp", timeout: float = 30.0) -> bool:
    """
    Wait until a port of the container really answers; return whether it does.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker' docker_ports.wait 80 timeout=10
    """
    with salted.errors():
        configured, one = _told()
        return host.wait(configured, one.name, (port, protocol), timeout, one.daemon)


def history(limit: int = 100) -> dict[str, Any]:
    """
    Return the last changes of the container, newest first.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' docker_ports.history limit=10
    """
    with salted.errors():
        configured, one = _told()
        return host.history(configured, one.name, one.daemon, limit)
