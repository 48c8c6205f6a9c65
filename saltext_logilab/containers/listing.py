"""
What the Engine's answers say, as facts.

The formats are those of the Docker Engine API (``ContainerList``, ``ContainerInspect``, ``SystemEvents``), which
Podman's service speaks too.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from saltext_logilab.containers.ports import LIVE, Container, Port, bracketed

PROJECT, SERVICE = "com.docker.compose.project", "com.docker.compose.service"
_SWARM_SERVICE = "com.docker.swarm.service.name"
_HEALTH = re.compile(r"\((?:health: )?(healthy|unhealthy|starting)\)")
_STATES = {"start": "running", "unpause": "running", "pause": "paused", "die": "exited", "destroy": "gone"}


@dataclass(frozen=True)
class Event:
    """
    A change that the Engine tells of: ``at`` in seconds, ``key`` the same for one that is told again.

    ``state``, ``name`` and ``health`` are what the container has from now on; empty where the event says nothing of it.
    """

    at: float
    nano: int
    container: str
    action: str
    state: str = ""
    name: str = ""
    old_name: str = ""
    health: str = ""

    @property
    def key(self) -> str:
        """What identifies the event within its daemon."""
        return f"{self.nano}:{self.container[:12]}:{self.action}"


def containers(listed: Iterable[Mapping[str, Any]], labels: Collection[str] = ()) -> tuple[Container, ...]:
    """Return the containers of a listing, those left out that never started; of their labels the ones in ``labels``."""
    return tuple(container(one, labels) for one in listed if str(one.get("State", "")).lower() != "created")


def laid_over(listed: Mapping[str, Any], event: Event | None) -> Mapping[str, Any]:
    """Return an entry of a listing with what a fresh ``event`` told: the listing may still show what was before."""
    if event is None:
        return listed
    told: dict[str, Any] = {"State": "exited" if event.state == "gone" else event.state} if event.state else {}
    if event.name:
        told["Names"] = [event.name]
    if event.health:
        told["Status"] = f"({event.health})"
    return {**listed, **told}


def container(listed: Mapping[str, Any], labels: Collection[str] = ()) -> Container:
    """Return the container of one entry of a listing."""
    told = listed.get("Labels") or {}
    health = _HEALTH.search(str(listed.get("Status") or ""))
    # After a crash of the daemon, exited containers still claim their ports.
    told_state = state(listed)
    return Container(
        id=listed["Id"],
        name=name(listed.get("Names") or ()),
        image=str(listed.get("Image") or ""),
        state=told_state,
        health=health[1] if health and told_state in LIVE else "",
        network=str((listed.get("HostConfig") or {}).get("NetworkMode") or ""),
        project=str(told.get(PROJECT, "")),
        service=str(told.get(SERVICE) or told.get(_SWARM_SERVICE) or ""),
        labels=tuple(sorted((key, str(value)) for key, value in told.items() if key in labels)),
        ports=ports(listed.get("Ports") or ()) if told_state in LIVE else (),
    )


def state(listed: Mapping[str, Any]) -> str:
    """Return how a container of a listing is: ``running``, ``exited``, …"""
    told = str(listed.get("State") or "").lower()
    return {"stopped": "exited", "configured": "exited"}.get(told, told)  # Podman's own words


def name(names: Iterable[str]) -> str:
    """Return the container's own name: others are those of links to it (``/other/alias``)."""
    return next((one.strip("/") for one in names if "/" not in one.strip("/")), "")


def ports(listed: Iterable[Mapping[str, Any]]) -> tuple[Port, ...]:
    """Return the published ports; one that is only exposed has no public port."""
    return tuple(sorted({found for one in listed if one.get("PublicPort") for found in _port(one)}))


def _port(listed: Mapping[str, Any]) -> Iterable[Port]:
    protocol = str(listed.get("Type") or "tcp").lower()
    host_ip = str(listed.get("IP") or "0.0.0.0")  # noqa: S104 - Podman tells no address where it means all
    yield Port(protocol, int(listed["PrivatePort"]), host_ip, int(listed["PublicPort"]))


def claims(listed: Iterable[Mapping[str, Any]]) -> dict[tuple[str, int], str]:
    """Return who holds or, though stopped, still claims a host port: protocol and port to the container's name."""
    found = ((one, name(entry.get("Names") or ())) for entry in listed for one in ports(entry.get("Ports") or ()))
    return {(port.protocol, port.host_port): owner for port, owner in found}


def requested(inspected: Mapping[str, Any]) -> dict[tuple[str, int], str]:
    """Return what each container port was asked to be published on, as ``docker inspect`` tells: ``127.0.0.1:``."""
    found = {}
    for key, bindings in ((inspected.get("HostConfig") or {}).get("PortBindings") or {}).items():
        port, _, protocol = str(key).partition("/")
        texts = [_binding(one) for one in bindings or ()]
        found[protocol or "tcp", int(port)] = ",".join(texts)
    return found


def _binding(told: Mapping[str, Any]) -> str:
    ip, port = str(told.get("HostIp") or ""), str(told.get("HostPort") or "")
    return f"{bracketed(ip)}:{port}" if ip else (port if port not in ("", "0") else "any")


def inspected_ports(inspected: Mapping[str, Any]) -> tuple[Port, ...]:
    """Return the published ports of a running container, as its inspection tells them."""
    if str((inspected.get("State") or {}).get("Status")) not in LIVE:
        return ()
    found = []
    for key, bindings in ((inspected.get("NetworkSettings") or {}).get("Ports") or {}).items():
        port, _, protocol = str(key).partition("/")
        told = {"PrivatePort": int(port), "Type": protocol or "tcp"}
        found += [{**told, "IP": one.get("HostIp"), "PublicPort": int(one["HostPort"])} for one in bindings or ()]
    return ports(found)


def addresses(inspected: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the container's own addresses on its networks."""
    networks = ((inspected.get("NetworkSettings") or {}).get("Networks") or {}).values()
    told = (one.get(key) for one in networks for key in ("IPAddress", "GlobalIPv6Address"))
    return tuple(one for one in told if one)


def event(told: Mapping[str, Any]) -> Event | None:
    """Return what a message of the event stream means; None for one that changes nothing here."""
    actor = told.get("Actor") or {}
    attributes = actor.get("Attributes") or {}
    action, _, detail = str(told.get("Action") or told.get("status") or "").partition(":")
    action = {"died": "die", "remove": "destroy"}.get(action, action)
    kind = told.get("Type")
    subject = attributes.get("container") if kind == "network" else actor.get("ID") or told.get("id")
    if kind not in ("container", "network") or not subject or not action:
        return None
    nano = int(told.get("timeNano") or int(told.get("time") or 0) * 10**9)
    if kind == "network":
        return Event(nano / 1e9, nano, subject, f"network {action}")
    health = (detail.strip() or str(attributes.get("health_status", ""))) if action == "health_status" else ""
    return Event(
        at=nano / 1e9,
        nano=nano,
        container=subject,
        action=action,
        state=_STATES.get(action, ""),
        name=str(attributes.get("name", "")) if action in ("rename", "start", "die") else "",
        old_name=str(attributes.get("oldName", "")).strip("/"),
        health=health,
    )
