"""
The containers of this host as targets: one picture of them, and what is known of each.

A minion takes a picture when it is told to look again; the processes that it starts for its jobs have that one, so a
job lists nothing. A daemon that cannot be asked leaves what was known of it: its containers answer why they cannot be
reached, and do not vanish from the masters for a moment's trouble.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from saltext_logilab.containers import listing
from saltext_logilab.containers.client import Client
from saltext_logilab.containers.interior import Interior
from saltext_logilab.containers.ports import LIVE
from saltext_logilab.containers.targetrules import Rule
from saltext_logilab.errors import LogilabError, UnavailableError
from saltext_logilab.within import facts, ids
from saltext_logilab.within.rules import Reserved
from saltext_logilab.within.transport import NotRunningError

log = logging.getLogger(__name__)

TIMEOUT = 5.0
LONGEST_LABEL, MOST_LABELS = 256, 64


@dataclass(frozen=True)
class Target:
    """A container that can be targeted: its daemon and what a listing tells of it."""

    id: str
    daemon: str
    url: str
    listed: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The container's name."""
        return listing.name(self.listed.get("Names") or ())

    def interior(self, limit: float) -> Interior:
        """Return the way into it."""
        return Interior(Client(self.url, keep=True), self.name, limit)


@dataclass(frozen=True)
class Picture:
    """The targets by id, the ids that were refused with the reason, and the daemons that could not be asked."""

    at: float
    pid: int
    targets: Mapping[str, Target] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """Return it as plain data."""
        found = {
            key: {"daemon": one.daemon, "container": one.name, "state": listing.state(one.listed)}
            for key, one in sorted(self.targets.items())
        }
        return {"targets": found, "refused": dict(self.refused), "errors": dict(self.errors)}


class Targets:
    """What a process knows of the targets; :data:`KNOWN` is that of this process."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._listed: dict[str, list[dict[str, Any]]] = {}
        self._images: dict[str, dict[str, Any]] = {}
        self.picture = Picture(0.0, 0)

    def look(self, daemons: Mapping[str, str], rule: Rule, minion: str, reserved: Reserved) -> Picture:
        """Take a picture; in a process that a job was started in, return that of the one which started it."""
        if self.picture.pid and self.picture.pid != os.getpid():
            return self.picture
        errors = {}
        for daemon, url in daemons.items():
            try:
                self._listed[url] = [one for one in Client(url, TIMEOUT).listing() if listing.state(one) != "created"]
            except UnavailableError as err:
                errors[daemon] = str(err)
        found = [
            (rule.id_of(one, daemon, minion), daemon, url, one)
            for daemon, url in daemons.items()
            for one in self._listed.get(url, ())
            if listing.name(one.get("Names") or ()) and rule.takes(one)
        ]
        sorted_out = ids.sort_out(
            ((one, f"{daemon}:{entry['Id']}") for one, daemon, _, entry in found), reserved.minions, reserved.owned
        )
        known = {one: Target(one, daemon, url, entry) for one, daemon, url, entry in found if one in sorted_out.names}
        targets = {one: known[one] for one in ids.newest_first(known, self.picture.targets)}
        self._tell(sorted_out.refused, errors)
        self.picture = Picture(self._clock(), os.getpid(), targets, sorted_out.refused, errors)
        return self.picture

    def _tell(self, refused: Mapping[str, str], errors: Mapping[str, str]) -> None:
        for one, why in refused.items():
            if one not in self.picture.refused:
                log.error("a container is no target: %s", why)
        for daemon, why in errors.items():
            if daemon not in self.picture.errors:
                log.warning("the containers of %s are those that were known: %s", daemon, why)

    def target(self, one: str) -> Target:
        """
        Return the target of an id.

        :raises UnavailableError: there is none.
        """
        found = self.picture.targets.get(one)
        if found is None:
            raise UnavailableError(f"there is no container {one!r} on this minion")
        return found

    def grains(self, one: str, minion: str) -> dict[str, Any]:
        """Return what is known of a target; raises as :meth:`target`."""
        target = self.target(one)
        return {**self._image(target), **of_listing(target, minion)}

    def _image(self, target: Target) -> dict[str, Any]:
        """Return what is known of a target's image: asked once for each image."""
        key = str(target.listed.get("ImageID") or "")
        if key not in self._images:
            client = Client(target.url, TIMEOUT)
            try:
                digests = client.image(key).get("RepoDigests") or []
                found = {"digest": str(digests[0]).partition("@")[2] if digests else key}
                self._images[key] = {**facts.system(Interior(client, target.name)), **found}
            except LogilabError as err:
                log.debug("the image of %s: %s", target.id, err)
                return {"digest": key}
        return self._images[key]


KNOWN = Targets()


def of_listing(target: Target, minion: str) -> dict[str, Any]:
    """Return the grains that a listing tells."""
    own = {
        "id": target.id,
        "resource_type": "docker",
        "resource_id": target.id,
        "managing_minion": minion,
        "daemon": target.daemon,
    }
    return {**own, **facts_of(target.listed)}


def facts_of(listed: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is told of the container of an entry of a listing."""
    told = listing.container(listed)
    labels = sorted((listed.get("Labels") or {}).items())[:MOST_LABELS]
    networks = ((listed.get("NetworkSettings") or {}).get("Networks") or {}).items()
    return {
        "container": told.name,
        "container_id": told.id[:12],
        "image": told.image,
        "image_id": str(listed.get("ImageID") or ""),
        "created": listed.get("Created"),
        "state": told.state,
        "health": told.health,
        "project": told.project,
        "service": told.service,
        "labels": {str(key)[:LONGEST_LABEL]: str(value)[:LONGEST_LABEL] for key, value in labels},
        "networks": {name: str(one.get("IPAddress") or "") for name, one in networks},
        "ports": [str(port) for port in told.ports],
    }


def ping(target: Target) -> bool:
    """
    Say whether commands can run in a target now.

    :raises NotRunningError: they cannot; the sentence says why.
    :raises UnavailableError: it is gone, or its daemon cannot be asked.
    """
    state = Client(target.url, TIMEOUT).inspect(target.name).get("State") or {}
    status = str(state.get("Status", "")).lower()
    if status not in LIVE or state.get("Paused"):
        raise NotRunningError(f"the container {target.name!r} is not running: it is {status or 'stopped'}")
    return True
