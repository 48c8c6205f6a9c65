"""Who holds which port of this host: containers, and every other process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from saltext_logilab.containers.listeners import Listener
from saltext_logilab.containers.picture import View


@dataclass(frozen=True)
class Occupant:
    """What holds a port: a container, or (``container_port`` 0) another process."""

    name: str
    names: frozenset[str] = frozenset()
    container_port: int = 0

    def is_of(self, owner: str, container_port: int | None = None) -> bool:
        """Say whether it is the container of ``owner``: by its name, its compose project or service."""
        return owner in self.names and container_port in (None, self.container_port)


Occupants = Mapping[tuple[str, int], Occupant]


def occupants(views: Iterable[View], listening: Iterable[Listener]) -> dict[tuple[str, int], Occupant]:
    """Return who holds each protocol and host port, containers before the processes that serve them."""
    found = {(one.protocol, one.port): Occupant("another process of this host") for one in listening}
    for view in views:
        for one in view.containers:
            names = frozenset({one.name, one.project, one.service, f"{one.project}-{one.service}"} - {"", "-"})
            for port in one.ports:
                told = Occupant(f"the container {one.name!r}", names, port.container_port)
                found[port.protocol, port.host_port] = told
    return found
