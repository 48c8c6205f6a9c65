"""The networks of a daemon as facts: by which interface of the host packets reach a container, if by any."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from saltext_logilab.containers import listing
from saltext_logilab.containers.ports import LIVE

_BRIDGE_NAME = "com.docker.network.bridge.name"
_OWN_WAY = ("macvlan", "ipvlan")


@dataclass(frozen=True)
class Network:
    """A network of containers; ``interface`` is the host's bridge to it (empty: it has none)."""

    id: str
    name: str
    driver: str
    interface: str


@dataclass(frozen=True)
class Attachment:
    """A running container on a network, with its addresses there, and what it exposes but does not publish."""

    container: str
    network: Network
    addresses: tuple[str, ...]
    exposed: tuple[tuple[str, int], ...]


def of(listed: Iterable[Mapping[str, Any]]) -> tuple[Network, ...]:
    """Return the networks of the Engine's ``NetworkList``."""
    return tuple(_network(one) for one in listed)


def _network(told: Mapping[str, Any]) -> Network:
    identity, driver = str(told.get("Id") or ""), str(told.get("Driver") or "")
    name = str((told.get("Options") or {}).get(_BRIDGE_NAME) or f"br-{identity[:12]}")
    return Network(identity, str(told.get("Name") or ""), driver, name if driver == "bridge" else "")


def attachments(listed: Iterable[Mapping[str, Any]], found: Sequence[Network]) -> Iterator[Attachment]:
    """Yield each running container of a listing with each of its networks."""
    by_id = {one.id: one for one in found}
    for one in listed:
        if str(one.get("State") or "").lower() not in LIVE:
            continue
        published = {(port.protocol, port.container_port) for port in listing.ports(one.get("Ports") or ())}
        told = {(str(each.get("Type") or "tcp"), int(each["PrivatePort"])) for each in one.get("Ports") or ()}
        for each in ((one.get("NetworkSettings") or {}).get("Networks") or {}).values():
            network = by_id.get(str(each.get("NetworkID") or ""))
            addresses = tuple(each[key] for key in ("IPAddress", "GlobalIPv6Address") if each.get(key))
            if network:
                name = listing.name(one.get("Names") or ())
                yield Attachment(name, network, addresses, tuple(sorted(told - published)))


def beside_the_host(listed: Iterable[Mapping[str, Any]], found: Sequence[Network]) -> list[str]:
    """Return, as text, the containers on networks whose packets never pass the host's own firewall."""
    return sorted(
        f"the container {one.container!r} on the {one.network.driver} network {one.network.name!r}"
        for one in attachments(listed, found)
        if one.network.driver in _OWN_WAY
    )
