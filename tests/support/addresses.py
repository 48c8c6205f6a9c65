"""Addresses of this machine's loopback that nobody uses."""

from __future__ import annotations

import random
import socket


def free_address() -> tuple[str, int]:
    """Return a loopback address of its own, chosen at random, and a port of it that the kernel has chosen."""
    host = f"127.{random.randrange(1, 255)}.{random.randrange(1, 255)}.{random.randrange(1, 255)}"
    with socket.socket() as probe:
        probe.bind((host, 0))
        return host, probe.getsockname()[1]
