"""
Packages inside a resource, by whichever package manager is there: apt, apk, dnf or yum.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from saltext_logilab.within import packages, publication

if TYPE_CHECKING:
    __opts__: dict[str, Any]
    __resource__: dict[str, Any]
    __resource_funcs__: dict[str, Any]


def _names(name: str | None, pkgs: list[Any] | None) -> list[Any]:
    return list(pkgs) if pkgs else str(name or "").split(",")


def list_pkgs() -> dict[str, str]:
    """
    Return the installed packages inside with their versions.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' pkg.list_pkgs
    """
    with publication.reached(__resource__, __resource_funcs__, __opts__) as inside:
        return packages.installed(inside)


def version(*names: str) -> str | dict[str, str]:
    """
    Return the installed version of a package inside, empty where it is not installed; of several, a mapping.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker' pkg.version openssl
    """
    found = list_pkgs()
    told = {name: found.get(name, "") for name in names}
    return told[names[0]] if len(names) == 1 else told


def refresh_db(timeout: float = packages.LONG) -> bool:
    """
    Let the package manager inside fetch its lists anew.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' pkg.refresh_db
    """
    with publication.reached(__resource__, __resource_funcs__, __opts__, "pkg.refresh_db") as inside:
        packages.refresh(inside, timeout)
    return True


def install(
    name: str | None = None,
    pkgs: list[Any] | None = None,
    refresh: bool = False,
    version: str | None = None,
    timeout: float = packages.LONG,
) -> dict[str, dict[str, str]]:
    """
    Install packages inside and return what has changed.

    name
        The package, or several, separated by commas.
    pkgs
        A list of packages, each a name or a mapping of a name to a version.
    refresh
        Fetch the manager's lists first.
    version
        The version of the one package.
    timeout
        Seconds after which the manager is killed, by default 900.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' pkg.install curl refresh=True
    """
    with publication.reached(__resource__, __resource_funcs__, __opts__, "pkg.install") as inside:
        if refresh:
            packages.refresh(inside, timeout)
        wanted = [{name: version}] if version and name and not pkgs else _names(name, pkgs)
        return packages.change(inside, "install", wanted, timeout)


def remove(
    name: str | None = None, pkgs: list[Any] | None = None, timeout: float = packages.LONG
) -> dict[str, dict[str, str]]:
    """
    Remove packages inside and return what has changed.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' pkg.remove curl
    """
    with publication.reached(__resource__, __resource_funcs__, __opts__, "pkg.remove") as inside:
        return packages.change(inside, "remove", _names(name, pkgs), timeout)


def purge(
    name: str | None = None, pkgs: list[Any] | None = None, timeout: float = packages.LONG
) -> dict[str, dict[str, str]]:
    """
    Remove packages inside with their configuration and return what has changed.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' pkg.purge curl
    """
    with publication.reached(__resource__, __resource_funcs__, __opts__, "pkg.purge") as inside:
        return packages.change(inside, "purge", _names(name, pkgs), timeout)


def upgrade(refresh: bool = True, timeout: float = packages.LONG) -> dict[str, dict[str, str]]:
    """
    Upgrade all packages inside and return what has changed.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' pkg.upgrade
    """
    with publication.reached(__resource__, __resource_funcs__, __opts__, "pkg.upgrade") as inside:
        if refresh:
            packages.refresh(inside, timeout)
        return packages.change(inside, "upgrade", (), timeout)
