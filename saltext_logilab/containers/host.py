"""What the execution module does with the ports of this host: facts, then a decision, as plain data."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from saltext_logilab import locks
from saltext_logilab.containers import (
    addresses,
    compact,
    declared,
    firewall,
    listeners,
    listing,
    networks,
    picture,
    place,
    probe,
    reach,
)
from saltext_logilab.containers.allocation import Key, Reservation
from saltext_logilab.containers.client import Client, NoSuchContainerError
from saltext_logilab.containers.database import exists, opened
from saltext_logilab.containers.occupants import Occupants, occupants
from saltext_logilab.containers.picture import View
from saltext_logilab.containers.ports import parse_container_port, parse_port
from saltext_logilab.containers.registry import CONNECTED, Daemon, Registry
from saltext_logilab.containers.reservations import Reservations
from saltext_logilab.containers.selection import Criteria
from saltext_logilab.containers.service import change_data
from saltext_logilab.containers.settings import ContainersSettings
from saltext_logilab.containers.shared import real_ports
from saltext_logilab.errors import ConfigurationError, UnavailableError


def answer(views: Iterable[View], criteria: Criteria, now: float) -> dict[str, Any]:
    """Return the rows that meet ``criteria`` with the age of the oldest view, and how each daemon is."""
    views = list(views)
    rows = [row for view in views for row in view.rows() if criteria.match(row)]
    ages = [now - view.at for view in views]
    return {
        "age": round(max(ages, default=0.0), 3),
        "daemons": {view.daemon: view.summary(now) for view in views},
        "ports": sorted(rows, key=lambda row: (row["host_port"], row["protocol"], row["host_ip"], row["container"])),
    }


def find(settings: ContainersSettings, criteria: Criteria, daemon: str | None = None, fresh: bool = False) -> Any:
    """Return the rows that meet ``criteria``; raises as :func:`.picture.take`."""
    return answer(picture.take(settings, daemon, fresh), criteria, time.time())


def table(settings: ContainersSettings, master: str = "") -> dict[str, Any]:
    """Return the compact table for the mine of the ``master`` with that address; raises as :func:`.picture.take`."""
    return compact.pack(picture.take(settings), time.time(), addresses.of_this_host(master))


def rows(settings: ContainersSettings, strict: bool = False) -> list[dict[str, Any]]:
    """
    Return all rows with their age and the address of this host.

    :raises UnavailableError: no daemon can be reached, or with ``strict`` not every one.
    """
    now, address = time.time(), addresses.of_this_host()
    views = picture.take(settings)
    if strict and (stale := [view for view in views if view.state != CONNECTED]):
        raise UnavailableError(
            "; ".join(view.error or f"the daemon {view.daemon} cannot be followed" for view in stale)
        )
    found = answer(views, Criteria(), now)["ports"]
    return [{**row, "age": round(now - row["last_seen"], 1), "address": address} for row in found]


def diff(settings: ContainersSettings, told: Any) -> dict[str, Any]:
    """Return where the declared ports, by default those of the settings, and the real ones differ, with the age."""
    found = find(settings, Criteria())
    differences = declared.diff(settings.declared if told is None else told, found["ports"])
    return {"age": found["age"], "ok": not differences, "containers": differences}


def audit(settings: ContainersSettings) -> dict[str, Any]:
    """
    Return how far each port reaches, and which containers a neighbour with a route reaches besides.

    :raises UnavailableError: the firewall or a daemon cannot be read.
    """
    found = find(settings, Criteria())
    scene = reach.Scene({family: firewall.read(family) for family in firewall.PROGRAMS}, list(_attached(settings)))
    return {
        "age": found["age"],
        "ports": reach.ports(found["ports"], scene),
        "unpublished": reach.unpublished(scene),
    }


def _attached(settings: ContainersSettings) -> Iterator[tuple[str, networks.Attachment]]:
    for name, url in settings.daemons.items():
        if place.of(url).rootless:  # out of its network only published ports lead
            continue
        client = Client(url)
        for one in networks.attachments(client.listing(), networks.of(client.networks())):
            yield name, one


def inspect(settings: ContainersSettings, name: str, daemon: str | None) -> tuple[str, Client, dict[str, Any]]:
    """
    Return the daemon that has the container ``name``, a client of it, and the inspection.

    :raises UnavailableError: no daemon has it, or several have, or none can be asked.
    """
    found, errors = [], []
    for each, url in settings.choose(daemon).items():
        client = Client(url)
        try:
            found.append((each, client, client.inspect(str(name))))
        except NoSuchContainerError:
            continue
        except UnavailableError as err:
            errors.append(str(err))
    if len(found) > 1:
        names = ", ".join(each for each, _, _ in found)
        raise UnavailableError(f"several daemons have a container {name!r} ({names}): choose one by daemon=")
    if not found:
        raise UnavailableError("; ".join(errors) or f"no daemon has a container {name!r}")
    return found[0]


def container(settings: ContainersSettings, name: str, daemon: str | None) -> dict[str, Any]:
    """Return what the Engine tells now of one container's ports; raises as :func:`inspect`."""
    at = time.time()
    each, client, told = inspect(settings, name, daemon)
    state, config = told.get("State") or {}, told.get("Config") or {}
    asked = listing.requested(told)
    ports = [
        {
            "protocol": port.protocol,
            "container_port": port.container_port,
            "host_ip": port.host_ip,
            "host_port": port.host_port,
            "origin": port.origin,
            "requested": port.requested or asked.get((port.protocol, port.container_port), "any"),
        }
        for port in real_ports(client, told)
    ]
    return {
        "age": round(time.time() - at, 3),
        "daemon": each,
        "container": str(told.get("Name", "")).strip("/"),
        "id": str(told["Id"])[:12],
        "image": config.get("Image", ""),
        "state": state.get("Status", ""),
        "health": (state.get("Health") or {}).get("Status", ""),
        "network": (told.get("HostConfig") or {}).get("NetworkMode", ""),
        "ports": ports,
        "requested": {f"{port}/{protocol}": text for (protocol, port), text in sorted(asked.items())},
    }


