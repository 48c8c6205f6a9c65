"""
The records of a member as they are kept: by subject the concurrent ones, how far each origin is known, and a digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from saltext_logilab.masters import group as groups
from saltext_logilab.masters import keys
from saltext_logilab.masters.group import Group
from saltext_logilab.masters.notebook import Notebook
from saltext_logilab.masters.records import MEMBER_SIZE, ORIGIN_SIZE, Record, Signed, State, Vector, concurrent, decode

SCHEMA = """
CREATE TABLE frontier (origin BLOB PRIMARY KEY, counter INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE records (
    origin BLOB NOT NULL, counter INTEGER NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL, state TEXT NOT NULL,
    blob BLOB NOT NULL, signature BLOB NOT NULL, PRIMARY KEY (origin, counter)
) WITHOUT ROWID;
CREATE INDEX records_subject ON records (kind, subject);
CREATE INDEX tombstones ON records (kind) WHERE state = 'deleted';
"""

# From one origin to the next: SQLite's DISTINCT would look at each of many thousands of records.
_ORIGINS = """
WITH RECURSIVE step (origin) AS (
    SELECT MIN(origin) FROM records
    UNION ALL SELECT (SELECT MIN(r.origin) FROM records r WHERE r.origin > step.origin) FROM step
    WHERE step.origin IS NOT NULL
) SELECT origin FROM step WHERE origin IS NOT NULL
"""


class Shelf(Notebook):
    """The tables of the journal that hold records."""

    _sum: int
    _group: Group | None

    def group(self) -> Group:
        """Return the group as the records about members tell it."""
        raise NotImplementedError

    def subjects(self, kind: str = keys.KIND) -> set[str]:
        """Return all subjects of ``kind`` of which there are records."""
        return {one for (one,) in self._db.execute("SELECT DISTINCT subject FROM records WHERE kind = ?", (kind,))}

    def records(self, subjects: Iterable[str] | None = None, kind: str = keys.KIND) -> dict[str, list[Record]]:
        """Return the concurrent records of ``kind`` by subject, of ``subjects`` or of all."""
        if subjects is None:
            rows = self._db.execute("SELECT subject, blob FROM records WHERE kind = ?", (kind,)).fetchall()
        else:
            query = "SELECT subject, blob FROM records WHERE kind = ? AND subject = ?"
            rows = [row for subject in subjects for row in self._db.execute(query, (kind, subject))]
        found: dict[str, list[Record]] = {}
        for subject, blob in rows:
            found.setdefault(subject, []).append(decode(blob))
        return found

    def beyond(self, frontier: Vector, kind: str | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Yield blob and signature of the records (of ``kind``) that ``frontier`` lacks, those about members first."""
        if kind in (None, groups.KIND):
            yield from self._about_members(frontier)
        query = "SELECT blob, signature FROM records WHERE origin = ? AND counter > ? AND kind != ? ORDER BY counter"
        for origin in self.origins() if kind is None else ():
            yield from self._db.execute(query, (origin, frontier.get(origin, 0), groups.KIND)).fetchall()

    def _about_members(self, frontier: Vector) -> Iterator[tuple[bytes, bytes]]:
        """Yield them, found by their kind: there are few, among many thousands of others."""
        query = "SELECT origin, counter, blob, signature FROM records WHERE kind = ? ORDER BY origin, counter"
        for origin, counter, blob, signature in self._db.execute(query, (groups.KIND,)).fetchall():
            if counter > frontier.get(origin, 0):
                yield blob, signature

    def frontier(self) -> dict[bytes, int]:
        """Return up to which counter of each origin this journal knows all that is not superseded."""
        return dict(self._db.execute("SELECT origin, counter FROM frontier"))

    def dots(self) -> Iterator[tuple[bytes, int]]:
        """Yield the names of all records."""
        yield from self._db.execute("SELECT origin, counter FROM records").fetchall()

    def origins(self) -> list[bytes]:
        """Return the origins of all records, sorted."""
        return [origin for (origin,) in self._db.execute(_ORIGINS)]

    def count_within(self, origin: bytes, counter: int) -> int:
        """Return the number of records of ``origin`` up to ``counter``."""
        query = "SELECT COUNT(*) FROM records WHERE origin = ? AND counter <= ?"
        return int(self._db.execute(query, (origin, counter)).fetchone()[0])

    def count_beyond(self, frontier: Vector) -> int:
        """Return the number of records that ``frontier`` does not cover."""
        query = "SELECT COUNT(*) FROM records WHERE origin = ? AND counter > ?"
        return sum(self._db.execute(query, (one, frontier.get(one, 0))).fetchone()[0] for one in self.origins())

    def digest(self) -> bytes:
        """
        Return 32 bytes over the records: two journals with the same frontier and the same records have the same ones.

        It is the sum of their SHA-256, so that it follows each change without a look at the other records. Tombstones
        are not in it: each member drops them by itself, once all have acknowledged them.
        """
        return (self._sum % 2**256).to_bytes(32, "big")

    def counts(self) -> dict[str, int]:
        """Return the number of records about keys by state."""
        counts = {state.value: 0 for state in keys.STATES}
        query = "SELECT state, COUNT(*) FROM records WHERE kind = ? GROUP BY state"
        counts.update(self._db.execute(query, (keys.KIND,)))
        return counts

    def _merge(self, received: Iterable[Signed]) -> set[str]:
        incoming: dict[tuple[str, str], list[Signed]] = {}
        for one in received:
            incoming.setdefault((one.record.kind, one.record.subject), []).append(one)
        changed = set()
        for (kind, subject), arrivals in incoming.items():
            query = "SELECT blob, signature FROM records WHERE kind = ? AND subject = ?"
            rows = self._db.execute(query, (kind, subject)).fetchall()
            present = [Signed(decode(blob), blob, signature) for blob, signature in rows]
            candidates = [*present, *arrivals]
            if self._keep(present, _winners(candidates) if len(candidates) > 1 else candidates):
                changed.add(subject)
            if len(candidates) > 1:
                self._report_doubles(candidates)
        return changed

    def _report_doubles(self, candidates: list[Signed]) -> None:
        """Report a member that has given one counter to two decisions."""
        by_dot: dict[tuple[bytes, int], Signed] = {}
        for one in candidates:
            first = by_dot.setdefault(one.record.dot, one)
            if first.blob != one.blob:
                name = one.record.origin[:MEMBER_SIZE]
                member = self.group().members.get(name)
                said = sorted({first.record.state.value, one.record.state.value})
                detail = (
                    f"{member.name if member else name.hex()} has made two decisions ({' and '.join(said)}) under one"
                    " counter: its journal was copied, or it lies; the more restrictive one counts"
                )
                self._report(one.record.subject, "double", detail, one.record.at)

    def _keep(self, present: list[Signed], kept: list[Signed]) -> bool:
        """Replace the records ``present`` of one subject by ``kept``; say whether that changes anything."""
        old, new = {one.blob for one in present}, {one.blob for one in kept}
        new -= {one.blob for one in kept if one.blob not in old and self._is_taken(one.record)}
        gone = [one for one in present if one.blob not in new and new]
        for one in gone:
            self._db.execute("DELETE FROM records WHERE origin = ? AND counter = ?", one.record.dot)
            self._sum -= weight(one.record.kind, one.record.state.value, one.blob, one.signature)
        come = [one for one in kept if one.blob in new - old]
        for one in come:
            r = one.record
            row = (r.origin, r.counter, r.kind, r.subject, r.state.value, one.blob, one.signature)
            self._db.execute("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            self._sum += weight(r.kind, r.state.value, one.blob, one.signature)
            self._remember(r)
            if r.kind == groups.KIND:
                self._group = None
        return bool(gone or come)

    def _is_taken(self, record: Record) -> bool:
        """Say whether a member has used the record's counter for another subject, against the rules: that one stays."""
        query = "SELECT kind, subject FROM records WHERE origin = ? AND counter = ?"
        row = self._db.execute(query, record.dot).fetchone()
        return row is not None and row != (record.kind, record.subject)

    def holds(self, blob: bytes, signature: bytes) -> bool:
        """
        Say whether exactly this record is here.

        :raises WireError: it is malformed.
        """
        query = "SELECT blob, signature FROM records WHERE origin = ? AND counter = ?"
        return bool(self._db.execute(query, decode(blob).dot).fetchone() == (blob, signature))

    def _is_other(self, one: Signed) -> bool:
        """Say whether another record stands under the counter of ``one``."""
        query = "SELECT blob FROM records WHERE origin = ? AND counter = ?"
        row = self._db.execute(query, one.record.dot).fetchone()
        return row is not None and row[0] != one.blob

    def _advance(self, through: Vector) -> None:
        self._db.executemany(
            "INSERT INTO frontier VALUES (?1, ?2) ON CONFLICT (origin) DO UPDATE SET counter = MAX(counter, ?2)",
            [(origin, counter) for origin, counter in through.items() if len(origin) == ORIGIN_SIZE],
        )


def weight(kind: str, state: str, blob: bytes, signature: bytes) -> int:
    """Return what a record adds to the digest: nothing when it is a tombstone."""
    if kind == keys.KIND and state == State.DELETED.value:
        return 0
    return int.from_bytes(hashlib.sha256(blob + signature).digest(), "big")


def _winners(candidates: list[Signed]) -> list[Signed]:
    """
    Return the candidates that none of them supersedes.

    Of two contents under one counter (a member that breaks the rules, or one whose disk was cloned) the more
    restrictive stays, then the one with the smaller digest: the same on every member.
    """
    rank = list(State)
    by_dot: dict[tuple[bytes, int], Signed] = {}
    for one in sorted(candidates, key=lambda each: (-rank.index(each.record.state), each.digest)):
        by_dot.setdefault(one.record.dot, one)
    kept = concurrent(one.record for one in by_dot.values())
    return [by_dot[record.dot] for record in kept]
