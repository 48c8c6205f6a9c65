"""
The spool of a master's job cache: every load and return is here first, so that no job waits for a database.

It keeps what the database has not taken yet, and what it has for an hour more: that much a master can tell alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from saltext_logilab.masters.jobs.entries import Entry, Job, Kind
from saltext_logilab.store import Store

FILE = "jobs.db"
VERSION = 1
KEPT = 3600
_SCHEMA = """
CREATE TABLE entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT, jid TEXT NOT NULL, kind TEXT NOT NULL, minion TEXT NOT NULL,
    minions TEXT NOT NULL, at REAL NOT NULL, function TEXT NOT NULL, user TEXT NOT NULL, target TEXT NOT NULL,
    retcode INTEGER, blob BLOB NOT NULL, stored REAL
);
CREATE INDEX entries_jid ON entries (jid);
CREATE INDEX entries_waiting ON entries (id) WHERE stored IS NULL;
CREATE INDEX entries_stored ON entries (stored) WHERE stored IS NOT NULL;
CREATE TABLE standing (reached REAL, problem TEXT, since REAL);
INSERT INTO standing VALUES (NULL, NULL, NULL);
"""
_INSERT = (
    "INSERT INTO entries (kind, jid, at, blob, minion, minions, function, user, target, retcode)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_SELECT = "SELECT kind, jid, at, blob, minion, minions, function, user, target, retcode, id FROM entries "


@dataclass(frozen=True)
class Standing:
    """
    How the spool stands: entries that wait, when the oldest one came and the database last took some, and why not.

    All times are Unix times.
    """

    waiting: int
    oldest: float | None
    reached: float | None
    problem: str | None
    since: float | None


class Spool:
    """The spool at one path; any number of processes may have it open."""

    def __init__(self, path: Path) -> None:
        """Open the spool at ``path``, made when it is not there; :raises UnavailableError: it cannot be used."""
        self.path = path
        self._store = Store(path, "the spool of jobs", VERSION, _SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._store.close()

    def append(self, entries: Iterable[Entry]) -> None:
        """Add ``entries``; :raises UnavailableError: they cannot be written."""
        with self._store.changing() as db:
            db.executemany(_INSERT, map(_row, entries))

    def waiting(self, count: int) -> list[tuple[int, Entry]]:
        """Return the oldest entries that the database has not, at most ``count``, with their numbers."""
        with self._store.reading() as db:
            rows = db.execute(_SELECT + "WHERE stored IS NULL ORDER BY id LIMIT ?", (count,)).fetchall()
        return [(row[-1], _entry(row[:-1])) for row in rows]

    def stored(self, numbers: Iterable[int]) -> None:
        """Note that the database has these, and forget what it has had for an hour."""
        now = time.time()
        with self._store.changing() as db:
            db.executemany("UPDATE entries SET stored = ? WHERE id = ?", [(now, number) for number in numbers])
            db.execute("DELETE FROM entries WHERE stored < ?", (now - KEPT,))
            db.execute("UPDATE standing SET reached = ?, problem = NULL, since = NULL", (now,))

    def fail(self, problem: str) -> None:
        """Note why the database takes nothing."""
        with self._store.changing() as db:
            db.execute("UPDATE standing SET problem = ?, since = coalesce(since, ?)", (problem, time.time()))

    def standing(self) -> Standing:
        """Return how it stands."""
        with self._store.reading() as db:
            waits = db.execute("SELECT count(*), min(at) FROM entries WHERE stored IS NULL").fetchone()
            return Standing(*waits, *db.execute("SELECT reached, problem, since FROM standing").fetchone())

    def job(self, jid: str) -> Job:
        """Return what is here of the job ``jid``."""
        found = Job()
        with self._store.reading() as db:
            for row in db.execute(_SELECT + "WHERE jid = ? ORDER BY id", (jid,)):
                found.add(_entry(row[:-1]))
        return found

    def loads(self) -> dict[str, bytes]:
        """Return the packed load of each job that is here, by jid."""
        with self._store.reading() as db:
            rows = db.execute("SELECT jid, blob FROM entries WHERE kind = ? ORDER BY id DESC", (Kind.LOAD.value,))
            return dict(rows.fetchall())  # the first one of a jid is the last row, and stays


def _row(entry: Entry) -> tuple[object, ...]:
    return (
        entry.kind.value, entry.jid, entry.at.timestamp(), entry.blob, entry.minion, json.dumps(entry.minions),
        entry.function, entry.user, entry.target, entry.retcode,
    )  # fmt: skip


def _entry(row: tuple[object, ...]) -> Entry:
    kind, jid, at, blob, minion, minions, function, user, target, retcode = row
    moment = datetime.fromtimestamp(at, tz=timezone.utc)  # type: ignore[arg-type]
    names = tuple(json.loads(minions))  # type: ignore[arg-type]
    return Entry(Kind(kind), jid, moment, blob, minion, names, function, user, target, retcode)  # type: ignore[arg-type]
