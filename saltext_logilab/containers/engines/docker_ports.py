"""
Keep the registry of this host's published ports, and tell the masters of changes.

On a minion, or on a master that runs containers itself. Of several engines on one host, one is at work and the others
stand by. Without any setting it follows ``unix:///var/run/docker.sock``.

.. code-block:: yaml

    engines:
      - docker_ports: {}
    logilab:
      containers:
        daemons:
          docker: unix:///var/run/docker.sock
          podman: unix:///run/podman/podman.sock

Events: ``salt/logilab/containers/<daemon>/changed``, ``…/stale`` (the daemon cannot be followed), ``…/resynced`` (it
can again), with the changes; the mine entry ``docker_ports`` holds the whole table. Where the containers are targets of
their own (Salt 3008, pillar ``resources: {docker: …}``), each change lets the minion register them anew.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import salt.utils.event

from saltext_logilab.errors import ConfigurationError, LogilabError
from saltext_logilab.lifetime import while_parent_lives
from saltext_logilab.within import registration

if TYPE_CHECKING:
    __opts__: dict[str, Any]
    __salt__: dict[str, Any]

log = logging.getLogger(__name__)

RETRY = 10.0


def start() -> None:
    """
    Run until the minion or the master ends.

    With a wrong configuration it says so in the log and stands still; when something that it needs cannot be had, it
    says so and tries again.
    """
    from saltext_logilab.containers import service, settings  # noqa: PLC0415 - nothing of it is needed to load this file
    from saltext_logilab.containers.lookout import Lookout  # noqa: PLC0415

    alive = while_parent_lives()
    while alive():
        try:
            configured = settings.read(__opts__, __opts__.get("pillar"))
            lookout = Lookout(configured.daemons)
            effects = service.Effects(_fire, partial(_send_mine, configured), partial(_look, lookout))
            service.Service(configured, effects, alive).run()
        except LogilabError as err:
            log.critical("docker_ports does not run: %s", err)
            end = time.monotonic() + RETRY
            while alive() and (isinstance(err, ConfigurationError) or time.monotonic() < end):
                time.sleep(1)


def _fire(tag: str, data: dict[str, Any]) -> None:
    """Fire an event on the master's bus: from a minion, on that of each of its masters."""
    if __opts__.get("__role") == "master":
        with salt.utils.event.get_event("master", opts=__opts__, listen=False) as bus:
            bus.fire_event(data, tag)
        return
    message = {"data": data, "tag": tag, "events": None, "pretag": None}
    with salt.utils.event.get_event("minion", opts=__opts__, listen=False) as bus:
        bus.fire_event(message, "fire_master")  # every minion of this process takes it to its own master


def _look(lookout: Any) -> bool:
    """Let each minion of this process register its containers anew, where what it would tell of one has changed."""
    if __opts__.get("__role") == "master" or not lookout.has_news():
        return False
    registration.refresh(__opts__)
    return True


def _send_mine(configured: Any) -> None:
    """Send the table of ports to the mine of each master; a master has none."""
    if __opts__.get("__role") == "master" or not configured.mine:
        return
    allowed = {"allow_tgt": configured.allow_tgt, "allow_tgt_type": configured.allow_tgt_type}
    __salt__["mine.send"](
        "docker_ports", mine_function="docker_ports.table", **(allowed if configured.allow_tgt else {})
    )
