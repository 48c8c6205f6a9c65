"""The SQLite file of this area: its tables, and how it is opened by the engine, by readers and by who reserves."""

from __future__ import annotations

import contextlib
import fcntl
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from saltext_logilab.errors import UnavailableError

NAME = "ports.db"
VERSION = 1
_BUSY = 10.0
_SCHEMA = """
CREATE TABLE daemons (
    name TEXT PRIMARY KEY, url TEXT NOT NULL, engine TEXT NOT NULL DEFAULT '', state TEXT NOT NULL DEFAULT 'unknown',
    since REAL NOT NULL, synced REAL, error TEXT NOT NULL DEFAULT '', cursor TEXT NOT NULL DEFAULT '',
    generation INTEGER NOT NULL DEFAULT 0);
CREATE TABLE containers (
    daemon TEXT NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL, image TEXT NOT NULL, state TEXT NOT NULL,
    health TEXT NOT NULL, network TEXT NOT NULL, project TEXT NOT NULL, service TEXT NOT NULL, labels TEXT NOT NULL,
    first_seen REAL NOT NULL, PRIMARY KEY (daemon, id)) WITHOUT ROWID;
CREATE TABLE ports (
    daemon TEXT NOT NULL, container TEXT NOT NULL, protocol TEXT NOT NULL, container_port INTEGER NOT NULL,
    host_ip TEXT NOT NULL, host_port INTEGER NOT NULL, origin TEXT NOT NULL, requested TEXT NOT NULL,
    first_seen REAL NOT NULL, last_seen REAL NOT NULL,
    PRIMARY KEY (daemon, container, protocol, container_port, host_ip, host_port)) WITHOUT ROWID;
CREATE INDEX ports_by_number ON ports (host_port);
CREATE TABLE history (
    number INTEGER PRIMARY KEY, daemon TEXT NOT NULL, at REAL NOT NULL, container TEXT NOT NULL, name TEXT NOT NULL,
    what TEXT NOT NULL, detail TEXT NOT NULL, event TEXT, UNIQUE (daemon, event));
CREATE INDEX history_by_container ON history (daemon, container, what);
CREATE TABLE reservations (
    owner TEXT NOT NULL, protocol TEXT NOT NULL, container_port INTEGER NOT NULL, host_port INTEGER NOT NULL,
    pool TEXT NOT NULL, at REAL NOT NULL, used REAL,
    PRIMARY KEY (owner, protocol, container_port), UNIQUE (protocol, host_port)) WITHOUT ROWID;
"""


def exists(folder: Path) -> bool:
    """
    Say whether the file is in ``folder``.

    :raises UnavailableError: this user may not look.
    """
    try:
        return (folder / NAME).exists()
    except OSError as err:
        raise UnavailableError(f"the registry {folder / NAME} cannot be read: {err.strerror}") from err


@contextlib.contextmanager
def opened(folder: Path, durable: bool = False) -> Iterator[sqlite3.Connection]:
    """
    Open the file in ``folder``, made when there is none; ``durable``: what is committed outlives a power failure.

    :raises UnavailableError: it cannot be used, is damaged, or comes from a newer version of this package.
    """
    path = folder / NAME
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as err:
        raise UnavailableError(f"the registry {path} cannot be opened: {err}") from err
    try:
        _prepare(connection, path, durable)
        yield connection
    except sqlite3.Error as err:
        raise UnavailableError(f"the registry {path} cannot be used: {err}") from err
    finally:
        connection.close()


def _prepare(connection: sqlite3.Connection, path: Path, durable: bool) -> None:
    if _version(connection) == 0:
        with path.with_suffix(".lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # SQLite waits for no other process when the journal's mode changes
            connection.execute("PRAGMA journal_mode=WAL")
            if _version(connection) == 0:  # another process may have been quicker
                _create(connection)
    if _version(connection) > VERSION:
        raise UnavailableError(f"the registry {path} was written by a newer saltext-logilab")
    connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")


def _create(connection: sqlite3.Connection) -> None:
    with transaction(connection):
        for statement in filter(str.strip, _SCHEMA.split(";")):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version={VERSION}")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Do all of it or nothing; other writers wait meanwhile."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
