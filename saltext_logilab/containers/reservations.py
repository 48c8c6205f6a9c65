"""
Host ports that stay: who has which, for ever.

They stand beside the registry, in the same file; no engine is needed. Who reserves holds the file's write lock
meanwhile, so that callers at the same time get ports of their own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import cached_property

from saltext_logilab.containers.allocation import Key, Reservation, check_chosen, pick
from saltext_logilab.containers.database import transaction
from saltext_logilab.containers.occupants import Occupants
from saltext_logilab.containers.settings import Pool
from saltext_logilab.errors import RefusedError

_COLUMNS = "owner, protocol, container_port, host_port, pool, at, used"
CanBind = Callable[[str, int], bool]


class Reservations:
    """
    The reservations behind an open ``connection``.

    :param look: returns who holds which port now. It is dear, and asked once, where that matters: what is reserved is
        known without it.
    :param can_bind: tries a port (protocol and number) on this host.
    """

    def __init__(self, connection: sqlite3.Connection, look: Callable[[], Occupants], can_bind: CanBind) -> None:
        self._connection = connection
        self._look = look
        self._can_bind = can_bind

    @cached_property
    def _occupants(self) -> Occupants:
        return self._look()

    def all(self) -> list[Reservation]:
        """Return all of them, by host port."""
        rows = self._connection.execute(f"SELECT {_COLUMNS} FROM reservations ORDER BY host_port, protocol")  # noqa: S608
        return [_reservation(row) for row in rows]

    def get(self, key: Key) -> Reservation | None:
        """Return the reservation of ``key``, if it has one."""
        row = self._connection.execute(
            f"SELECT {_COLUMNS} FROM reservations WHERE owner = ? AND protocol = ? AND container_port = ?",  # noqa: S608
            (key.owner, key.protocol, key.container_port),
        ).fetchone()
        return _reservation(row) if row else None

    def propose(self, key: Key, pool: Pool) -> int:
        """
        Return the port that ``key`` has, or would get now; nothing is reserved.

        :raises RefusedError: the pool is exhausted.
        """
        held = self.get(key)
        if held:
            return held.host_port
        own = sorted(
            port
            for (protocol, port), one in self._occupants.items()
            if protocol == key.protocol and pool.holds(port) and one.is_of(key.owner, key.container_port)
            if not self._holder(protocol, port)
        )
        return own[0] if own else pick(key, pool, _Taken(self._why_not, key))

    def reserve(self, key: Key, pool: Pool, at: float, port: int | None = None) -> tuple[Reservation, bool]:
        """
        Return the reservation of ``key`` and whether it is new; ``port``: that one, or none.

        :raises RefusedError: the pool is exhausted, or the chosen port is not to be had; the sentence says who has it.
        """
        self._prepare(needed=self.get(key) is None)
        with transaction(self._connection):
            held = self.get(key)
            if held and port in (None, held.host_port):
                return held, False
            if held:
                raise RefusedError(f"{key} has port {held.host_port}, not {port}: release it first")
            if port is not None:
                check_chosen(key, port, pool)
                if reason := self._why_not(key, port):
                    raise RefusedError(f"port {port}/{key.protocol} is not free for {key}: {reason}")
            chosen = port if port is not None else self.propose(key, pool)
            made = Reservation(key, chosen, pool.name, at)
            self._connection.execute(
                f"INSERT INTO reservations ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, NULL)",  # noqa: S608
                (key.owner, key.protocol, key.container_port, chosen, pool.name, at),
            )
            return made, True

    def release(self, key: Key) -> Reservation | None:
        """Give the port of ``key`` back and return what it had."""
        with transaction(self._connection):
            held = self.get(key)
            if held:
                self._delete(key)
            return held

    def prune(self, before: float) -> list[Reservation]:
        """Give back, and return, what nobody publishes now and nobody was seen to publish since ``before``."""
        self._prepare(needed=True)
        with transaction(self._connection):
            old = [one for one in self.all() if self.is_unused(one) and max(one.at, one.used or 0.0) < before]
            for one in old:
                self._delete(one.key)
            return old

    def is_unused(self, one: Reservation) -> bool:
        """Say whether no container publishes the reserved port now."""
        holder = self._occupants.get((one.key.protocol, one.host_port))
        return holder is None or not holder.container_port

    def why_taken(self, protocol: str, port: int, owner: str = "", container_port: int | None = None) -> str:
        """Return who but ``owner`` has ``port``, by a reservation or in fact; nothing when it is free."""
        row = self._holder(protocol, port)
        if row and row[0] != owner:
            return f"it is reserved for {Key(row[0], protocol, row[1])}"
        holder = self._occupants.get((protocol, port))
        if holder is not None:
            return "" if holder.is_of(owner, container_port) else f"{holder.name} holds it"
        return "" if self._can_bind(protocol, port) else "another process of this host holds it"

    def _prepare(self, *, needed: bool) -> None:
        """Look before the file is locked: a daemon may be slow, and the engine must not wait for it."""
        if needed:
            self._occupants  # noqa: B018 - kept from now on

    def _delete(self, key: Key) -> None:
        self._connection.execute(
            "DELETE FROM reservations WHERE owner = ? AND protocol = ? AND container_port = ?",
            (key.owner, key.protocol, key.container_port),
        )

    def _holder(self, protocol: str, port: int) -> tuple[str, int] | None:
        row: tuple[str, int] | None = self._connection.execute(
            "SELECT owner, container_port FROM reservations WHERE protocol = ? AND host_port = ?", (protocol, port)
        ).fetchone()
        return row

    def _why_not(self, key: Key, port: int) -> str:
        """Return who has ``port`` when ``key`` asks for it; a second port of the same owner is taken, too."""
        if row := self._holder(key.protocol, port):
            return f"it is reserved for {Key(row[0], key.protocol, row[1])}"
        return self.why_taken(key.protocol, port, key.owner, key.container_port)


class _Taken:
    """The ports that ``key`` cannot have, asked one by one: a bind tells what no table does."""

    def __init__(self, why_not: Callable[[Key, int], str], key: Key) -> None:
        self._why_not = why_not
        self._key = key

    def __contains__(self, port: object) -> bool:
        return isinstance(port, int) and bool(self._why_not(self._key, port))


def _reservation(row: tuple[str, str, int, int, str, float, float | None]) -> Reservation:
    owner, protocol, container_port, host_port, pool, at, used = row
    return Reservation(Key(owner, protocol, container_port), host_port, pool, at, used)
