"""
The ledger of minion data: which version of what this master's cache holds. The values stay in Salt's cache.

One SQLite file beside the journal. When it is lost nothing else is: the cache is looked at anew, and what other members
know stands against it.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgpack

from saltext_logilab.errors import UnavailableError
from saltext_logilab.masters.data.versions import KINDS, Bank, Part, Version
from saltext_logilab.store import Store

log = logging.getLogger(__name__)

FILE = "data.db"
VERSION = 1
BUCKETS = 256
_SCHEMA = """
CREATE TABLE banks (kind TEXT NOT NULL, minion TEXT NOT NULL, blob BLOB NOT NULL, PRIMARY KEY (kind, minion))
    WITHOUT ROWID;
CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""

Name = tuple[str, str]
"""A kind and a minion's id."""


class Ledger:
    """What is known of all banks, in memory and in a file."""

    def __init__(self, path: Path) -> None:
        """Open the ledger at ``path``, made when it is not there; :raises UnavailableError: it cannot be used."""
        self._store = Store(path, "the ledger of minion data", VERSION, _SCHEMA)
        self._sums: dict[str, list[int]] = {kind: [0] * BUCKETS for kind in KINDS}
        self._digests: dict[str, bytes] = {}  # of what has not changed since: they are asked for every second
        self._banks: dict[Name, Bank] = {}
        with self._store.reading() as db:
            rows = db.execute("SELECT kind, minion, blob FROM banks").fetchall()
        try:
            for kind, minion, blob in rows:
                self._set((kind, minion), _unpack(blob))
        except (ValueError, TypeError, LookupError) as err:
            self._store.close()
            raise UnavailableError(f"the ledger of minion data {path} is damaged") from err

    def close(self) -> None:
        """Close the file."""
        self._store.close()

    def get(self, name: Name) -> Bank | None:
        """Return what is known of a bank."""
        return self._banks.get(name)

    def items(self) -> list[tuple[Name, Bank]]:
        """Return all that is known."""
        return list(self._banks.items())

    def change(self, banks: Mapping[Name, Bank | None]) -> None:
        """Let these be known instead of what was; None: nothing of it any more; :raises UnavailableError: disk full."""
        rows = [(*name, _pack(bank)) for name, bank in banks.items() if bank]
        gone = [name for name, bank in banks.items() if bank is None]
        with self._store.changing() as db:
            db.executemany("INSERT OR REPLACE INTO banks VALUES (?, ?, ?)", rows)
            db.executemany("DELETE FROM banks WHERE kind = ? AND minion = ?", gone)
        for name, bank in banks.items():
            self._set(name, bank)

    def _set(self, name: Name, bank: Bank | None) -> None:
        self._digests.pop(name[0], None)
        old = self._banks.pop(name, None)
        for one in filter(None, (old, bank)):
            if one.parts:
                self._sums[name[0]][bucket(name[1])] ^= one.mark("/".join(name))
        if bank:
            self._banks[name] = bank

    def sums(self, kind: str) -> bytes:
        """Return eight bytes for each bucket of minions: those of another member when that has the same versions."""
        return b"".join(one.to_bytes(8, "big") for one in self._sums[kind])

    def digest(self, kind: str) -> bytes:
        """Return the digest of all of ``kind``."""
        if kind not in self._digests:
            self._digests[kind] = sha256(self.sums(kind)).digest()[:8]
        return self._digests[kind]

    def within(self, kind: str, buckets: Iterable[int]) -> Iterator[tuple[str, Bank]]:
        """Yield what is known of the minions in ``buckets``, in the order of their ids."""
        asked = set(buckets)
        minions = sorted(minion for one, minion in self._banks if one == kind and bucket(minion) in asked)
        yield from ((minion, self._banks[(kind, minion)]) for minion in minions)

    def note(self, name: str) -> str:
        """Return what was noted; empty when nothing was."""
        with self._store.reading() as db:
            row = db.execute("SELECT value FROM notes WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""

    def set_note(self, name: str, value: str) -> None:
        """Note something."""
        with self._store.changing() as db:
            db.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, value))


def open_ledger(path: Path) -> Ledger:
    """Open the ledger at ``path``; make a damaged one anew; :raises UnavailableError: there can be none."""
    try:
        return Ledger(path)
    except UnavailableError as err:
        log.warning("%s; it is made anew", err)
    with contextlib.suppress(OSError):
        for end in ("", "-wal", "-shm"):
            path.with_name(path.name + end).unlink(missing_ok=True)
    return Ledger(path)


def bucket(minion: str) -> int:
    """Return the bucket of a minion."""
    return sha256(minion.encode("utf-8", "surrogatepass")).digest()[0]


def _pack(bank: Bank) -> bytes:
    parts: dict[str, Any] = {name: [list(one.version), *one[1:]] for name, one in bank.parts.items()}
    return bytes(msgpack.packb([bank.fingerprint, parts, bank.stamp]))


def _unpack(blob: bytes) -> Bank:
    fingerprint, parts, stamp = msgpack.unpackb(blob)
    return Bank(fingerprint, {name: Part(Version(*one[0]), *one[1:]) for name, one in parts.items()}, stamp)
