"""
States of services inside a resource that has no Python, where it has an init.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from saltext_logilab.within import managing, publication, services
from saltext_logilab.within.transport import Transport

if TYPE_CHECKING:
    __opts__: dict[str, Any]


def _state(name: str, active: bool | None, enabled: bool | None) -> dict[str, Any]:
    def make(inside: Transport, is_test: bool) -> managing.Outcome:
        if is_test and active and not services.is_there(inside, name):
            return managing.Outcome(f"{name} is not there: where this run installs it, it would start", {name: True})
        if not services.is_there(inside, name):
            return managing.Outcome(f"The named service {name} is not available", is_right=active is False)
        todo: dict[str, Any] = {}
        if active is not None and services.is_active(inside, name) is not active:
            todo["start" if active else "stop"] = active
        if enabled is not None and services.is_enabled(inside, name) is not enabled:
            todo["enable" if enabled else "disable"] = enabled
        if not todo:
            return managing.Outcome(f"The service {name} is as it should be")
        if not is_test:
            for work in todo:
                services.act(inside, work, name)
            if active is not None and services.is_active(inside, name) is not active:
                return managing.Outcome(f"The service {name} did not {'start' if active else 'stop'}", {}, False)
        verb = "would be" if is_test else "was"
        return managing.Outcome(f"{name} {verb} changed: {', '.join(todo)}", {name: next(iter(todo.values()))})

    return publication.state(name, __opts__, make)


def running(name: str, enable: bool | None = None, **_: Any) -> dict[str, Any]:
    """
    Make sure that a service runs inside; ``enable``: and whether it starts with the system.

    .. code-block:: yaml

        nginx:
          service.running:
            - enable: true
            - watch:
              - file: /etc/nginx/nginx.conf
    """
    return _state(name, True, enable)


def dead(name: str, enable: bool | None = None, **_: Any) -> dict[str, Any]:
    """
    Make sure that a service does not run inside; one that is not there does not.

    .. code-block:: yaml

        nginx:
          service.dead:
            - enable: false
    """
    return _state(name, False, enable)


def enabled(name: str, **_: Any) -> dict[str, Any]:
    """
    Make sure that a service starts with the system inside.

    .. code-block:: yaml

        nginx:
          service.enabled: []
    """
    return _state(name, None, True)


def disabled(name: str, **_: Any) -> dict[str, Any]:
    """
    Make sure that a service does not start with the system inside.

    .. code-block:: yaml

        nginx:
          service.disabled: []
    """
    return _state(name, None, False)


def mod_watch(name: str, sfun: str = "running", reload: bool = False, **_: Any) -> dict[str, Any]:
    """
    Restart a running service, or with ``reload`` let it read its configuration, when what it watches has changed.

    .. code-block:: yaml

        nginx:
          service.running:
            - reload: true
            - watch:
              - file: /etc/nginx/nginx.conf
    """

    def make(inside: Transport, is_test: bool) -> managing.Outcome:
        if sfun != "running" or not services.is_active(inside, name):
            return managing.Outcome(f"The service {name} does not run")
        work = "reload" if reload else "restart"
        if not is_test:
            services.act(inside, work, name)
        return managing.Outcome(f"{name}: {work}", {name: True})

    return publication.state(name, __opts__, make)
