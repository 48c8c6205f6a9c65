"""
Where a daemon runs as seen from here: whether its containers' processes and networks are those of this host.

Rootless Docker has its bridges in a network namespace of its own, out of which only the published ports lead: the same
``172.17.0.2`` may be another daemon's container here. Who listens at a Unix socket is told by SO_PEERCRED (unix(7)); in
which namespaces that process lives, by ``/proc`` (namespaces(7)).
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from pathlib import Path

from saltext_logilab.containers.client import Connection, split

PROC = Path("/proc")
_CREDENTIALS = struct.Struct("3i")


@dataclass(frozen=True)
class Place:
    """
    Where a daemon is.

    ``processes``: those of its containers can be seen from here; ``network``: their addresses, and the network that
    they share with their host, are of this network namespace; ``rootless``: it lives in a user namespace of its own;
    ``host``: the other host on which it is (empty: this one).
    """

    processes: bool
    network: bool
    rootless: bool = False
    host: str = ""


HERE = Place(processes=True, network=True)


def of(url: str, proc: Path = PROC) -> Place:
    """Return where the daemon at ``url`` is; one that does not answer, or that hides from this user, counts as here."""
    scheme, _, host, _ = split(url)
    if scheme != "unix":
        return Place(processes=False, network=False, host=host)
    try:
        pid = _peer(url)
    except OSError:
        return HERE
    if not pid:  # it is in no process namespace below this one: the socket of the host, say, within a container
        return Place(processes=False, network=True)
    network, user = (_shares(proc, pid, kind) for kind in ("net", "user"))
    return Place(processes=True, network=network, rootless=not network and not user)


def _peer(url: str) -> int:
    connection = Connection(url, timeout=1.0)
    try:
        connection.connect()
        told = connection.wire.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    finally:
        connection.close()
    return int(_CREDENTIALS.unpack(told)[0])


def _shares(proc: Path, pid: int, kind: str) -> bool:
    try:
        return (proc / str(pid) / "ns" / kind).samefile(proc / "thread-self/ns" / kind)
    except OSError:
        return True
