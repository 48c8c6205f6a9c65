"""
The containers of a host as targets of their own: the resource type ``docker``, of Docker and Podman.

A minion whose pillar has the mapping makes its containers targets; nothing is installed in them.

.. code-block:: yaml

    resources:
      docker:
        match:                      # by default all containers that have ever started
          label: [role=web, role=db]
          name: 'shop-*'
        id: '{name}.{minion}'       # and {daemon}, {project}, {service}
        timeout: 600                # seconds that a command may take at most
        wildcard: false             # whether a target that names no resource may change one
        pillar:                     # what one of them gets besides its minion's pillar
          shop-web.host1: {haproxy: {…}}

The daemons are those of ``logilab: {containers: {daemons: …}}``. The engine ``docker_ports`` tells the minion of each
container that comes or goes; without it ``saltutil.refresh_resources`` looks again.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from salt.utils.resources import pillar_resources_tree

from saltext_logilab.containers import settings, targetrules, targets
from saltext_logilab.containers.interior import Interior
from saltext_logilab.within import overrides, registration
from saltext_logilab.within.rules import Reserved

if TYPE_CHECKING:
    __opts__: dict[str, Any]
    __resource__: dict[str, Any]

TYPE = "docker"


def __virtual__() -> str:
    return TYPE


def init(opts: dict[str, Any]) -> None:
    """Read the rule, so that a wrong one is told at once, and import what jobs need."""
    targetrules.read(pillar_resources_tree(opts).get(TYPE))
    overrides.preload()


def initialized() -> bool:
    """Return True: there is no connection to keep, which a job's process could not use."""
    return True


def discover(opts: dict[str, Any]) -> list[str]:
    """
    Look at all daemons and return the ids of the containers that the rule takes, and that nobody else has.

    The latest come first; masters are told of other ids that are refused than before.
    """
    pillar = pillar_resources_tree(opts).get(TYPE)
    rule, configured = targetrules.read(pillar), settings.read(opts, opts.get("pillar"))
    reserved = Reserved.told(opts["id"], (pillar or {}).get("reserved") or {})
    before = targets.KNOWN.picture
    picture = targets.KNOWN.look(configured.daemons, rule, opts["id"], reserved)
    registration.tell_refused(opts, "containers", before.refused, picture.refused)
    return list(picture.targets)


def grains() -> dict[str, Any]:
    """Return what is known of the current container."""
    return targets.KNOWN.grains(__resource__["id"], __opts__["id"])


def grains_refresh() -> dict[str, Any]:
    """Look again and return what is known of the current container."""
    discover(__opts__)
    return grains()


def ping() -> bool:
    """Return True where commands can run in the current container; else the error says why they cannot."""
    return targets.ping(targets.KNOWN.target(__resource__["id"]))


def transport() -> Interior:
    """Return the way into the current container."""
    rule = targetrules.read(pillar_resources_tree(__opts__).get(TYPE))
    return targets.KNOWN.target(__resource__["id"]).interior(rule.limit)


def shutdown(opts: dict[str, Any]) -> None:
    """Do nothing: there is nothing to end."""
