"""
Whether a published port really answers.

A connection to the published address proves nothing: docker-proxy accepts it with nothing behind. So the container
itself is asked: over TCP by a connection to its own address; where that leads nowhere, by a look at its sockets.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Callable, Mapping
from typing import Any

from saltext_logilab.containers import listeners, listing, place
from saltext_logilab.containers.client import Client
from saltext_logilab.containers.place import Place
from saltext_logilab.containers.ports import LISTENER, Port
from saltext_logilab.containers.shared import real_ports

PATIENCE = 1.0
_NOBODY = (errno.ECONNREFUSED,)


def answers(port: Port, inspected: Mapping[str, Any], where: Place) -> bool:
    """
    Say whether something in the container answers behind ``port``.

    ``inspected`` is what the Engine tells of the container; ``where`` tells what of it can be seen from here.
    """
    pid = int((inspected.get("State") or {}).get("Pid") or 0)
    if port.protocol == "tcp" and where.network:
        for address in listing.addresses(inspected):
            if (found := connects(address, port.container_port)) is not None:
                return found
    if where.processes and pid:
        return listens(pid, port)
    return port.protocol == "tcp" and stays_open(port, where.host)


def listens(pid: int, port: Port) -> bool:
    """Say whether a socket in the network namespace of ``pid`` waits on the container port, not on loopback alone."""
    loopback = {"::1"}
    return any(
        (one.protocol, one.port) == (port.protocol, port.container_port)
        and one.ip not in loopback
        and not one.ip.startswith("127.")
        for one in listeners.of_namespace(str(pid))
    )


def connects(address: str, port: int) -> bool | None:
    """Say whether ``address`` accepts a connection; None where no packet can go there."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(PATIENCE)
        code = probe.connect_ex((address, port))
    if code == 0:
        return True
    return False if code in _NOBODY else None


def stays_open(port: Port, host: str = "") -> bool:
    """
    Say whether a connection to the published address, which is one of ``host``, is still open a moment later.

    docker-proxy closes it at once when nothing listens in the container: the only sign from another host.
    """
    bound = ipaddress.ip_address(port.host_ip)
    elsewhere = host not in ("", "localhost", "127.0.0.1", "::1")
    if elsewhere and bound.is_loopback:
        return False
    loopback = "::1" if bound.version == 6 else "127.0.0.1"
    target = (host or loopback) if bound.is_unspecified else port.host_ip
    try:
        with socket.create_connection((target, port.host_port), timeout=PATIENCE) as probe:
            probe.settimeout(PATIENCE / 4)
            return probe.recv(1) != b""
    except TimeoutError:
        return True  # open, and waits for the client to speak first
    except OSError:
        return False


def wait(check: Callable[[], bool], timeout: float, clock: Callable[[], float], sleep: Callable[[float], None]) -> bool:
    """Ask ``check`` with growing pauses until it is true; False when ``timeout`` seconds have passed."""
    end, pause = clock() + timeout, 0.05
    while not check():
        if (left := end - clock()) <= 0:
            return False
        sleep(min(pause, left))
        pause = min(2 * pause, 1.0)
    return True


def container_answers(client: Client, container: str, wanted: tuple[str, int]) -> bool:
    """
    Say whether all that ``container`` publishes of ``wanted`` (protocol and container port) answers now.

    Where it shares a network it publishes nothing itself: then it has to listen, as its rows of that origin tell.

    :raises UnavailableError: the daemon cannot be asked, or it has no such container.
    """
    inspected = client.inspect(container)
    ports = [port for port in real_ports(client, inspected) if (port.protocol, port.container_port) == wanted]
    where = place.of(client.url)
    return bool(ports) and all(port.origin == LISTENER or answers(port, inspected, where) for port in ports)
