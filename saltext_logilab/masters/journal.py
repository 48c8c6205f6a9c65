"""
The journal of a member: its records, what it has applied and its own counter, in one SQLite file (WAL).

A counter that was used is on the disk before the record leaves this machine. A run that decides something before a peer
has confirmed the highest counter begins a new incarnation, a random one: so does a journal that was lost or set back,
and no counter is used for a second record.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgpack

from saltext_logilab.errors import UnavailableError
from saltext_logilab.identity import Identity
from saltext_logilab.masters import group as groups
from saltext_logilab.masters import keys, notebook, shelf
from saltext_logilab.masters.group import Group
from saltext_logilab.masters.reconcile import Applied, Change
from saltext_logilab.masters.records import (
    AGAINST_LIMIT,
    MEMBER_SIZE,
    ORIGIN_SIZE,
    Record,
    Signed,
    State,
    Vector,
    decode,
    join,
    member_id,
    sign,
)
from saltext_logilab.masters.shelf import Shelf, weight

VERSION = 2
CACHE_KIB = 512
_SCHEMA = f"{notebook.SCHEMA}{shelf.SCHEMA}"

FRESH = "fresh"
"""
The note of a journal that is new, or was set back: ``due`` until a peer has told what it knows, so that nothing is
decided before; ``adopt``: afterwards all that this key store alone holds becomes records; else an operator is asked.
"""


class DamagedError(UnavailableError):
    """The file is no journal, or a damaged one."""


class Journal(Shelf):
    """What one member knows; to be opened for writing by one process at a time."""

    def __init__(self, path: Path, identity: Identity | None = None) -> None:
        """
        Open the journal at ``path`` of the member with ``identity``; make it, with its folder, when it is not there.

        Without an identity it is opened for reading only, and not made.

        :raises DamagedError: it is damaged.
        :raises UnavailableError: it is missing, of another version or cannot be written.
        """
        self.path = path
        self._identity = identity
        self._sum = 0
        self._confirmed = False
        self._run = b""
        self._group: Group | None = None
        try:
            if identity is None:
                self._db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
            else:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                path.touch(mode=0o600)
                self._db = sqlite3.connect(path, isolation_level=None)
            self._prepare()
            rows = self._db.execute("SELECT kind, state, blob, signature FROM records")
            self._sum = sum(weight(*row) for row in rows)
        except sqlite3.OperationalError as err:
            raise UnavailableError(f"the journal {path} cannot be opened: {err}") from err
        except sqlite3.DatabaseError as err:
            raise DamagedError(f"the journal {path} cannot be opened: {err}") from err
        except OSError as err:
            raise UnavailableError(f"the journal {path} cannot be opened: {err.strerror}") from err

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _prepare(self) -> None:
        self._db.execute("PRAGMA busy_timeout = 5000")
        self._db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version not in (0, VERSION) or (self._identity is None and version == 0):
            raise UnavailableError(f"the journal {self.path} has version {version}, this program knows {VERSION}")
        if self._identity is None:
            return
        (found,) = self._db.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise DamagedError(f"the journal {self.path} is damaged: {found}")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        if version == 0:
            with self._transaction():
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    self._db.execute(statement)
                self._set("incarnation", _incarnation())
                self._set("journal", secrets.token_bytes(MEMBER_SIZE))
                self._db.execute(f"PRAGMA user_version = {VERSION}")

    @contextmanager
    def _transaction(self, *, durable: bool = False) -> Iterator[None]:
        """
        All or nothing; ``durable``: on the disk at the end, so that not even a power cut takes it back.

        :raises UnavailableError: it cannot be written: the disk is full, or read-only.
        """
        before = self._sum
        self._db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException as err:
            self._sum, self._group = before, None
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if isinstance(err, sqlite3.OperationalError):
                raise UnavailableError(f"the journal {self.path} cannot be written: {err}") from err
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

    @property
    def number(self) -> bytes:
        """A random number of this journal; a lost one is followed by one with another number."""
        return self._get("journal")

    @property
    def founder(self) -> bytes:
        """The raw public key of the group's founder; empty when this master is in no group."""
        return self._get("founder")

    def enter(self, founder: bytes) -> None:
        """Note the group's founder: from now on this is a journal of that group."""
        with self._transaction(durable=True):
            self._set("founder", founder)
        self._group = None

    def dissolve(self) -> None:
        """Forget the group and all that was decided in it, before another one is joined."""
        with self._transaction(durable=True):
            for table in ("records", "frontier", "applied", "reports", "acknowledged", "invites"):
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608 - constants
            self._set("founder", b"")
            self._set("incarnation", _incarnation())
            self._set("journal", secrets.token_bytes(MEMBER_SIZE))
            self._sum = 0
        self._group = None

    def group(self) -> Group:
        """Return the group as the records about members tell it; empty when this master is in none."""
        if self._group is None:
            rows = self._db.execute("SELECT blob FROM records WHERE kind = ?", (groups.KIND,)).fetchall()
            founder = self.founder
            self._group = groups.evaluate(founder, [decode(blob) for (blob,) in rows]) if founder else Group({})
        return self._group

    # -- records -------------------------------------------------------------------------------------------------------

    def confirm(self) -> None:
        """Say that a peer has confirmed this journal's highest counter: it goes on from there."""
        self._confirmed = True

    def originate(self, changes: Iterable[Change], at: int, *, shown: bool = True) -> dict[str, Applied]:
        """
        Make a signed record of each of ``changes`` and keep it.

        Returns, once all is on the disk, what the key store shows by that (when it does, ``shown``): a next decision is
        made knowing this one.
        """
        made = []
        with self._transaction(durable=True):
            if not self._confirmed:  # nobody can tell whether this file was set back: its counters are not used
                self._set("incarnation", _incarnation())
            origin = self._run = self.origin
            row = self._db.execute("SELECT counter FROM frontier WHERE origin = ?", (origin,)).fetchone()
            counter = row[0] if row else 0
            for one in changes:
                counter += 1
                made.append(sign(self._record(one, origin, counter, at), self.identity))
            self._merge(made)
            self._advance({origin: counter})
            noted = {r.subject: Applied(r.state, r.fingerprint, r.vector) for r in (one.record for one in made)}
            if shown:
                self._note(noted)
        self._confirmed = True
        return noted

    def _record(self, change: Change, origin: bytes, counter: int, at: int) -> Record:
        """
        Return the record of ``change``.

        What follows the settlement of a conflict settles it, too, and is against the same keys. And who decides about a
        key of which nothing is left here does so knowing of the tombstones that were dropped: others may still have
        them.
        """
        known = self.records([change.subject], change.kind).get(change.subject, ())
        seen = [one for one in known if change.context.get(one.origin, 0) >= one.counter]
        settles = change.settles or any(one.settles for one in seen)
        alone = change.kind == keys.KIND and all(one.fingerprint != change.fingerprint for one in known)
        context = join(change.context, self._dropped()) if alone else change.context
        return Record(
            change.kind, change.subject, change.state, change.fingerprint, change.value, origin, counter,
            context, at, settles, change.actor, _against(change.fingerprint, seen) if settles else (),
        )  # fmt: skip

    def merge(self, received: Iterable[Signed], through: Vector, *, repair: bool = False) -> set[str]:
        """
        Add records of others that were verified; return the subjects that have changed.

        Records that do not count (their origin has left, or was evicted before) are passed over, and so are those
        whose counter was known already: they are superseded here.

        :param through: up to which counter of each origin all is known now.
        :param repair: take what was known before all the same: the records of two members have been found to differ.
        """
        with self._transaction():
            received, frontier, group = list(received), self.frontier(), self.group()
            news: list[Signed] = []
            old: list[Signed] = []
            for one in received:
                is_new = repair or one.record.counter > frontier.get(one.record.origin, 0)
                (news if is_new else old).append(one)
            doubles = [one for one in old if self._is_other(one)]
            about_members = [one for one in news if one.record.kind == groups.KIND]
            changed = self._merge(about_members)
            if about_members:
                self._group, group = None, self.group()
                changed |= self._purge(group)
            rest = [one for one in (*news, *doubles) if one.record.kind != groups.KIND]
            changed |= self._merge(one for one in rest if group.permits(*one.record.dot))
            self._advance(self._reached(through, group))
        return changed

    def _reached(self, through: Vector, group: Group) -> dict[bytes, int]:
        """Return what of ``through`` was not refused: of a member that is gone up to its last counter."""
        reached = {}
        for origin, counter in through.items():
            member = group.members.get(origin[:MEMBER_SIZE])
            if member:
                reached[origin] = counter if member.is_active else min(counter, member.last.get(origin, 0))
        return {origin: counter for origin, counter in reached.items() if counter}

    def _purge(self, group: Group) -> set[str]:
        """
        Drop the records that do not count any more; return their subjects.

        What they have superseded is not here any more: everything is asked of the peers again.
        """
        rows = self._db.execute("SELECT origin, counter, kind, subject, state, blob, signature FROM records").fetchall()
        gone = [row for row in rows if row[2] != groups.KIND and not group.permits(row[0], row[1])]
        for origin, counter, kind, _, state, blob, signature in gone:
            self._db.execute("DELETE FROM records WHERE origin = ? AND counter = ?", (origin, counter))
            self._sum -= weight(kind, state, blob, signature)
        if gone:
            self._forget_frontier()
        return {row[3] for row in gone}

    def _forget_frontier(self) -> None:
        own = self.origin
        self._db.execute("DELETE FROM frontier WHERE origin != ?", (own,))
        self._set("journal", secrets.token_bytes(MEMBER_SIZE))

    def reset(self) -> None:
        """
        Begin anew, because this journal was set back: drop what others can tell again, and decide nothing before.

        What this run has decided is kept, and what was applied to the key store: it tells a key that was accepted here
        from one that came since.
        """
        with self._transaction(durable=True):
            self._db.execute("DELETE FROM records WHERE kind != ? AND origin != ?", (groups.KIND, self._run))
            self._set("incarnation", _incarnation())
            self._forget_frontier()
            self._set(f"note {FRESH}", self.note(FRESH) or b"due")
            rows = self._db.execute("SELECT kind, state, blob, signature FROM records")
            self._sum = sum(weight(*row) for row in rows)

    def collect(self) -> int:
        """
        Drop the tombstones that every active member has acknowledged; return their number.

        Not before all that those members had decided until then is here: it could be about the same key. One that
        stands against a concurrent decision stays.
        """
        query = "SELECT origin, counter, subject FROM records WHERE kind = ? AND state = 'deleted'"
        rows = self._db.execute(query, (keys.KIND,)).fetchall()
        own = member_id(self.identity.public)
        others = [short for short in self.group().active() if short != own] if rows else []
        known, acknowledged = self.frontier(), self.acknowledged()
        if any(short not in acknowledged for short in others):
            return 0
        seen = [acknowledged[short].frontier for short in others]
        if any(known.get(origin, 0) < counter for one in seen for origin, counter in one.items()):
            return 0
        due = [row for row in rows if all(one.get(row[0], 0) >= row[1] for one in seen) and self._is_alone(row[2])]
        if due:
            with self._transaction():
                self._db.executemany("DELETE FROM records WHERE origin = ? AND counter = ?", [row[:2] for row in due])
                dropped = join(self._dropped(), *({origin: counter} for origin, counter, _ in due))
                self._set("dropped", msgpack.packb(dropped))
                subjects = [(row[2], State.DELETED.value) for row in due]
                self._db.executemany("DELETE FROM applied WHERE subject = ? AND state = ?", subjects)
        return len(due)

    def _dropped(self) -> dict[bytes, int]:
        """Return the highest counter, by origin, of the tombstones that were dropped."""
        packed = self._get("dropped")
        return dict(msgpack.unpackb(packed, strict_map_key=False)) if packed else {}

    def _is_alone(self, subject: str) -> bool:
        """Say whether all records about ``subject`` are about different keys, none of which a tombstone denies."""
        known = self.records([subject]).get(subject, ())
        prints = [one.fingerprint for one in known]
        denied = {each for one in known if one.state is State.DELETED for each in one.against}
        return len(prints) == len(set(prints)) and denied.isdisjoint(prints)

    def latest(self) -> dict[bytes, int]:
        """Return the version vector of all that this journal knows: the context of a decision about the group."""
        return join(
            self.frontier(), *(one.vector for group in self.records(None, groups.KIND).values() for one in group)
        )


def _against(fingerprint: str, seen: Iterable[Record]) -> tuple[str, ...]:
    """Return the other keys that a settlement for ``fingerprint`` denies: those it knew, and those denied before."""
    seen = list(seen)
    near = {one.fingerprint for one in seen} - {fingerprint}
    far = {denied for one in seen for denied in one.against} - near - {fingerprint}
    return tuple(sorted([*sorted(near), *sorted(far)][:AGAINST_LIMIT]))


def _incarnation() -> bytes:
    return secrets.token_bytes(ORIGIN_SIZE - MEMBER_SIZE)
