"""
Virtual networks of libvirt, as far as guests need them: defined, active, and started with the host.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from saltext_logilab.errors import LogilabError
from saltext_logilab.guests import connection, networks
from saltext_logilab.guests import settings as guests_settings
from saltext_logilab.outcomes import outcome as _answer

if TYPE_CHECKING:
    __opts__: dict[str, Any]


def present(
    name: str,
    bridge: str | None = None,
    forward: str | None = None,
    address: str | None = None,
    dhcp: list[str] | None = None,
    autostart: bool | None = True,
) -> dict[str, Any]:
    """
    Have an active virtual network. One that is there is adopted: what is not told of it stays as it is.

    A network that runs takes a new definition at its next start, for its guests would lose their connection; the
    comment says so.

    name
        The network.
    bridge
        The bridge of the host that guests are plugged into; then nothing else is told.
    forward
        ``nat``, ``route``, ``open``, or ``isolated`` for guests that reach each other and the host alone.
    address
        The host's address in the network, such as ``192.168.100.1/24``.
    dhcp
        The first and the last address that guests get.
    autostart
        Whether it starts with the host; None for as it is.

    .. code-block:: yaml

        lan:
          libvirt_network.present:
            - bridge: br0
        office:
          libvirt_network.present:
            - forward: nat
            - address: 192.168.100.1/24
            - dhcp: [192.168.100.100, 192.168.100.200]
    """
    try:
        want = networks.read({"bridge": bridge, "forward": forward, "address": address, "dhcp": dhcp})
        with connection.opened(guests_settings.read(__opts__).uri) as link:
            todo = networks.plan(link, name, want, autostart)
            later = "; it runs on as it was until its next start" if todo.later else ""
            if not todo.changes:
                return _answer(name, True, f"the network {name} is as it shall be")
            if __opts__["test"]:
                return _answer(name, None, f"the network {name} would be changed{later}", todo.changes)
            networks.apply(link, name, todo)
    except LogilabError as err:
        return _answer(name, False, str(err))
    return _answer(name, True, f"the network {name} is changed{later}", todo.changes)
