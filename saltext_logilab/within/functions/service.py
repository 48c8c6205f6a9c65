"""
Services inside a resource, where it has an init: systemd, OpenRC or the scripts of ``/etc/init.d``.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from saltext_logilab.within import publication, services
from saltext_logilab.within.transport import Transport

if TYPE_CHECKING:
    __opts__: dict[str, Any]
    __resource__: dict[str, Any]
    __resource_funcs__: dict[str, Any]

__func_alias__ = {"reload_": "reload"}


def _ask(question: Callable[[Transport, str], bool], name: str) -> bool:
    with publication.reached(__resource__, __resource_funcs__, __opts__) as inside:
        return question(inside, name)


def _act(work: str, name: str, timeout: float) -> bool:
    with publication.reached(__resource__, __resource_funcs__, __opts__, f"service.{work}") as inside:
        services.act(inside, work, name, timeout)
    return True


def get_all() -> list[str]:
    """
    Return the names of all services inside.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' service.get_all
    """
    with publication.reached(__resource__, __resource_funcs__, __opts__) as inside:
        return services.names(inside)


def available(name: str) -> bool:
    """
    Say whether there is a service of that name inside.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' service.available nginx
    """
    return _ask(services.is_there, name)


def missing(name: str) -> bool:
    """
    Say whether there is no service of that name inside.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' service.missing nginx
    """
    return not available(name)


def status(name: str) -> bool:
    """
    Say whether a service inside runs.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' service.status nginx
    """
    return _ask(services.is_active, name)


def enabled(name: str) -> bool:
    """
    Say whether a service starts with the system inside.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' service.enabled nginx
    """
    return _ask(services.is_enabled, name)


def disabled(name: str) -> bool:
    """
    Say whether a service does not start with the system inside.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' service.disabled nginx
    """
    return not enabled(name)


def start(name: str, timeout: float = services.LONG) -> bool:
    """
    Start a service inside.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' service.start nginx
    """
    return _act("start", name, timeout)


def stop(name: str, timeout: float = services.LONG) -> bool:
    """
    Stop a service inside.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' service.stop nginx
    """
    return _act("stop", name, timeout)


def restart(name: str, timeout: float = services.LONG) -> bool:
    """
    Restart a service inside.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' service.restart nginx
    """
    return _act("restart", name, timeout)


def reload_(name: str, timeout: float = services.LONG) -> bool:
    """
    Let a service inside read its configuration anew.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' service.reload nginx
    """
    return _act("reload", name, timeout)


def enable(name: str, timeout: float = services.LONG) -> bool:
    """
    Let a service start with the system inside.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' service.enable nginx
    """
    return _act("enable", name, timeout)


def disable(name: str, timeout: float = services.LONG) -> bool:
    """
    Let a service not start with the system inside.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' service.disable nginx
    """
    return _act("disable", name, timeout)
