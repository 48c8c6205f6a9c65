"""One file of SQLite (WAL) that several processes write: opened, made and told about in one way."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from saltext_logilab.errors import UnavailableError

BUSY = 10_000  # milliseconds that a writer waits for another one


class Store:
    """
    A database file with a version.

    Statements run inside :meth:`reading` or :meth:`changing`, each of which is one transaction. Threads of one process
    may share it: they wait for each other.
    """

    def __init__(self, path: Path, what: str, version: int, schema: str) -> None:
        """
        Open the file at ``path``; make it, closed to other users, with its folder, when it is not there.

        :param what: what users call it, for errors: ``the mine outbox``.
        :param schema: the statements that make an empty one of ``version``.
        :raises UnavailableError: it is damaged, of a newer version or cannot be written.
        """
        self.path, self._what = path, what
        self._one_at_a_time = threading.RLock()
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)
            self.db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self.db.execute(f"PRAGMA busy_timeout = {BUSY}")
            self.db.execute("PRAGMA journal_mode = WAL")
            self.db.execute("PRAGMA synchronous = NORMAL")
        except (OSError, sqlite3.Error) as err:
            raise UnavailableError(f"{what} {path} cannot be opened: {err}") from err
        self._prepare(version, schema)

    def _prepare(self, version: int, schema: str) -> None:
        with self.changing():
            (found,) = self.db.execute("PRAGMA user_version").fetchone()
            if found > version:
                raise UnavailableError(f"{self._what} {self.path} has version {found}, this program knows {version}")
            if found == 0:
                for statement in filter(str.strip, schema.split(";")):
                    self.db.execute(statement)
                self.db.execute(f"PRAGMA user_version = {version}")

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Read what is there at one moment; :raises UnavailableError: it cannot be read."""
        with self._transaction("BEGIN"):
            yield self.db

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """Change it as a whole or not at all; :raises UnavailableError: it cannot be written."""
        with self._transaction("BEGIN IMMEDIATE"):
            yield self.db

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        try:
            with self._one_at_a_time:
                self.db.execute(begin)
                try:
                    yield
                except BaseException:
                    self.db.execute("ROLLBACK")
                    raise
                self.db.execute("COMMIT")
        except sqlite3.Error as err:
            raise UnavailableError(f"{self._what} {self.path} cannot be used: {err}") from err
