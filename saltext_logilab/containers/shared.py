"""
What a listing leaves out: how ports were asked for, and the ports of containers that share a network.

A container of ``--network host`` or ``--network container:X`` has no ports in the Engine's eyes. Its row is what its
processes really listen on: on the host itself, or behind what X publishes. One inspection a container and start is
needed; it is kept until the container stops.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from saltext_logilab.containers import listing, place
from saltext_logilab.containers.client import Client, NoSuchContainerError
from saltext_logilab.containers.listeners import Listener, of_container
from saltext_logilab.containers.ports import LISTENER, LIVE, Container, Port

HOST, OF_CONTAINER = "host", "container:"


@dataclass(frozen=True)
class _Start:
    """What an inspection told of a container, as long as it runs with these ports."""

    ports: tuple[Port, ...]
    pid: int = 0
    requested: Mapping[tuple[str, int], str] = field(default_factory=dict)
    network: str = ""


class Shared:
    """Completes containers by what one inspection of each tells."""

    def __init__(self, client: Client, listeners: Callable[[int], set[Listener]] = of_container) -> None:
        self._client = client
        self._listeners = listeners
        self._starts: dict[str, _Start] = {}

    def complete(
        self, one: Container, listed: Mapping[str, Container], known: Mapping[str, Container] | None = None
    ) -> Container:
        """
        Return ``one`` with how its ports were asked for and, where it shares a network, what it listens on.

        ``listed`` are the containers of its daemon; of those in ``known`` with the same ports, nothing is asked again.
        """
        if one.state not in LIVE:
            self._starts.pop(one.id, None)
            return one
        before, start = (known or {}).get(one.id), None
        if not one.network:  # Podman's listing does not tell
            start = None if before and before.network else self._start(one)
            one = replace(one, network=start.network if start else before.network if before else "")
        if shares_network(one):
            return replace(one, ports=self._listening(one, listed))
        if not one.ports:
            return one
        if before is not None and before.ports == one.ports and all(port.requested for port in before.ports):
            return replace(one, ports=before.ports)
        asked = (start or self._start(one)).requested
        ports = (replace(port, requested=asked.get((port.protocol, port.container_port), "any")) for port in one.ports)
        return replace(one, ports=tuple(ports))

    def forget(self, container: str) -> None:
        """Ask anew for ``container``: it was started again."""
        self._starts.pop(container, None)

    def _start(self, one: Container) -> _Start:
        held = self._starts.get(one.id)
        if held is None or held.ports != one.ports:
            try:
                told = self._client.inspect(one.id)
            except NoSuchContainerError:
                return _Start(one.ports)
            pid = int((told.get("State") or {}).get("Pid") or 0)
            held = _Start(one.ports, pid, listing.requested(told), listing.network_mode(told))
            if _is_shared(held.network):
                self._starts[one.id] = held
        return held

    def _listening(self, one: Container, listed: Mapping[str, Container]) -> tuple[Port, ...]:
        start, told = self._start(one), one.ports  # Podman tells them of each container of a pod, not of their owner
        where = place.of(self._client.url)
        found = self._listeners(start.pid) if start.pid and where.processes else set()
        if one.network == HOST and not where.network:
            return ()  # the network that a rootless daemon calls the host's is its own
        if one.network == HOST:
            ports = {Port(each.protocol, each.port, each.ip, each.port, LISTENER, "listener") for each in found}
        else:
            wanted = one.network.removeprefix(OF_CONTAINER)
            owner = listed.get(wanted) or next((each for each in listed.values() if each.name == wanted), None)
            ports = {
                replace(port, origin=LISTENER)
                for each in found
                for port in (owner.ports if owner else told)
                if (each.protocol, each.port) == (port.protocol, port.container_port)
            }
        return tuple(sorted(ports))


def real_ports(client: Client, inspected: Mapping[str, Any]) -> tuple[Port, ...]:
    """
    Return the ports of the container of an inspection: as published, or where it shares a network, as it listens.

    :raises UnavailableError: the daemon cannot be asked.
    """
    if not _is_shared(listing.network_mode(inspected)):
        return listing.inspected_ports(inspected)
    listed = {one.id: one for one in listing.containers(client.listing())}
    one = listed.get(inspected["Id"])
    return Shared(client).complete(one, listed).ports if one else ()


def shares_network(one: Container) -> bool:
    """Say whether ``one`` has no network of its own."""
    return _is_shared(one.network)


def _is_shared(mode: str) -> bool:
    return mode == HOST or mode.startswith(OF_CONTAINER)
