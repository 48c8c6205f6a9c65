"""Declared ports against real ones (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from saltext_logilab.containers.ports import Port, Wanted, parse_all
from saltext_logilab.errors import ConfigurationError

Rows = Iterable[Mapping[str, Any]]


def compare(rows: Rows, wanted: Iterable[Wanted]) -> tuple[list[str], list[str]]:
    """Return which of ``wanted`` no row meets, and which rows nobody wanted, as texts."""
    ports = [Port(row["protocol"], row["container_port"], row["host_ip"], row["host_port"]) for row in rows]
    wanted = list(wanted)
    lacking = [str(one) for one in wanted if not any(one.is_met_by(port) for port in ports)]
    return lacking, [str(port) for port in ports if not any(one.is_met_by(port) for one in wanted)]


def diff(declared: Any, rows: Rows) -> dict[str, dict[str, list[str]]]:
    """
    Return where ``declared`` (containers to their port specifications) and the rows of a host differ, by container.

    ``missing`` is declared and not published, ``undeclared`` is published and not declared.

    :raises ConfigurationError: it is no such mapping, or a specification is malformed.
    """
    if not isinstance(declared, Mapping):
        raise ConfigurationError(f"declared ports must be a mapping of containers to specifications, not {declared!r}")
    rows, told = list(rows), {}
    for name in sorted({*map(str, declared), *(row["container"] for row in rows)}):
        wanted = parse_all(_specifications(name, declared.get(name)))
        missing, more = compare([row for row in rows if row["container"] == name], wanted)
        if missing or more:
            told[name] = {"missing": missing, "undeclared": more}
    return told


def _specifications(name: str, told: Any) -> Sequence[Any]:
    if told is not None and not isinstance(told, list):
        raise ConfigurationError(f"the declared ports of {name!r} must be a list of specifications, not {told!r}")
    return told or ()
