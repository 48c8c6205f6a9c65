"""How far a published port reaches (pure): by its address, and by the networks that a firewall lets in."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

LOOPBACK, LOCAL, PUBLIC = "loopback", "local", "public"
CLASSES = (LOOPBACK, LOCAL, PUBLIC)
FILTERED = "filtered"


@lru_cache(maxsize=4096)
def of_address(ip: str) -> str:
    """
    Return how far a port bound to ``ip`` reaches as far as the address tells.

    ``loopback``: this host; ``local``: a private or link-local network; ``public``: every address of this host, or a
    global one.
    """
    address = ipaddress.ip_address(ip)
    if address.is_loopback:
        return LOOPBACK
    if address.is_unspecified:
        return PUBLIC
    return LOCAL if address.is_private or address.is_link_local else PUBLIC


def of_networks(networks: Sequence[str]) -> str:
    """Return how far a port reaches that only ``networks`` are let to: ``filtered`` where there is none."""
    found = [ipaddress.ip_network(network) for network in networks]
    if not found:
        return FILTERED
    return LOCAL if all(one.is_private or one.is_link_local for one in found) else PUBLIC
