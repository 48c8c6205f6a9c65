"""
States of packages inside a resource that has no Python.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from saltext_logilab.within import managing, packages, publication
from saltext_logilab.within.transport import Transport

if TYPE_CHECKING:
    __opts__: dict[str, Any]


def _state(name: str, work: str, wanted: list[Any], refresh: bool | None = False) -> dict[str, Any]:
    def make(inside: Transport, is_test: bool) -> managing.Outcome:
        before = packages.installed(inside)
        todo = managing.packages(before, packages.wanted(wanted), work == "install")
        if not todo:
            return managing.Outcome("All specified packages are in the wanted state")
        names = packages.wanted(todo)
        if is_test:
            new = {one: version or "installed" for one, version in names.items()} if work == "install" else names
            changes = {one: {"old": before.get(one, ""), "new": version} for one, version in new.items()}
            return managing.Outcome(f"{work}: {', '.join(names)}", changes)
        if refresh or (refresh is None and work == "install" and not packages.has_lists(inside)):
            packages.refresh(inside)
        changes = packages.change(inside, work, todo)
        return managing.Outcome(f"{work}: {', '.join(names)}", changes)

    return publication.state(name, __opts__, make)


def installed(
    name: str, pkgs: list[Any] | None = None, version: str | None = None, refresh: bool | None = None, **_: Any
) -> dict[str, Any]:
    """
    Make sure that packages are installed inside; the manager's lists are fetched first where it has none.

    .. code-block:: yaml

        nginx:
          pkg.installed: []
    """
    return _state(name, "install", pkgs or [{name: version} if version else name], refresh)


def removed(name: str, pkgs: list[Any] | None = None, **_: Any) -> dict[str, Any]:
    """
    Make sure that packages are not installed inside.

    .. code-block:: yaml

        telnet:
          pkg.removed: []
    """
    return _state(name, "remove", pkgs or [name])


def purged(name: str, pkgs: list[Any] | None = None, **_: Any) -> dict[str, Any]:
    """
    Make sure that packages are not installed inside, and their configuration is gone.

    .. code-block:: yaml

        telnet:
          pkg.purged: []
    """
    return _state(name, "purge", pkgs or [name])
