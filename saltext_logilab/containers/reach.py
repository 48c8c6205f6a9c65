"""
How far each port of the containers reaches: by its address, by the firewall, and past both by a route (pure).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from saltext_logilab.containers.exposure import LOOPBACK, of_networks
from saltext_logilab.containers.firewall import DNAT, NEW, USER_CHAIN, Firewall, Packet
from saltext_logilab.containers.networks import Attachment
from saltext_logilab.containers.ports import PUBLISHED

_KEYS = ("daemon", "container", "protocol", "container_port", "host_ip", "host_port", "origin")
_RANK = {"public": 0, "local": 1, "filtered": 2, LOOPBACK: 3}
ANY_PORT = 0


@dataclass(frozen=True)
class Scene:
    """What an audit looks at: the rules by family, and the daemon's containers on their networks."""

    firewalls: Mapping[int, Firewall]
    attachments: Sequence[tuple[str, Attachment]] = ()

    def of(self, daemon: str, container: str) -> Iterator[Attachment]:
        """Yield the networks of one container that have an interface of this host."""
        for name, one in self.attachments:
            if (name, one.container) == (daemon, container) and one.network.interface:
                yield one


def ports(rows: Iterable[Mapping[str, Any]], scene: Scene) -> list[dict[str, Any]]:
    """Return each row's port with its ``exposure``, the reason for it (``why``), and whether a route leads to it."""
    found, rows = [], list(rows)
    published = {_way(row) for row in rows if row["origin"] == PUBLISHED}
    for row in rows:
        # What shares the network of a container is reached as that one's published port is.
        reach, why = exposure({**row, "origin": PUBLISHED} if _way(row) in published else row, scene)
        routed = sorted(_routes(scene, row["daemon"], row["container"], row["protocol"], row["container_port"]))
        told = {key: row[key] for key in _KEYS}
        found.append({**told, "exposure": reach, "why": why, "routed": routed})
    return found


def _way(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[key] for key in ("daemon", "protocol", "container_port", "host_ip", "host_port"))


def exposure(row: Mapping[str, Any], scene: Scene) -> tuple[str, str]:
    """
    Return how far a row's port reaches, and why: by its address, then by the rules on its way.

    Over IPv6, where Docker makes no DNAT by itself, docker-proxy takes the connection out of the host's INPUT, and so
    does a listener on the host's own network: there DOCKER-USER refuses nothing.
    """
    firewall = scene.firewalls[ipaddress.ip_address(row["host_ip"]).version]
    reach, by_address = str(row["exposure"]), f"bound to {row['host_ip']}"
    if reach == LOOPBACK:
        return reach, by_address
    if row["origin"] != PUBLISHED or not firewall.translates(row["protocol"], row["host_port"]):
        packet = Packet(row["protocol"], row["host_port"], row["host_port"])
        otherwise = f"taken in through INPUT, which {USER_CHAIN} does not see"
        return _narrowed(reach, by_address, "INPUT", firewall.admits("INPUT", packet), otherwise)
    if not firewall.jumps:
        return reach, f"{by_address}; FORWARD does not lead to {USER_CHAIN}: no rule there counts"
    otherwise = f"no rule of {USER_CHAIN} refuses it to everybody"
    return _narrowed(reach, by_address, "FORWARD", firewall.admits("FORWARD", _forwarded(row, scene)), otherwise)


def _forwarded(row: Mapping[str, Any], scene: Scene) -> Packet:
    """Return a connection to a published port as FORWARD sees it."""
    bridges = {one.network.interface for one in scene.of(row["daemon"], row["container"])}
    bridge = bridges.pop() if len(bridges) == 1 else ""
    return Packet(row["protocol"], row["container_port"], row["host_port"], frozenset({NEW, DNAT}), bridge)


def _narrowed(
    reach: str, by_address: str, chain: str, admitted: Sequence[str] | None, otherwise: str
) -> tuple[str, str]:
    if admitted is None:
        return reach, f"{by_address}; {otherwise}"
    told = f"{chain} lets in {', '.join(admitted)} alone" if admitted else f"{chain} refuses it by its published port"
    return max(reach, of_networks(admitted), key=_RANK.__getitem__), f"{by_address}; {told}"


def unpublished(scene: Scene) -> list[dict[str, Any]]:
    """
    Return the containers that a neighbour with a route reaches though nothing is published for it, by their addresses.

    ``ports`` are those that the container's image tells of; any other is reached as well.
    """
    return [
        {
            "daemon": daemon,
            "container": one.container,
            "address": address,
            "ports": [f"{n}/{p}" for p, n in one.exposed],
        }
        for daemon, one in scene.attachments
        for address in one.addresses
        if one.network.interface and _is_routed(scene, one, address, "tcp", ANY_PORT)
    ]


def _routes(scene: Scene, daemon: str, container: str, protocol: str, port: int) -> Iterator[str]:
    for one in scene.of(daemon, container):
        yield from (each for each in one.addresses if _is_routed(scene, one, each, protocol, port))


def _is_routed(scene: Scene, one: Attachment, address: str, protocol: str, port: int) -> bool:
    firewall = scene.firewalls[ipaddress.ip_address(address).version]
    packet = Packet(protocol, port, port, frozenset({NEW}), one.network.interface, address)
    return firewall.admits("FORWARD", packet) != () and not firewall.refuses_unforwarded(packet)
