"""
What a member notes for itself beside the records, in the journal's file: what it has applied, what it has to report,
what its peers have acknowledged, the invites that it has given out, and the history of each subject.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

import msgpack

from saltext_logilab.masters.reconcile import Applied
from saltext_logilab.masters.records import Record, State, Vector, join

HISTORY = 50
_PAST = "subject, at, state, fingerprint, origin, actor, settles"

SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE applied (
    subject TEXT PRIMARY KEY, state TEXT NOT NULL, fingerprint TEXT NOT NULL, context BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE reports (
    subject TEXT NOT NULL, kind TEXT NOT NULL, detail TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (subject, kind)
) WITHOUT ROWID;
CREATE TABLE acknowledged (
    member BLOB PRIMARY KEY, journal BLOB NOT NULL, frontier BLOB NOT NULL, at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE invites (id BLOB PRIMARY KEY, invite TEXT NOT NULL, until INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE history (
    number INTEGER PRIMARY KEY, subject TEXT NOT NULL, at INTEGER NOT NULL, state TEXT NOT NULL,
    fingerprint TEXT NOT NULL, origin BLOB NOT NULL, actor TEXT NOT NULL, settles INTEGER NOT NULL
);
CREATE INDEX history_subject ON history (subject);
"""


@dataclass(frozen=True)
class Report:
    """Something that an operator should know about a subject: its kind, a sentence, and when it was first seen."""

    subject: str
    kind: str
    detail: str
    at: int


@dataclass(frozen=True)
class Acknowledged:
    """What a peer has last said that it knows, in which of its journals, and when (Unix time)."""

    journal: bytes
    frontier: Vector
    at: int


@dataclass(frozen=True)
class Past:
    """One line of a subject's history; ``origin`` is the member and incarnation that decided."""

    subject: str
    at: int
    state: str
    fingerprint: str
    origin: bytes
    actor: str
    settles: bool


