"""
The addresses and ports of a lab: a /24 of 127.0.0.0/8 of its own, proven free by binding them.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable

from saltext_logilab.errors import UnavailableError
from saltext_logilab.lab.plan import PORTS, Ports


def choose(masters: int, wanted: str | None = None, rng: random.Random | None = None) -> tuple[str, Ports]:
    """
    Return a network ``127.x.y`` and ports that are free on its first ``masters`` addresses.

    The ports are Salt's own (4505, 4506) and 4507; where these are taken on every address, the kernel chooses.

    :param wanted: the network to take.
    :raises UnavailableError: a port of ``wanted`` is in use, or nothing is free.
    """
    if wanted:
        taken = first_taken(wanted, masters, PORTS)
        if taken:
            raise UnavailableError(f"the address {taken} is in use: take another --network, or none to have one chosen")
        return wanted, Ports(*PORTS)
    rng = rng or random.Random()  # noqa: S311  # no secret
    for attempt in range(20):
        network = f"127.{rng.randrange(1, 255)}.{rng.randrange(256)}"
        ports = PORTS if attempt < 10 else _chosen_by_kernel(f"{network}.1", len(PORTS))
        if not first_taken(network, masters, ports):
            return network, Ports(*ports)
    raise UnavailableError("no free loopback address was found in 20 networks of 127.0.0.0/8")


def first_taken(network: str, masters: int, ports: Iterable[int]) -> str:
    """Return the first ``address:port`` of the masters' that cannot be bound, or an empty text."""
    for number in range(1, masters + 1):
        for port in ports:
            try:
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the masters' sockets have it
                    probe.bind((f"{network}.{number}", port))
            except OSError:
                return f"{network}.{number}:{port}"
    return ""


def _chosen_by_kernel(address: str, count: int) -> tuple[int, ...]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((address, 0))
        return tuple(int(probe.getsockname()[1]) for probe in probes)
    finally:
        for probe in probes:
            probe.close()
