"""
The guests of a host as targets of their own, by the QEMU guest agent: the resource type ``libvirt``.

A minion whose pillar has the mapping makes its guests targets; they need no minion and no network, but the package
``qemu-guest-agent`` and a channel ``org.qemu.guest_agent.0``.

.. code-block:: yaml

    resources:
      libvirt:
        match:                      # by default all guests
          name: ['shop-*', 'db?']
          title: 'shop: *'
        id: '{name}.{minion}'       # and {uuid}
        timeout: 600                # seconds that a command may take at most
        wildcard: false             # whether a target that names no resource may change one
        pillar:                     # what one of them gets besides its minion's pillar
          shop-web.kvm1: {haproxy: {…}}

Libvirt is that of ``logilab: {guests: {uri: …}}``. The engine ``libvirt_targets`` lets the minion look again whenever a
guest starts, stops, comes or goes; without it ``saltutil.refresh_resources`` does.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from salt.utils.resources import pillar_resources_tree

from saltext_logilab.guests import settings, targets
from saltext_logilab.guests.interior import Interior
from saltext_logilab.within import overrides, registration
from saltext_logilab.within.rules import Reserved

if TYPE_CHECKING:
    __opts__: dict[str, Any]
    __resource__: dict[str, Any]

TYPE = targets.TYPE


def __virtual__() -> str:
    return TYPE


def init(opts: dict[str, Any]) -> None:
    """Read the rule, so that a wrong one is told at once, and import what jobs need."""
    targets.read(pillar_resources_tree(opts).get(TYPE))
    overrides.preload()


def initialized() -> bool:
    """Return True: there is no connection to keep, which a job's process could not use."""
    return True


def discover(opts: dict[str, Any]) -> list[str]:
    """
    Look at libvirt and return the ids of the guests that the rule takes, and that nobody else has.

    The latest come first; masters are told of other ids that are refused than before.
    """
    pillar = pillar_resources_tree(opts).get(TYPE)
    reserved = Reserved.told(opts["id"], (pillar or {}).get("reserved") or {})
    before = targets.KNOWN.picture
    picture = targets.KNOWN.look(settings.read(opts).uri, targets.read(pillar), opts["id"], reserved)
    registration.tell_refused(opts, "guests", before.refused, picture.refused)
    return list(picture.targets)


def grains() -> dict[str, Any]:
    """Return what is known of the current guest."""
    return targets.KNOWN.grains(__resource__["id"], __opts__["id"])


def grains_refresh() -> dict[str, Any]:
    """Look again, ask the current guest's agent anew, and return what is known of it."""
    targets.KNOWN.forget(__resource__["id"])
    discover(__opts__)
    return grains()


def ping() -> bool:
    """Return True where commands can run in the current guest; else the error says why they cannot."""
    return targets.ping(targets.KNOWN.target(__resource__["id"]), settings.read(__opts__).agent_timeout)


def transport() -> Interior:
    """Return the way into the current guest."""
    limit = targets.read(pillar_resources_tree(__opts__).get(TYPE)).limit
    return targets.KNOWN.target(__resource__["id"]).interior(settings.read(__opts__).agent_timeout, limit)


def shutdown(opts: dict[str, Any]) -> None:
    """Do nothing: there is nothing to end."""
