"""Host and guests in short: what a hypervisor tells the mine, and how the fleet of them is shown."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from saltext_logilab.errors import WireError
from saltext_logilab.guests import inventory
from saltext_logilab.guests.connection import Connection
from saltext_logilab.guests.host import version
from saltext_logilab.guests.placement import Load, Room
from saltext_logilab.guests.sizes import GIB, MIB

ROW = (str, str, int, int)
HOST = {"cpus": int, "memory": int, "free": int, "libvirt": str, "hypervisor": str, "reach": str, "transport": str}


@dataclass(frozen=True)
class Row:
    """A guest of a summary; ``memory`` in bytes."""

    uuid: str
    state: str
    vcpus: int
    memory: int


@dataclass(frozen=True)
class Work:
    """A task of a summary that had not ended."""

    task: str
    kind: str
    guest: str


@dataclass(frozen=True)
class Summary:
    """What a hypervisor said at the time ``at``."""

    at: float
    host: Mapping[str, Any]
    guests: Mapping[str, Row]
    tasks: tuple[Work, ...] = ()


def make(
    link: Connection,
    reach: str = "",
    transport: str = "",
    tasks: Iterable[tuple[str, str, str]] = (),
    clock: Callable[[], float] = time.time,
) -> dict[str, Any]:
    """
    Return the summary of the host behind ``link`` as plain data; the number of guests costs no further call.

    :param reach: where other hosts reach its libvirt.
    :param transport: where it takes the memory of guests that come.
    :param tasks: id, kind and guest of each task that has not ended.
    """
    memory_mib, cpus = link.getInfo()[1:3]
    return {
        "at": int(clock()),
        "host": {
            "cpus": cpus,
            "memory": memory_mib * MIB,
            "free": link.getFreeMemory(),
            "libvirt": version(link.getLibVersion()),
            "hypervisor": version(link.getVersion()),
            "reach": reach,
            "transport": transport,
        },
        "guests": {one.name: [one.uuid, one.state, one.vcpus, one.memory] for one in inventory.guests(link)},
        "tasks": [list(one) for one in tasks],
    }


def read(told: object) -> Summary:
    """
    Return a summary that came over the wire.

    :raises WireError: it is none; any minion may put anything into the mine.
    """
    try:
        at, host, guests = told["at"], told["host"], told["guests"]  # type: ignore[index]
        rows = {str(name): Row(*_row(row)) for name, row in guests.items()}
        tasks = tuple(Work(*(_typed(word, str) for word in one)) for one in told.get("tasks", ()))  # type: ignore[attr-defined]
        return Summary(float(at), {key: _typed(host[key], kind) for key, kind in HOST.items()}, rows, tasks)
    except (KeyError, TypeError, ValueError, AttributeError) as err:
        raise WireError(f"no summary of guests: {type(err).__name__}: {err}") from err


def _row(told: list[object]) -> list[Any]:
    return [_typed(value, kind) for value, kind in zip(told, ROW, strict=True)]


def _typed(value: object, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{value!r:.100} is no {kind.__name__}")
    return value


def room(name: str, summary: Summary) -> Room:
    """Return the host for placement, with the guests that are not off."""
    burdens = {
        guest: Load(guest, row.vcpus, row.memory)
        for guest, row in summary.guests.items()
        if row.state not in (inventory.OFF, inventory.CRASHED)
    }
    return Room(name, summary.host["cpus"], summary.host["memory"], burdens)


def mermaid(fleet: Mapping[str, Summary]) -> str:
    """Return a picture of hosts and their guests as a Mermaid flowchart (https://mermaid.js.org)."""
    lines = ["flowchart LR"]
    for number, (name, summary) in enumerate(sorted(fleet.items())):
        host = summary.host
        size = f"{host['cpus']} cpus, {_gib(host['free'])} of {_gib(host['memory'])} GiB free"
        lines.append(f'    subgraph h{number}["{_quoted(name)} ({size})"]')
        for index, (guest, row) in enumerate(sorted(summary.guests.items())):
            text = f"{_quoted(guest)}<br/>{_quoted(row.state)}, {row.vcpus} cpus, {_gib(row.memory)} GiB"
            lines.append(f'        h{number}g{index}["{text}"]')
        lines.append("    end")
    return "\n".join(lines)


def _gib(size: int) -> str:
    return f"{size / GIB:.1f}"


def _quoted(text: str) -> str:
    """Return ``text`` for a Mermaid string: what has a meaning there becomes an entity code."""
    return "".join(one if one.isalnum() or one in " ._-" else f"#{ord(one)};" for one in text)


def plain(summary: Summary, now: float) -> dict[str, Any]:
    """Return ``summary`` as plain data, with its ``age`` in seconds at the time ``now``."""
    guests = {name: dataclasses.asdict(row) for name, row in sorted(summary.guests.items())}
    return {"age": max(0, round(now - summary.at)), "host": dict(summary.host), "guests": guests}
