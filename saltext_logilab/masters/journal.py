"""
The journal of a member: its records, what it has applied and its own counter, in one SQLite file (WAL).

A counter that was used is on the disk before the record leaves this machine. Each run that decides something begins a
new incarnation, a random one: a journal that was lost or set back uses no counter for a second record.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgpack

from saltext_logilab.errors import UnavailableError
from saltext_logilab.identity import Identity
from saltext_logilab.masters.reconcile import Applied, Change
from saltext_logilab.masters.records import (
    MEMBER_SIZE,
    ORIGIN_SIZE,
    Record,
    Signed,
    State,
    concurrent,
    decode,
    member_id,
    sign,
)

VERSION = 1
_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE members (member BLOB PRIMARY KEY, public BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE frontier (origin BLOB PRIMARY KEY, counter INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE records (
    origin BLOB NOT NULL, counter INTEGER NOT NULL, subject TEXT NOT NULL, state TEXT NOT NULL,
    blob BLOB NOT NULL, signature BLOB NOT NULL, PRIMARY KEY (origin, counter)
) WITHOUT ROWID;
CREATE INDEX records_subject ON records (subject);
CREATE TABLE applied (
    subject TEXT PRIMARY KEY, state TEXT NOT NULL, fingerprint TEXT NOT NULL, context BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE reports (
    subject TEXT NOT NULL, kind TEXT NOT NULL, detail TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (subject, kind)
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Report:
    """Something that an operator should know about a subject: its kind, a sentence, and when it was first seen."""

    subject: str
    kind: str
    detail: str
    at: int


class Journal:
    """What one member knows; to be opened for writing by one process at a time."""

    def __init__(self, path: Path, identity: Identity | None = None) -> None:
        """
        Open the journal at ``path`` of the member with ``identity``; make it, with its folder, when it is not there.

        Without an identity it is opened for reading only, and not made.

        :raises UnavailableError: it is missing, damaged, of a newer version or cannot be written.
        """
        self.path = path
        self._identity = identity
        self._sum = 0
        self._fresh = True
        try:
            if identity is None:
                self._db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
            else:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                path.touch(mode=0o600)
                self._db = sqlite3.connect(path, isolation_level=None)
            self._prepare()
            self._sum = sum(_weight(*row) for row in self._db.execute("SELECT blob, signature FROM records"))
        except (OSError, sqlite3.Error) as err:
            raise UnavailableError(f"the journal {path} cannot be opened: {err}") from err

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _prepare(self) -> None:
        self._db.execute("PRAGMA busy_timeout = 5000")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > VERSION or (self._identity is None and version == 0):
            raise UnavailableError(f"the journal {self.path} has version {version}, this program knows {VERSION}")
        if self._identity is None:
            return
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        if version == 0:
            with self._transaction():
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    self._db.execute(statement)
                self._set("incarnation", _incarnation())
                self._db.execute(f"PRAGMA user_version = {VERSION}")

    @contextmanager
    def _transaction(self, *, durable: bool = False) -> Iterator[None]:
        """All or nothing; ``durable``: on the disk at the end, so that not even a power cut takes it back."""
        before = self._sum
        self._db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            self._sum = before
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    # -- who -----------------------------------------------------------------------------------------------------------

    @property
    def identity(self) -> Identity:
        """The member's identity (not of a journal that was opened for reading)."""
        if self._identity is None:
            raise ValueError(f"the journal {self.path} was opened for reading only")
        return self._identity

    @property
    def origin(self) -> bytes:
        """The origin under which this journal's own records are made: member and incarnation, 12 bytes."""
        return member_id(self.identity.public) + self._get("incarnation")

    def add_members(self, publics: Iterable[bytes]) -> None:
        """Note the raw public keys of members: records that they have signed can be verified then."""
        with self._transaction():
            self._db.executemany(
                "INSERT OR IGNORE INTO members VALUES (?, ?)", [(member_id(one), one) for one in publics]
            )

    def members(self) -> dict[bytes, bytes]:
        """Return the raw public keys of the members by their short name."""
        return dict(self._db.execute("SELECT member, public FROM members"))

    # -- records -------------------------------------------------------------------------------------------------------

    def originate(self, changes: Iterable[Change], at: int) -> dict[str, Applied]:
        """
        Make a signed record of each of ``changes`` and keep it.

        Returns, once all is on the disk, what the key store shows by that: a next decision is made knowing this one.
        """
        made = []
        with self._transaction(durable=True):
            if self._fresh:  # nobody can tell whether this file was set back: the counters of former runs are not used
                self._set("incarnation", _incarnation())
            origin = self.origin
            row = self._db.execute("SELECT counter FROM frontier WHERE origin = ?", (origin,)).fetchone()
            counter = row[0] if row else 0
            for change in changes:
                counter += 1
                record = Record(
                    change.subject, change.state, change.fingerprint, change.pem, origin, counter, change.context, at
                )
                made.append(sign(record, self.identity))
            self._merge(made)
            self._advance({origin: counter})
            shown = {r.subject: Applied(r.state, r.fingerprint, r.vector) for r in (one.record for one in made)}
            self._note(shown)
        self._fresh = False
        return shown

    def merge(self, received: Iterable[Signed], through: Mapping[bytes, int], members: Container[bytes]) -> set[str]:
        """
        Add records of others that were verified; return the subjects that have changed.

        :param through: up to which counter of each origin all is known now.
        :param members: the members whose records were not refused: only their origins are noted.
        """
        with self._transaction():
            changed = self._merge(received)
            self._advance({origin: n for origin, n in through.items() if origin[:MEMBER_SIZE] in members})
        return changed

    def records(self, subjects: Iterable[str] | None = None) -> dict[str, list[Record]]:
        """Return the concurrent records by subject, of ``subjects`` or of all."""
        if subjects is None:
            rows = self._db.execute("SELECT subject, blob FROM records").fetchall()
        else:
            query = "SELECT subject, blob FROM records WHERE subject = ?"
            rows = [row for subject in subjects for row in self._db.execute(query, (subject,))]
        found: dict[str, list[Record]] = {}
        for subject, blob in rows:
            found.setdefault(subject, []).append(decode(blob))
        return found

    def beyond(self, frontier: Mapping[bytes, int]) -> Iterator[tuple[bytes, bytes]]:
        """Yield blob and signature of the records that ``frontier`` does not cover."""
        for (origin,) in self._db.execute("SELECT DISTINCT origin FROM records").fetchall():
            yield from self._db.execute(
                "SELECT blob, signature FROM records WHERE origin = ? AND counter > ? ORDER BY counter",
                (origin, frontier.get(origin, 0)),
            ).fetchall()

    def frontier(self) -> dict[bytes, int]:
        """
        Return up to which counter of each origin this journal knows all that is not superseded.

        Origins of which everything is superseded are left out: there is nothing of them to send.
        """
        query = "SELECT origin, counter FROM frontier WHERE origin IN (SELECT DISTINCT origin FROM records)"
        return dict(self._db.execute(query))

    def count_beyond(self, frontier: Mapping[bytes, int]) -> int:
        """Return the number of records that ``frontier`` does not cover."""
        origins = self._db.execute("SELECT DISTINCT origin FROM records").fetchall()
        query = "SELECT COUNT(*) FROM records WHERE origin = ? AND counter > ?"
        return sum(self._db.execute(query, (one, frontier.get(one, 0))).fetchone()[0] for (one,) in origins)

    def digest(self) -> bytes:
        """
        Return 32 bytes over the records: two journals with the same records have the same ones.

        It is the sum of their SHA-256, so that it follows each change without a look at the other records.
        """
        return (self._sum % 2**256).to_bytes(32, "big")

    def counts(self) -> dict[str, int]:
        """Return the number of records by state."""
        counts = {state.value: 0 for state in State}
        counts.update(self._db.execute("SELECT state, COUNT(*) FROM records GROUP BY state"))
        return counts

    def _merge(self, received: Iterable[Signed]) -> set[str]:
        incoming: dict[str, list[Signed]] = {}
        for one in received:
            incoming.setdefault(one.record.subject, []).append(one)
        changed = set()
        for subject, arrivals in incoming.items():
            rows = self._db.execute("SELECT blob, signature FROM records WHERE subject = ?", (subject,)).fetchall()
            present = [Signed(decode(blob), blob, signature) for blob, signature in rows]
            if self._keep(present, _winners([*present, *arrivals])):
                changed.add(subject)
        return changed

    def _keep(self, present: list[Signed], kept: list[Signed]) -> bool:
        """Replace the records ``present`` of one subject by ``kept``; say whether that changes anything."""
        old, new = {one.blob for one in present}, {one.blob for one in kept}
        new -= {one.blob for one in kept if one.blob not in old and self._is_taken(one.record)}
        gone = [one for one in present if one.blob not in new and new]
        for one in gone:
            dot = (one.record.origin, one.record.counter)
            self._db.execute("DELETE FROM records WHERE origin = ? AND counter = ?", dot)
            self._sum -= _weight(one.blob, one.signature)
        come = [one for one in kept if one.blob in new - old]
        for one in come:
            r = one.record
            row = (r.origin, r.counter, r.subject, r.state.value, one.blob, one.signature)
            self._db.execute("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?)", row)
            self._sum += _weight(one.blob, one.signature)
        return bool(gone or come)

    def _is_taken(self, record: Record) -> bool:
        """Say whether a member has used the record's counter for another subject, against the rules: that one stays."""
        query = "SELECT subject FROM records WHERE origin = ? AND counter = ?"
        row = self._db.execute(query, (record.origin, record.counter)).fetchone()
        return row is not None and row[0] != record.subject

    def _advance(self, through: Mapping[bytes, int]) -> None:
        self._db.executemany(
            "INSERT INTO frontier VALUES (?1, ?2) ON CONFLICT (origin) DO UPDATE SET counter = MAX(counter, ?2)",
            [(origin, counter) for origin, counter in through.items() if len(origin) == ORIGIN_SIZE],
        )

    # -- what was applied, and what to report --------------------------------------------------------------------------

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

    def report(self, subject: str, kind: str, detail: str, at: int) -> bool:
        """Note something to report; return False when the same stands there already."""
        row = self._db.execute("SELECT detail FROM reports WHERE subject = ? AND kind = ?", (subject, kind)).fetchone()
        if row == (detail,):
            return False
        with self._transaction():
            self._db.execute("REPLACE INTO reports VALUES (?, ?, ?, ?)", (subject, kind, detail, at))
        return True

    def settle(self, subject: str, kind: str) -> None:
        """Take a report back: it is no longer so."""
        if self._db.execute("SELECT 1 FROM reports WHERE subject = ? AND kind = ?", (subject, kind)).fetchone():
            with self._transaction():
                self._db.execute("DELETE FROM reports WHERE subject = ? AND kind = ?", (subject, kind))

    def reports(self) -> list[Report]:
        """Return all that stands reported, by kind and subject."""
        return [Report(*row) for row in self._db.execute("SELECT * FROM reports ORDER BY kind, subject")]

    # -- notes of the rounds -------------------------------------------------------------------------------------------

    def note(self, name: str) -> bytes:
        """Return the note ``name``; empty when there is none."""
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (f"note {name}",)).fetchone()
        return bytes(row[0]) if row else b""

    def set_note(self, name: str, value: bytes) -> None:
        """Keep ``value`` as the note ``name``."""
        if self.note(name) != value:
            with self._transaction():
                self._set(f"note {name}", value)

    def forget_applied(self, subjects: Iterable[str]) -> None:
        """Take back that something was applied for ``subjects``: the key store has lost it."""
        with self._transaction():
            self._db.executemany("DELETE FROM applied WHERE subject = ?", [(one,) for one in subjects])

    def _get(self, name: str) -> bytes:
        (value,) = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return bytes(value)

    def _set(self, name: str, value: bytes) -> None:
        self._db.execute("REPLACE INTO meta VALUES (?, ?)", (name, value))


def _weight(blob: bytes, signature: bytes) -> int:
    return int.from_bytes(hashlib.sha256(blob + signature).digest(), "big")


def _incarnation() -> bytes:
    return secrets.token_bytes(ORIGIN_SIZE - MEMBER_SIZE)


def _winners(candidates: list[Signed]) -> list[Signed]:
    """
    Return the candidates that none of them supersedes.

    Of two contents under one counter (a member that breaks the rules, or one whose disk was cloned) the more
    restrictive stays, then the one with the smaller digest: the same on every member.
    """
    rank = list(State)
    by_dot: dict[tuple[bytes, int], Signed] = {}
    for one in sorted(candidates, key=lambda each: (-rank.index(each.record.state), each.digest)):
        by_dot.setdefault((one.record.origin, one.record.counter), one)
    kept = concurrent(one.record for one in by_dot.values())
    return [by_dot[record.origin, record.counter] for record in kept]
