"""
Which host port an owner gets (pure).

The search begins at a place that follows from the owner's name, so that the same owner is proposed the same port on
every rendering and on every host where it is free, and two owners seldom want the same one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterator
from dataclasses import dataclass

from saltext_logilab.containers.settings import Pool
from saltext_logilab.errors import RefusedError


@dataclass(frozen=True)
class Key:
    """Who gets a port and for what: the owner's name, the protocol, the container's port."""

    owner: str
    protocol: str
    container_port: int

    def __str__(self) -> str:
        return f"{self.owner} {self.container_port}/{self.protocol}"


@dataclass(frozen=True)
class Reservation:
    """A host port that belongs to its key for ever; ``used``: when a container was last seen to publish it."""

    key: Key
    host_port: int
    pool: str
    at: float
    used: float | None = None


def candidates(key: Key, pool: Pool) -> Iterator[int]:
    """Yield the ports of the dynamic band, each once, beginning where ``key`` says."""
    low, high = pool.dynamic
    size = high - low + 1
    seed = hashlib.sha256(f"{key.owner}\0{key.protocol}\0{key.container_port}".encode()).digest()
    start = int.from_bytes(seed[:8], "big") % size
    yield from (low + (start + step) % size for step in range(size))


def pick(key: Key, pool: Pool, taken: Container[int]) -> int:
    """
    Return the first candidate that is not ``taken``.

    :raises RefusedError: all of the pool is.
    """
    for port in candidates(key, pool):
        if port not in taken:
            return port
    low, high = pool.dynamic
    raise RefusedError(f"the pool {pool.name!r} is exhausted: none of its ports {low}-{high} is free for {key}")


def check_chosen(key: Key, port: int, pool: Pool) -> None:
    """
    Check a port that the caller has chosen himself.

    :raises RefusedError: it lies outside the pool.
    """
    if not pool.holds(port):
        bands = ", ".join(f"{low}-{high}" for low, high in (pool.static, pool.dynamic) if low)
        raise RefusedError(f"port {port} for {key} does not lie in the pool {pool.name!r} ({bands})")
