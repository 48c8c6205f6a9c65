"""By which of its addresses others reach this host."""

from __future__ import annotations

import ipaddress
import socket

ELSEWHERE = ("192.0.2.1", "2001:db8::1")  # RFC 5737 and 3849: the way there is the default route; nothing is sent


def of_this_host(towards: str = "") -> str:
    """
    Return the address of this host on the way to ``towards``, or else to the outside; empty when it has none.

    Never a loopback address: on a host with many addresses and bridges the routing table knows which one counts.
    """
    for target in (towards, *ELSEWHERE):
        found = _source(target) if target else ""
        if found and not ipaddress.ip_address(found.partition("%")[0]).is_loopback:
            return found
    return ""


def _source(target: str) -> str:
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(target).version == 6 else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((target, 9))  # of a datagram socket: looks up the route, sends nothing
            return str(probe.getsockname()[0])
    except (OSError, ValueError):  # no route, no such family, or a name instead of an address
        return ""
