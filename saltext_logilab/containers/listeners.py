"""
Who listens on which port, as ``/proc`` tells (``proc_pid_net(5)``): of this network namespace, and of one container.

The Engine knows no ports of a container that shares the host's network or another container's; its sockets do.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")
_TABLES = {"tcp": ("tcp", "tcp6"), "udp": ("udp", "udp6")}
_WAITING = {"tcp": "0A", "udp": "07"}  # TCP_LISTEN, and what the kernel calls TCP_CLOSE for an unconnected socket
_SOCKET = re.compile(r"socket:\[(\d+)\]")


@dataclass(frozen=True, order=True)
class Listener:
    """A socket that waits for others: ``ip`` is ``0.0.0.0`` or ``::`` for every address."""

    protocol: str
    ip: str
    port: int


def of_namespace(of: str = "thread-self", proc: Path = PROC) -> dict[Listener, set[str]]:
    """
    Return what listens in the network namespace of process ``of``, with the inodes of its sockets.

    By default it is the caller's own. What cannot be read is left out.
    """
    found: dict[Listener, set[str]] = {}
    for protocol, tables in _TABLES.items():
        for table in tables:
            try:
                lines = (proc / of / "net" / table).read_text(encoding="ascii").splitlines()[1:]
            except OSError:  # no IPv6 in this kernel, or the process has ended
                continue
            for line in lines:
                words = line.split()
                if words[3] == _WAITING[protocol]:
                    ip, port = words[1].split(":")
                    listener = Listener(protocol, _address(ip), int(port, 16))
                    found.setdefault(listener, set()).add(words[9])
    return found


def of_container(pid: int, proc: Path = PROC, cgroups: Path = CGROUPS) -> set[Listener]:
    """Return what the processes of the container whose first process is ``pid`` listen on; UDP clients left out."""
    low, high = ephemeral(proc)
    own = {inode for one in processes(pid, proc, cgroups) for inode in _inodes(one, proc)}
    return {
        listener
        for listener, inodes in of_namespace(str(pid), proc).items()
        if inodes & own and not (listener.protocol == "udp" and low <= listener.port <= high)
    }


def ephemeral(proc: Path = PROC) -> tuple[int, int]:
    """Return the range out of which the kernel gives ports to clients (``ip_local_port_range``)."""
    try:
        low, high = (proc / "sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()
    except OSError:
        return 32768, 60999
    return int(low), int(high)


def processes(pid: int, proc: Path = PROC, cgroups: Path = CGROUPS) -> set[int]:
    """Return the processes of the container of ``pid``: its descendants, and what shares its control group."""
    found, new = {pid}, [pid]
    while new:
        below = [child for one in new for child in _children(one, proc) if child not in found]
        found.update(below)
        new = below
    return found | _members(pid, proc, cgroups)


def _children(pid: int, proc: Path) -> Iterator[int]:
    for file in (proc / str(pid) / "task").glob("*/children"):
        try:
            yield from map(int, file.read_text(encoding="ascii").split())
        except OSError:  # that thread has ended
            continue


def _members(pid: int, proc: Path, cgroups: Path) -> set[int]:
    """Return what shares the control group of ``pid``: ``docker exec`` puts its processes there, beside the tree."""
    try:
        lines = (proc / str(pid) / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if path.strip("/") == "" or ".." in path or controllers not in ("", "pids"):
            continue  # the root group holds the whole machine
        try:
            return set(map(int, (cgroups / controllers / path.strip("/") / "cgroup.procs").read_text().split()))
        except OSError:
            continue
    return set()


def _inodes(pid: int, proc: Path) -> Iterator[str]:
    folder = proc / str(pid) / "fd"
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names alone, of many files
    except OSError:
        return
    for name in names:
        try:
            found = _SOCKET.fullmatch(os.readlink(folder / name))  # noqa: PTH115 - a link to no path
        except OSError:
            continue
        if found:
            yield found[1]


def _address(text: str) -> str:
    """Return the address of a table of ``/proc/net``: 32-bit words in the machine's byte order."""
    raw = b"".join(struct.pack("=I", int(text[start : start + 8], 16)) for start in range(0, len(text), 8))
    found = ipaddress.ip_address(raw)
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found)


def can_bind(protocol: str, port: int) -> bool:
    """
    Say whether ``port`` can be bound on all addresses of IPv4 and of IPv6, in the caller's network namespace.

    The sockets are closed at once. A protocol or family that the kernel lacks forbids nothing.
    """
    kinds = {
        "tcp": (socket.SOCK_STREAM, socket.IPPROTO_TCP),
        "udp": (socket.SOCK_DGRAM, socket.IPPROTO_UDP),
        "sctp": (socket.SOCK_STREAM, socket.IPPROTO_SCTP),
    }
    return all(_binds(family, *kinds[protocol], port) for family in (socket.AF_INET, socket.AF_INET6))


def _binds(family: int, kind: int, number: int, port: int) -> bool:
    try:
        probe = socket.socket(family, kind, number)
    except OSError:  # the kernel has no such thing, so nobody holds it
        return True
    with probe:
        if kind == socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a connection that has just ended is no holder
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            probe.bind(("", port))
        except PermissionError:
            return True  # ports below 1024 are for root: who may not bind cannot know
        except OSError as err:
            return err.errno != 98  # EADDRINUSE; anything else (no IPv6 here) says nothing of the port
    return True
