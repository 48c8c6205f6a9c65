"""What is known of the containers of each daemon, kept with its history; written by the engine alone."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from saltext_logilab.containers.changes import Change
from saltext_logilab.containers.database import transaction
from saltext_logilab.containers.ports import Container, Port

CONNECTED, STALE = "connected", "stale"
_CONTAINER = "id, name, image, state, health, network, project, service, labels"
_PORT = "protocol, container_port, host_ip, host_port, origin, requested"


@dataclass(frozen=True)
class Daemon:
    """
    What is known of a daemon: since when it is ``connected`` or ``stale``, and when it was last found to be so.

    ``synced`` is None as long as it was never reached; ``cursor`` is the last event read, as the Engine's ``since``.
    """

    name: str
    url: str
    state: str
    since: float
    synced: float | None
    error: str = ""
    engine: str = ""
    cursor: str = ""
    generation: int = 0


@dataclass(frozen=True)
class Update:
    """What becomes of a daemon's containers: these are so now, those are gone, and that is the history of it."""

    at: float
    present: tuple[Container, ...] = ()
    gone: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()


class Registry:
    """The registry behind an open ``connection``."""

    def __init__(self, connection: sqlite3.Connection, keep: int = 1000) -> None:
        """Keep the last ``keep`` changes of each daemon."""
        self._connection = connection
        self._keep = keep

    def daemons(self) -> dict[str, Daemon]:
        """Return all daemons that were ever followed, by name."""
        rows = self._connection.execute(
            "SELECT name, url, state, since, synced, error, engine, cursor, generation FROM daemons ORDER BY name"
        )
        return {row[0]: Daemon(*row) for row in rows}

    def forget_other_daemons(self, configured: Mapping[str, str]) -> None:
        """Drop what is known of daemons that are no longer configured, or under another URL; reservations stay."""
        with transaction(self._connection):
            for name, daemon in self.daemons().items():
                if configured.get(name) != daemon.url:
                    for table in ("ports", "containers", "history"):
                        self._connection.execute(f"DELETE FROM {table} WHERE daemon = ?", (name,))  # noqa: S608
                    self._connection.execute("DELETE FROM daemons WHERE name = ?", (name,))

    def containers(self, daemon: str) -> dict[str, Container]:
        """Return the containers of ``daemon`` by id."""
        ports: dict[str, list[Port]] = {}
        for owner, *row in self._connection.execute(
            f"SELECT container, {_PORT} FROM ports WHERE daemon = ?",  # noqa: S608 - names of columns
            (daemon,),
        ):
            ports.setdefault(owner, []).append(Port(*row))
        rows = self._connection.execute(f"SELECT {_CONTAINER} FROM containers WHERE daemon = ?", (daemon,))  # noqa: S608
        return {row[0]: _container(row, ports.get(row[0], ())) for row in rows}

    def first_seen(self, daemon: str) -> dict[tuple[str, Port], float]:
        """Return when each port of ``daemon`` was first seen."""
        rows = self._connection.execute(
            f"SELECT container, first_seen, {_PORT} FROM ports WHERE daemon = ?",  # noqa: S608 - names of columns
            (daemon,),
        )
        return {(owner, Port(*row)): seen for owner, seen, *row in rows}

    def note(self, daemon: Daemon) -> None:
        """Write the daemon's own row; what is known of its containers stays, and grows old when it is stale."""
        self._connection.execute(
            "INSERT INTO daemons (name, url, state, since, synced, error, engine, cursor, generation)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET url = excluded.url,"
            " state = excluded.state, since = excluded.since, synced = excluded.synced, error = excluded.error,"
            " engine = excluded.engine, cursor = excluded.cursor, generation = excluded.generation",
            (
                *(daemon.name, daemon.url, daemon.state, daemon.since, daemon.synced),
                *(daemon.error, daemon.engine, daemon.cursor, daemon.generation),
            ),
        )

    def apply(self, daemon: Daemon, update: Update) -> None:
        """Write ``update`` and the daemon's own row, all of it or nothing."""
        with transaction(self._connection):
            for one in update.gone:
                self._remove(daemon.name, one)
            for container in update.present:
                self._write(daemon.name, container, update.at)
            for change in update.changes:
                self._note(daemon.name, change)
            if update.changes:
                self._trim(daemon.name)
            self.note(daemon)

    def note_use(self, daemon: str, at: float) -> None:
        """Note which reserved ports a container of ``daemon`` publishes at ``at``."""
        self._connection.execute(
            "UPDATE reservations SET used = ? WHERE EXISTS (SELECT 1 FROM ports WHERE ports.daemon = ?"
            " AND ports.protocol = reservations.protocol AND ports.host_port = reservations.host_port)",
            (at, daemon),
        )

    def _remove(self, daemon: str, container: str) -> None:
        self._connection.execute("DELETE FROM ports WHERE daemon = ? AND container = ?", (daemon, container))
        self._connection.execute("DELETE FROM containers WHERE daemon = ? AND id = ?", (daemon, container))

    def _write(self, daemon: str, one: Container, at: float) -> None:
        self._connection.execute(
            f"INSERT INTO containers (daemon, first_seen, {_CONTAINER})"  # noqa: S608 - names of columns
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (daemon, id) DO UPDATE SET name = excluded.name,"
            " image = excluded.image, state = excluded.state, health = excluded.health, network = excluded.network,"
            " project = excluded.project, service = excluded.service, labels = excluded.labels",
            (
                *(daemon, at, one.id, one.name, one.image, one.state, one.health, one.network),
                *(one.project, one.service, json.dumps(dict(one.labels))),
            ),
        )
        rows = {_key(port): port for port in one.ports}
        held = self._connection.execute(
            "SELECT protocol, container_port, host_ip, host_port FROM ports WHERE daemon = ? AND container = ?",
            (daemon, one.id),
        ).fetchall()
        for key in set(held) - rows.keys():
            self._connection.execute(
                "DELETE FROM ports WHERE daemon = ? AND container = ? AND protocol = ? AND container_port = ?"
                " AND host_ip = ? AND host_port = ?",
                (daemon, one.id, *key),
            )
        self._connection.executemany(
            f"INSERT INTO ports (daemon, container, first_seen, last_seen, {_PORT})"  # noqa: S608 - names of columns
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET last_seen = excluded.last_seen,"
            " origin = excluded.origin, requested = excluded.requested",
            [(daemon, one.id, at, at, *key, port.origin, port.requested) for key, port in rows.items()],
        )

    def _note(self, daemon: str, change: Change) -> None:
        if not change.key and self._is_told(daemon, change):
            return
        done = self._connection.execute(
            "INSERT INTO history (daemon, at, container, name, what, detail, event) VALUES (?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            (
                *(daemon, change.at, change.container, change.name),
                *(change.what, change.detail, change.key or None),
            ),
        )
        if change.key and done.rowcount:
            self._replace_listed(daemon, change)

    def _is_told(self, daemon: str, change: Change) -> bool:
        """Say whether the last change of its kind is the same one: an event has told of it before a listing did."""
        if change.what in ("opened", "closed"):
            return False
        marks = ", ".join("?" * len(change.group))
        last = self._connection.execute(
            f"SELECT what, detail FROM history WHERE daemon = ? AND container = ? AND what IN ({marks})"  # noqa: S608
            " ORDER BY number DESC LIMIT 1",
            (daemon, change.container, *change.group),
        ).fetchone()
        return bool(last == (change.what, change.detail))

    def _replace_listed(self, daemon: str, change: Change) -> None:
        """
        Remove what a listing has shown before of the change that its event tells of now.

        A listing may be later than the event, or earlier: the Engine changes a state, then tells of it. The earlier one
        is told from another change of its kind by its place: nothing of the kind stands between the two.
        """
        marks = ", ".join("?" * len(change.group))
        one = (daemon, change.container, *change.group)
        self._connection.execute(
            f"DELETE FROM history WHERE daemon = ? AND container = ? AND what IN ({marks})"  # noqa: S608 - marks only
            " AND event IS NULL AND (at >= ? OR (what = ? AND detail = ? AND number = (SELECT max(number) FROM history"
            f" WHERE daemon = ? AND container = ? AND what IN ({marks}) AND event IS NOT ?)))",
            (*one, change.at, change.what, change.detail, *one, change.key),
        )

    def _trim(self, daemon: str) -> None:
        self._connection.execute(
            "DELETE FROM history WHERE daemon = ? AND number <= (SELECT number FROM history WHERE daemon = ?"
            " ORDER BY number DESC LIMIT 1 OFFSET ?)",
            (daemon, daemon, self._keep),
        )

    def history(self, daemon: str = "", container: str = "", limit: int = 100) -> Iterator[tuple[str, Change]]:
        """Yield the last changes, newest first, of a daemon or container (name or beginning of its id) or of all."""
        rows = self._connection.execute(
            "SELECT daemon, at, container, name, what, detail, coalesce(event, '') FROM history"
            " WHERE (?1 = '' OR daemon = ?1) AND (?2 = '' OR name = ?2 OR substr(container, 1, length(?2)) = ?2"
            " OR container IN (SELECT id FROM containers WHERE name = ?2)) ORDER BY at DESC, number DESC LIMIT ?3",
            (daemon, container, limit),
        )
        for row in rows:
            yield row[0], Change(*row[1:])


def _key(port: Port) -> tuple[str, int, str, int]:
    return port.protocol, port.container_port, port.host_ip, port.host_port


def _container(row: tuple[str, ...], ports: Iterable[Port]) -> Container:
    identity, name, image, state, health, network, project, service, labels = row
    told = tuple(sorted(json.loads(labels).items()))
    found = tuple(sorted(ports))
    return Container(identity, name, image, state, health, network, project, service, told, found)
