"""
The present picture of a host's ports, with its age: out of the registry while the engine keeps it, else by a listing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from saltext_logilab import locks
from saltext_logilab.containers import listing
from saltext_logilab.containers.client import Client
from saltext_logilab.containers.database import exists, opened
from saltext_logilab.containers.exposure import of_address
from saltext_logilab.containers.ports import Container, Port
from saltext_logilab.containers.registry import CONNECTED, STALE, Registry
from saltext_logilab.containers.settings import ContainersSettings
from saltext_logilab.containers.shared import Shared, shares_network
from saltext_logilab.errors import UnavailableError

log = logging.getLogger(__name__)

TRUSTED = 180.0
ENGINE, LISTING, REGISTRY = "engine", "listing", "registry"


@dataclass(frozen=True)
class View:
    """What is known of one daemon: true ``at`` that time; ``state`` is ``connected`` or ``stale``."""

    daemon: str
    source: str
    state: str
    at: float
    containers: tuple[Container, ...]
    error: str = ""
    first_seen: Mapping[tuple[str, Port], float] = field(default_factory=dict)

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each port, as plain data."""
        return [
            row(self.daemon, one, port, first := self.first_seen.get((one.id, port), self.at), max(first, self.at))
            for one in self.containers
            for port in one.ports
        ]

    def summary(self, now: float) -> dict[str, Any]:
        """Return how the daemon is, as plain data; ``age`` in seconds."""
        told = {"state": self.state, "source": self.source, "age": round(max(now - self.at, 0.0), 3)}
        return {**told, **({"error": self.error} if self.error else {})}


def row(daemon: str, one: Container, port: Port, first_seen: float, last_seen: float) -> dict[str, Any]:
    """Return one row of the table of ports, as plain data; the times in seconds since the epoch."""
    return {
        "daemon": daemon,
        "container": one.name,
        "id": one.id[:12],
        "image": one.image,
        "state": one.state,
        "health": one.health,
        "project": one.project,
        "service": one.service,
        "labels": dict(one.labels),
        "protocol": port.protocol,
        "container_port": port.container_port,
        "host_ip": port.host_ip,
        "host_port": port.host_port,
        "origin": port.origin,
        "requested": port.requested,
        "exposure": of_address(port.host_ip),
        "first_seen": first_seen,
        "last_seen": last_seen,
    }


def take(settings: ContainersSettings, daemon: str | None = None, fresh: bool = False) -> list[View]:
    """
    Return the view of each daemon, or of ``daemon``: of the registry where the engine runs, unless ``fresh``.

    :raises ConfigurationError: there is no daemon of that name.
    :raises UnavailableError: nothing is known of any of them; the sentence names what cannot be reached.
    """
    chosen = settings.choose(daemon)
    views: list[View] = []
    errors: dict[str, str] = {}
    try:
        kept = _kept(settings, chosen)
    except UnavailableError as err:  # the daemons can be asked all the same
        log.warning("%s: the daemons are asked", err)
        kept = {}
    running = locks.is_held(settings.folder / locks.ENGINE)
    for name, url in chosen.items():
        if running and not fresh and name in kept and _is_kept_up(kept[name], time.time()):
            views.append(kept[name])
            continue
        try:
            views.append(listed(name, url, settings))
        except UnavailableError as err:
            errors[name] = str(err)
            if name in kept:  # what was known last, with its age, is better than nothing
                views.append(replace(kept[name], source=REGISTRY, state=STALE, error=str(err)))
    if not views and errors:
        raise UnavailableError("; ".join(errors.values()))
    known = {view.daemon for view in views}
    return [
        *views,
        *(View(name, LISTING, STALE, time.time(), (), errors[name]) for name in chosen if name not in known),
    ]


def _is_kept_up(view: View, now: float) -> bool:
    """Say whether the engine that runs does its work: it lists each minute what it can reach."""
    return view.state != CONNECTED or now - view.at < TRUSTED


def listed(name: str, url: str, settings: ContainersSettings) -> View:
    """
    Return what the daemon says now, by one listing; containers that share a network cost an inspection each.

    :raises UnavailableError: it cannot be asked.
    """
    at, client = time.time(), Client(url)
    listed = client.listing()
    found = {one.id: one for one in listing.containers(listed, settings.labels)}
    shared = Shared(client)
    unclear = {one.id for one in found.values() if shares_network(one) or not one.network}
    if unclear:
        unclear -= {one.id for one in found.values() if not one.network} & listing.with_own_network(listed)
    whole = (shared.complete(one, found) if one.id in unclear else one for one in found.values())
    return View(name, LISTING, CONNECTED, at, tuple(whole))


def _kept(settings: ContainersSettings, chosen: Mapping[str, str]) -> dict[str, View]:
    """Return what the registry knows of the daemons that it has ever reached under these URLs."""
    if not exists(settings.folder):
        return {}
    with opened(settings.folder) as connection:
        registry = Registry(connection)
        return {
            name: View(
                name,
                ENGINE,
                known.state,
                known.synced,
                tuple(registry.containers(name).values()),
                known.error,
                registry.first_seen(name),
            )
            for name, known in registry.daemons().items()
            if chosen.get(name) == known.url and known.synced is not None
        }
