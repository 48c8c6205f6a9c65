"""
The ports of the fleet, as the minions' tables in the mine tell them (pure).

A table bears the times of the minion's clock; the master's time of its arrival is added, so that an age is right even
where the clocks differ. What a table says is checked: any accepted minion writes what it likes into its mine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from saltext_logilab.containers import compact
from saltext_logilab.containers.selection import Criteria
from saltext_logilab.errors import UnavailableError, WireError

STALE = 900.0


@dataclass(frozen=True)
class Entry:
    """A minion's table as the master has it: when it came, and whether the minion's key is accepted."""

    minion: str
    table: Any
    heard: float
    accepted: bool

    def age(self, now: float, at: float | None = None) -> float:
        """
        Return how old what was true ``at`` (the minion's clock; None: when it was sent) is.

        Of the time of arrival and the time in the table the older one counts: another entry of the mine renews the
        first, and a minion's clock may be wrong.
        """
        sent = float(self.table["at"])
        return round(max(now - self.heard, now - sent, 0.0) + (max(0.0, sent - at) if at is not None else 0.0), 1)


def rows(entries: Iterable[Entry], criteria: Criteria, now: float) -> Iterator[dict[str, Any]]:
    """Yield the rows of all minions that meet ``criteria``, with ``minion``, ``age`` and ``orphaned``."""
    for entry in entries:
        try:
            for row in compact.rows(entry.table, criteria.port):
                if criteria.match(row):
                    age = entry.age(now, row["last_seen"])
                    more = {"age": age, "orphaned": not entry.accepted, "address": compact.address(entry.table)}
                    yield {"minion": entry.minion, **row, **more}
        except (WireError, KeyError, TypeError, ValueError):
            continue  # told by `minion`


def of_mine(mine: Mapping[str, Any], now: float, strict: bool) -> list[dict[str, Any]]:
    """
    Return the rows of a mine as a minion gets it: the tables by minion, without the master's knowledge of them.

    :raises UnavailableError: with ``strict``, a table is malformed or tells of a daemon that could not be followed.
    """
    found: list[dict[str, Any]] = []
    for name in sorted(mine):
        entry = Entry(name, mine[name], now, accepted=True)
        told = minion(entry, now)
        stale = [daemon for daemon, one in told["daemons"].items() if one["state"] != "connected"]
        if strict and (stale or told["age"] is None):
            what = f"its daemon {stale[0]} cannot be followed" if stale else "its table of ports is malformed"
            raise UnavailableError(f"{name}: {what}")
        found += rows([entry], Criteria(), now)
    return found


def minion(entry: Entry, now: float) -> dict[str, Any]:
    """Return how a minion's table is: its ``age``, its daemons, and in a sentence each what is wrong."""
    try:
        daemons = {name: {"state": one["state"], "age": entry.age(now, one["at"])} for name, one in _daemons(entry)}
        age = entry.age(now)
    except (WireError, KeyError, TypeError, ValueError):
        return {"age": None, "daemons": {}, "problems": ["its table of ports is malformed"]}
    problems = [] if entry.accepted else ["its key is not accepted: its rows are orphaned"]
    if age > STALE:
        problems.append("nothing was heard of it for a long time: its engine or the minion is down")
    problems += [f"its daemon {name} cannot be followed" for name, one in daemons.items() if one["state"] == "stale"]
    return {"age": age, "daemons": daemons, "problems": problems}


def _daemons(entry: Entry) -> Iterable[tuple[str, dict[str, Any]]]:
    return compact.daemons(entry.table).items()


def conflicts(found: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """
    Return what is ambiguous on a host.

    ``several containers``: one protocol and port leads to different containers, by its address or daemon; ``families
    differ``: a container port has another number for IPv4 than for IPv6.
    """
    by_port: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    by_container: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in found:
        if row["origin"] == "published":
            by_port.setdefault((row["minion"], row["protocol"], row["host_port"]), []).append(row)
            owner = (row["minion"], row["daemon"], row["id"], row["protocol"], row["container_port"])
            by_container.setdefault(owner, []).append(row)
    told = [_conflict("several containers", each) for each in by_port.values() if len({row["id"] for row in each}) > 1]
    return told + [_conflict("families differ", each) for each in by_container.values() if _families_differ(each)]


def _families_differ(found: Sequence[Mapping[str, Any]]) -> bool:
    ports = {ip: {row["host_port"] for row in found if row["host_ip"] == ip} for ip in ("0.0.0.0", "::")}  # noqa: S104
    return all(ports.values()) and len(set(map(frozenset, ports.values()))) > 1


def _conflict(kind: str, found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    keys = ("daemon", "container", "id", "container_port", "host_ip", "host_port")
    first = found[0]
    ports = [{key: row[key] for key in keys} for row in found]
    return {"minion": first["minion"], "conflict": kind, "protocol": first["protocol"], "ports": ports}