class Notebook:
    """The tables of the journal that no other member sees."""

    _db: sqlite3.Connection

    _transaction: Callable[..., AbstractContextManager[None]]
    """All or nothing; ``durable``: on the disk at the end."""

    # -- what was applied ----------------------------------------------------------------------------------------------

    def applied(self, subjects: Iterable[str] | None = None) -> dict[str, Applied]:
        """Return what was last applied to the key store, by subject, of ``subjects`` or of all."""
        query = "SELECT subject, state, fingerprint, context FROM applied"
        if subjects is None:
            rows = self._db.execute(query).fetchall()
        else:
            rows = [row for one in subjects for row in self._db.execute(f"{query} WHERE subject = ?", (one,))]
        return {
            subject: Applied(State(state), fingerprint, msgpack.unpackb(context, strict_map_key=False))
            for subject, state, fingerprint, context in rows
        }

    def set_applied(self, applied: Mapping[str, Applied]) -> None:
        """Note what has been applied."""
        with self._transaction():
            self._note(applied)

    def _note(self, applied: Mapping[str, Applied]) -> None:
        rows = [
            (key, one.state.value, one.fingerprint, msgpack.packb(dict(one.context))) for key, one in applied.items()
        ]
        self._db.executemany("REPLACE INTO applied VALUES (?, ?, ?, ?)", rows)

    def forget_applied(self, subjects: Iterable[str]) -> None:
        """Take back that something was applied for ``subjects``: the key store has lost it."""
        with self._transaction():
            self._db.executemany("DELETE FROM applied WHERE subject = ?", [(one,) for one in subjects])

    # -- what to report ------------------------------------------------------------------------------------------------

    def report(self, subject: str, kind: str, detail: str, at: int) -> bool:
        """Note something to report; return False when the same stands there already."""
        row = self._db.execute("SELECT detail FROM reports WHERE subject = ? AND kind = ?", (subject, kind)).fetchone()
        if row == (detail,):
            return False
        with self._transaction():
            self._report(subject, kind, detail, at)
        return True

    def _report(self, subject: str, kind: str, detail: str, at: int) -> None:
        self._db.execute("REPLACE INTO reports VALUES (?, ?, ?, ?)", (subject, kind, detail, at))

    def settle(self, subject: str, kind: str) -> None:
        """Take a report back: it is no longer so."""
        if self._db.execute("SELECT 1 FROM reports WHERE subject = ? AND kind = ?", (subject, kind)).fetchone():
            with self._transaction():
                self._db.execute("DELETE FROM reports WHERE subject = ? AND kind = ?", (subject, kind))

    def reports(self) -> list[Report]:
        """Return all that stands reported, by kind and subject."""
        return [Report(*row) for row in self._db.execute("SELECT * FROM reports ORDER BY kind, subject")]

    # -- what the peers know -------------------------------------------------------------------------------------------

    def acknowledge(self, member: bytes, journal: bytes, frontier: Vector, at: int) -> bool:
        """
        Note what ``member`` says that it knows; return False when it knew more before: its journal was set back.

        What was acknowledged by another journal of the same member does not count any more.
        """
        known = self.acknowledged().get(member)
        if known and known.journal == journal and any(frontier.get(one, 0) < n for one, n in known.frontier.items()):
            return False
        if known and known.journal == journal:
            frontier = join(known.frontier, frontier)
        if known is None or (known.journal, known.frontier) != (journal, frontier) or at - known.at > 3600:
            with self._transaction():
                row = (member, journal, msgpack.packb(dict(frontier)), at)
                self._db.execute("REPLACE INTO acknowledged VALUES (?, ?, ?, ?)", row)
        return True

    def acknowledged(self) -> dict[bytes, Acknowledged]:
        """Return what each member has acknowledged, by its short name."""
        rows = self._db.execute("SELECT member, journal, frontier, at FROM acknowledged").fetchall()
        return {
            member: Acknowledged(journal, msgpack.unpackb(frontier, strict_map_key=False), at)
            for member, journal, frontier, at in rows
        }

    # -- invites -------------------------------------------------------------------------------------------------------

    def add_invite(self, number: bytes, invite: str, until: int, now: int) -> None:
        """Keep the text of an invite that was given out; those that have expired are dropped."""
        with self._transaction(durable=True):
            self._db.execute("DELETE FROM invites WHERE until < ?", (now,))
            self._db.execute("INSERT INTO invites VALUES (?, ?, ?)", (number, invite, until))

    def invite(self, number: bytes, now: int) -> str:
        """Return the text of an invite; empty when there is none, it was redeemed or it has expired."""
        query = "SELECT invite FROM invites WHERE id = ? AND until >= ?"
        row = self._db.execute(query, (number, now)).fetchone()
        return str(row[0]) if row else ""

    def redeem(self, number: bytes) -> bool:
        """Use the invite up, on the disk before anything follows from it; say whether it was there."""
        with self._transaction(durable=True):
            return self._db.execute("DELETE FROM invites WHERE id = ?", (number,)).rowcount == 1

    # -- history -------------------------------------------------------------------------------------------------------

    def _remember(self, record: Record) -> None:
        row = (record.subject, record.at, record.state.value, record.fingerprint, record.origin, record.actor)
        self._db.execute(
            f"INSERT INTO history ({_PAST}) VALUES (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - a constant
            (*row, record.settles),
        )
        query = "SELECT number FROM history WHERE subject = ? ORDER BY number DESC LIMIT 1 OFFSET ?"
        last = self._db.execute(query, (record.subject, HISTORY)).fetchone()
        if last:
            self._db.execute("DELETE FROM history WHERE subject = ? AND number <= ?", (record.subject, *last))

    def history(self, subject: str) -> list[Past]:
        """Return what was decided about ``subject``, the oldest first, at most :data:`HISTORY` lines."""
        return self._past("WHERE subject = ? ORDER BY number", (subject,))

    def history_of(self, member: bytes, limit: int) -> list[Past]:
        """Return the last decisions of ``member``, the latest first."""
        return self._past("WHERE substr(origin, 1, ?) = ? ORDER BY number DESC LIMIT ?", (len(member), member, limit))

    def _past(self, where: str, values: tuple[object, ...]) -> list[Past]:
        rows = self._db.execute(f"SELECT {_PAST} FROM history {where}", values)  # noqa: S608 - both are constants
        return [
            Past(subject, at, state, print_, origin, actor, bool(settles))
            for subject, at, state, print_, origin, actor, settles in rows
        ]

    # -- notes of the rounds -------------------------------------------------------------------------------------------

    def note(self, name: str) -> bytes:
        """Return the note ``name``; empty when there is none."""
        return self._get(f"note {name}")

    def set_note(self, name: str, value: bytes) -> None:
        """Keep ``value`` as the note ``name``."""
        if self.note(name) != value:
            with self._transaction():
                self._set(f"note {name}", value)

    def _get(self, name: str) -> bytes:
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return bytes(row[0]) if row else b""

    def _set(self, name: str, value: bytes) -> None:
        self._db.execute("REPLACE INTO meta VALUES (?, ?)", (name, value))
