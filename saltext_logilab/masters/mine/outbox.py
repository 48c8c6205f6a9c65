"""
The mine outbox of a minion: the latest value of each mine function, kept until every master has it.

One SQLite file (WAL) that all jobs of the minion write and one courier per master reads. Each change has a counter; a
master is behind when its counter is lower. What was replaced before a master got it is not sent to that master at all.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from saltext_logilab.store import Store

VERSION = 1
FILE = "outbox.db"
_SCHEMA = """
CREATE TABLE entries (name TEXT PRIMARY KEY, counter INTEGER NOT NULL, value BLOB) WITHOUT ROWID;
CREATE INDEX entries_counter ON entries (counter);
CREATE TABLE state (counter INTEGER NOT NULL, flushed INTEGER NOT NULL, incarnation TEXT NOT NULL);
INSERT INTO state VALUES (0, 0, lower(hex(randomblob(8))));
CREATE TABLE masters (
    master TEXT PRIMARY KEY, counter INTEGER NOT NULL, reached INTEGER, problem TEXT
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Batch:
    """
    What a master lacks: apply ``flush`` first, then ``deleted``, then ``values``.

    :param counter: what to acknowledge once the master has all of it.
    :param incarnation: the number of this outbox, a random one: another outbox counts anew.
    """

    counter: int
    flush: bool
    values: dict[str, bytes]
    deleted: tuple[str, ...]
    incarnation: str = ""


@dataclass(frozen=True)
class Standing:
    """How a master stands: changes that it lacks, when it took the last ones (Unix time), why it takes none."""

    master: str
    behind: int
    reached: int | None
    problem: str | None


class Outbox:
    """The outbox at one path; any number of processes may have it open."""

    def __init__(self, path: Path) -> None:
        """Open the outbox at ``path``, made when it is not there; :raises UnavailableError: it cannot be used."""
        self.path = path
        self._store = Store(path, "the mine outbox", VERSION, _SCHEMA)
        self._db, self._reading, self._changing = self._store.db, self._store.reading, self._store.changing

    def close(self) -> None:
        """Close the file."""
        self._store.close()

    def put(self, values: Mapping[str, bytes], *, clear: bool = False) -> None:
        """Let ``values`` be the latest ones of their functions; with ``clear`` the only ones."""
        with self._changing():
            counter = self._next()
            if clear:
                self._flush(counter)
            rows = [(name, counter, value) for name, value in values.items()]
            self._db.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?, ?)", rows)

    def delete(self, name: str) -> None:
        """Let there be no value of the function ``name``."""
        with self._changing():
            self._db.execute("INSERT OR REPLACE INTO entries VALUES (?, ?, NULL)", (name, self._next()))

    def flush(self) -> None:
        """Let there be no value of any function."""
        with self._changing():
            self._flush(self._next())

    def after(self, counter: int) -> Batch | None:
        """
        Return what changed after ``counter``, as one batch of latest values; None when nothing did.

        After 0 it begins with a flush: nobody knows what else a new master holds.
        """
        with self._reading():
            last, flushed, incarnation = self._db.execute("SELECT counter, flushed, incarnation FROM state").fetchone()
            rows = self._db.execute("SELECT name, value FROM entries WHERE counter > ? ORDER BY name", (counter,))
            changed = dict(rows)
        if last <= counter:
            return None
        values = {name: value for name, value in changed.items() if value is not None}
        deleted = tuple(sorted(set(changed) - set(values)))
        return Batch(last, flushed > counter or counter == 0, values, deleted, incarnation)

    def cursor(self, master: str) -> int:
        """Return the counter that ``master`` has acknowledged; a new master starts with 0: it lacks everything."""
        with self._changing():
            self._db.execute("INSERT OR IGNORE INTO masters VALUES (?, 0, NULL, NULL)", (master,))
            found = self._db.execute("SELECT counter FROM masters WHERE master = ?", (master,)).fetchone()
        return int(found[0])

    def acknowledge(self, master: str, counter: int) -> None:
        """Note that ``master`` has everything up to ``counter``, and forget the deletes that all masters have."""
        with self._changing():
            self._db.execute(
                "INSERT OR REPLACE INTO masters VALUES (?, ?, ?, NULL)", (master, counter, int(time.time()))
            )
            (everywhere,) = self._db.execute("SELECT min(counter) FROM masters").fetchone()
            self._db.execute("DELETE FROM entries WHERE value IS NULL AND counter <= ?", (everywhere,))

    def fail(self, master: str, problem: str) -> None:
        """Note why ``master`` takes nothing."""
        with self._changing():
            self._db.execute("UPDATE masters SET problem = ? WHERE master = ?", (problem, master))

    def forget_silent(self, since: int) -> None:
        """Forget the masters that have taken nothing since ``since`` (Unix time); one that returns is a new one."""
        with self._changing():
            self._db.execute("DELETE FROM masters WHERE coalesce(reached, 0) < ?", (since,))

    def standings(self) -> list[Standing]:
        """Return how each master stands, by name."""
        with self._reading():
            rows = self._db.execute(
                "SELECT master, (SELECT count(*) FROM entries WHERE entries.counter > masters.counter)"
                " + (SELECT count(*) FROM state WHERE flushed > masters.counter), reached, problem"
                " FROM masters ORDER BY master"
            )
            return [Standing(*row) for row in rows]

    def _flush(self, counter: int) -> None:
        self._db.execute("DELETE FROM entries")
        self._db.execute("UPDATE state SET flushed = ?", (counter,))

    def _next(self) -> int:
        self._db.execute("UPDATE state SET counter = counter + 1")
        return int(self._db.execute("SELECT counter FROM state").fetchone()[0])
