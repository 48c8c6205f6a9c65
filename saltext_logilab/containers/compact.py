"""
The table of a host's ports as it travels in the mine: small, and without anything that was not asked for.

Strings that repeat (images, projects) stand once; a container is a list and a port is a list, as :data:`CONTAINER` and
:data:`PORT` name them. No environment, no command, no label that is not allowed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from saltext_logilab.containers.exposure import of_address
from saltext_logilab.containers.picture import View
from saltext_logilab.containers.ports import ORIGINS, parse_port, parse_protocol
from saltext_logilab.containers.ports import address as parse_address
from saltext_logilab.errors import ConfigurationError, WireError

FORMAT = 1
CONTAINER = ("daemon", "id", "name", "image", "state", "health", "project", "service", "labels")
PORT = ("container", "protocol", "container_port", "host_ip", "host_port", "origin", "first_seen")
_address = lru_cache(maxsize=4096)(parse_address)  # the same few stand in each row of a fleet


def pack(views: Iterable[View], now: float, host: str = "") -> dict[str, Any]:
    """Return the table of ``views`` as it stands at ``now``, of the host with the address ``host``."""
    words: dict[str, int] = {}
    daemons, containers, ports = [], [], []
    for number, view in enumerate(views):
        daemons.append([view.daemon, view.state, round(view.at, 3)])
        for one in view.containers:
            if not one.ports:
                continue
            texts = (one.image, one.state, one.health, one.project, one.service)
            told = [words.setdefault(text, len(words)) for text in texts]
            containers.append([number, one.id[:12], one.name, *told, dict(one.labels)])
            for port in one.ports:
                seen = int(view.first_seen.get((one.id, port), view.at))
                numbers = [words.setdefault(text, len(words)) for text in (port.protocol, port.host_ip, port.origin)]
                ports.append(
                    [len(containers) - 1, numbers[0], port.container_port, numbers[1], port.host_port, numbers[2], seen]
                )
    head = {"v": FORMAT, "at": round(now, 3), "address": host, "words": [*words]}
    return {**head, "daemons": daemons, "c": containers, "p": ports}


def address(table: Mapping[str, Any]) -> str:
    """Return the address of the table's host; empty when it is none."""
    try:
        return parse_address(str(table.get("address", "")))
    except ConfigurationError:
        return ""


def rows(table: Any, host_port: int | None = None) -> Iterator[dict[str, Any]]:
    """
    Yield the rows of a packed table, or those of one host port, as :func:`.picture.row` makes them.

    :raises WireError: it is no such table: any accepted minion may write what it likes into its mine.
    """
    try:
        words, daemons, containers = table["words"], table["daemons"], table["c"]
        for port in table["p"]:
            if host_port is None or port[4] == host_port:
                yield _row(port, words, daemons, containers)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, ConfigurationError) as err:
        raise WireError("its table of ports is malformed") from err


def _row(
    port: Sequence[Any], words: Sequence[Any], daemons: Sequence[Any], containers: Sequence[Any]
) -> dict[str, Any]:
    daemon, identity, name, image, state, health, project, service, labels = containers[port[0]]
    told, _state, at = daemons[daemon]
    host_ip = _address(str(words[port[3]]))
    return {
        "daemon": str(told),
        "container": str(name),
        "id": str(identity),
        "image": str(words[image]),
        "state": str(words[state]),
        "health": str(words[health]),
        "project": str(words[project]),
        "service": str(words[service]),
        "labels": {str(key): str(value) for key, value in labels.items()},
        "protocol": parse_protocol(words[port[1]]),
        "container_port": parse_port(port[2]),
        "host_ip": host_ip,
        "host_port": parse_port(port[4]),
        "origin": _origin(words[port[5]]),
        "requested": "",
        "exposure": of_address(host_ip),
        "first_seen": float(port[6]),
        "last_seen": max(float(at), float(port[6])),
    }


def _origin(told: Any) -> str:
    if told not in ORIGINS:
        raise ValueError(f"{told!r} is no origin")
    return str(told)


def daemons(table: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """
    Return the daemons of a packed table with their state and the time of what is known.

    :raises WireError: it is no such table.
    """
    try:
        return {str(name): {"state": str(state), "at": float(at)} for name, state, at in table["daemons"]}
    except (KeyError, TypeError, ValueError, AttributeError) as err:
        raise WireError("its table of ports is malformed") from err
