"""A neighbour of a Docker host: what it reaches is what is open."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.support.netns import NetworkNamespace
from tests.support.processes import run

ASK = b"GET /it HTTP/1.0\r\n\r\n"
PATIENCE = 0.4
HOST = {4: "192.0.2.1", 6: "2001:db8:1::1"}
NEAR = {4: "192.0.2.2", 6: "2001:db8:1::2"}
FAR = {4: "198.51.100.2", 6: "2001:db8:2::2"}


@dataclass(frozen=True)
class Neighbour:
    """A network namespace joined to that of a host, with an address out of each of two networks in both families."""

    netns: NetworkNamespace

    def reaches(self, address: str, port: int, source: str, protocol: str = "tcp") -> bool:
        """Say whether a server answers with data: docker-proxy accepts a connection with nothing behind it."""
        kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with self.netns.entered():
            probe = socket.socket(family, kind)
        with probe:
            probe.settimeout(PATIENCE)
            probe.bind((source, 0))
            try:
                probe.connect((address, port))
                probe.sendall(ASK)
                return probe.recv(1) != b""
            except OSError:
                return False


@contextmanager
def neighbour_of(host: NetworkNamespace) -> Iterator[Neighbour]:
    """Join a new neighbour to ``host`` by a cable, with a route to all that lies behind."""
    made = NetworkNamespace.create()
    try:
        cable = f"v{made.name[-8:]}"
        run(*host.command("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", made.name))
        for netns, device, addresses in ((host, cable, (HOST,)), (made, "eth0", (NEAR, FAR))):
            for family, length in ((4, 24), (6, 64)):
                for each in addresses:
                    flags = ("nodad",) if family == 6 else ()
                    run(*netns.command("ip", "address", "add", f"{each[family]}/{length}", "dev", device, *flags))
            run(*netns.command("ip", "link", "set", device, "up"))
        for family in (4, 6):
            run(*made.command("ip", f"-{family}", "route", "add", "default", "via", HOST[family]))
            run(*host.command("ip", f"-{family}", "route", "add", FAR[family], "dev", cable))
        yield Neighbour(made)
    finally:
        made.delete()
