"""
Whether a published port can really be reached, proven by a connection from another host.

Only TCP can be proven: a datagram that nobody answers may have come all the way.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from saltext_logilab.containers import probe
from saltext_logilab.containers.exposure import LOOPBACK
from saltext_logilab.containers.ports import Port, address, bracketed, parse_port
from saltext_logilab.errors import ConfigurationError

AT_ONCE = 32
MOST = 10_000


def target(row: Mapping[str, Any]) -> str | None:
    """Return where another host looks for a row's port (``ADDRESS:PORT``); None where that cannot be told or proven."""
    ip = str(row["host_ip"])
    bound = ipaddress.ip_address(ip)
    if bound.is_unspecified:
        ip = str(row.get("address") or "")
        if not ip or ipaddress.ip_address(ip).version != bound.version:
            return None
    if row["protocol"] != "tcp" or row["exposure"] == LOOPBACK:
        return None
    return f"{bracketed(ip)}:{row['host_port']}"


def reached(targets: Sequence[str]) -> dict[str, bool]:
    """
    Say of each of ``targets`` whether a server answers there: a connection that is closed at once is docker-proxy's.

    :raises ConfigurationError: one is malformed, or there are too many.
    """
    if isinstance(targets, str) or len(targets) > MOST:
        raise ConfigurationError(f"targets must be a list of at most {MOST} ADDRESS:PORT")
    wanted = {str(one): _parse(str(one)) for one in targets}
    with ThreadPoolExecutor(min(AT_ONCE, len(wanted) or 1)) as threads:
        return dict(zip(wanted, threads.map(probe.stays_open, wanted.values()), strict=True))


def _parse(text: str) -> Port:
    host, _, port = text.rpartition(":")
    return Port("tcp", 0, address(host, text), parse_port(port, text))


def with_proof(rows: Iterable[Mapping[str, Any]], told: Mapping[str, bool], prover: str) -> list[dict[str, Any]]:
    """Return the rows with ``reached``: whether ``prover`` has, and None where that was not or could not be tried."""
    found = []
    for row in rows:
        where = target(row)
        mine = row["minion"] != prover and where is not None
        found.append({**row, "reached": told.get(str(where)) if mine else None})
    return found