def wait(settings: ContainersSettings, name: str, port: tuple[Any, str], timeout: float, daemon: str | None) -> bool:
    """Wait until the container's port really answers; a container that comes up only meanwhile is waited for too."""
    number, protocol = parse_container_port(*port)
    if timeout < 0:
        raise ConfigurationError(f"timeout must not be negative, not {timeout!r}")

    def check() -> bool:
        try:
            _, client, _ = inspect(settings, name, daemon)
            return probe.container_answers(client, str(name), (protocol, number))
        except UnavailableError:
            return False

    settings.choose(daemon)
    return probe.wait(check, timeout, time.monotonic, time.sleep)


def history(settings: ContainersSettings, name: str, daemon: str | None, limit: int) -> dict[str, Any]:
    """Return the last changes, newest first, with the age of the registry that holds them."""
    chosen = settings.choose(daemon)
    if limit < 1:
        raise ConfigurationError(f"limit must be at least 1, not {limit!r}")
    if not exists(settings.folder):
        return {"age": None, "changes": []}
    with opened(settings.folder) as connection:
        registry = Registry(connection)
        known = [one for one in registry.daemons().values() if one.name in chosen]
        told = list(registry.history(daemon or "", name, limit))
    times = [one.synced for one in known if one.synced]
    age = round(time.time() - min(times), 3) if times else None
    return {"age": age, "changes": [change_data(each, change) for each, change in told]}


def status(settings: ContainersSettings, now: float) -> dict[str, Any]:
    """Return how the engine and the daemons are, and in a sentence each what is wrong."""
    known: dict[str, Daemon] = {}
    if exists(settings.folder):
        with opened(settings.folder) as connection:
            known = Registry(connection).daemons()
    running = locks.is_held(settings.folder / locks.ENGINE)
    daemons = {name: _daemon(url, known.get(name), now) for name, url in settings.daemons.items()}
    problems = [] if running else ["the engine docker_ports does not run on this host: each answer costs a listing"]
    problems += [f"{name}: {one['error']}" for name, one in daemons.items() if one.get("error")]
    problems += _band_problems(settings)
    return {
        "ok": not problems,
        "engine": "running" if running else "stopped",
        "daemons": daemons,
        "problems": problems,
    }


def _daemon(url: str, known: Daemon | None, now: float) -> dict[str, Any]:
    if known is None or known.url != url:
        return {"url": url, "state": "unknown"}
    return {
        "url": url,
        "state": known.state,
        "for": round(now - known.since, 1),
        "age": round(now - known.synced, 1) if known.synced else None,
        "engine": known.engine,
        "generation": known.generation,
        **({"error": known.error} if known.error else {}),
    }


def _band_problems(settings: ContainersSettings) -> Iterator[str]:
    low, high = listeners.ephemeral()
    for name, pool in settings.pools.items():
        for first, last in (pool.static, pool.dynamic):
            if first and max(first, low) <= min(last, high):
                yield (
                    f"the pool {name!r} ({first}-{last}) overlaps the ports that the kernel gives to clients"
                    f" ({low}-{high}): set net.ipv4.ip_local_reserved_ports, or choose another range"
                )


def claimed(settings: ContainersSettings) -> list[View]:
    """Return the fresh view of each daemon that can be reached: reserving works without any."""
    views = []
    for name, url in settings.daemons.items():
        try:
            views.append(picture.listed(name, url, settings))
        except UnavailableError:
            continue  # what its containers hold, the kernel's tables show as well
    return views


@contextmanager
def reservations(settings: ContainersSettings) -> Iterator[Reservations]:
    """
    Open the reservations, which look at the present holders of all ports where they have to.

    :raises UnavailableError: the state folder cannot be used.
    """
    with opened(settings.folder, durable=True) as connection:
        yield Reservations(connection, partial(_holders, settings), listeners.can_bind)


def _holders(settings: ContainersSettings) -> Occupants:
    return occupants(claimed(settings), listeners.of_namespace())


def reserved(settings: ContainersSettings, wanted: Key) -> Reservation | None:
    """Return the reservation of ``wanted``, if it has one; raises as :func:`reservations`."""
    with reservations(settings) as held:
        return held.get(wanted)


def key(name: str, port: Any, protocol: str) -> Key:
    """
    Return the key of an owner's container port.

    :raises ConfigurationError: the name is empty or a value is malformed.
    """
    if not isinstance(name, str) or not name or any(not one.isprintable() for one in name) or len(name) > 200:
        raise ConfigurationError(f"{name!r} is no name of an owner")
    number, told = parse_container_port(port, protocol)
    return Key(name, told, number)


def chosen_port(port: Any) -> int | None:
    """Return the host port that a caller chose, or None; raises as :func:`.ports.parse_port`."""
    return None if port is None else parse_port(port)


def reservation_data(one: Reservation, unused: bool) -> dict[str, Any]:
    """Return a reservation as plain data."""
    return {
        "name": one.key.owner,
        "protocol": one.key.protocol,
        "container_port": one.key.container_port,
        "host_port": one.host_port,
        "pool": one.pool,
        "at": one.at,
        "used": one.used,
        "unused": unused,
    }
