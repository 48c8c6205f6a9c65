"""
What a master knows of the guests that it lets in: one SQLite file, so that a key that was accepted for a guest that
never came is taken back, whoever was killed meanwhile.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from saltext_logilab.errors import RefusedError
from saltext_logilab.store import Store

VERSION = 1
FILE = "seeds.db"
EXPECTED, ACCEPTED = "expected", "accepted"
KEPT, REVOKED, REFUSED, EXPIRED = "kept", "revoked", "refused", "expired"
OPEN = (EXPECTED, ACCEPTED)
_OPEN = "state IN ('expected', 'accepted')"
_COLUMNS = "nonce, id, host, task, state, reason, public, opened, until, ended"
_SCHEMA = """
CREATE TABLE seeds (
    nonce TEXT PRIMARY KEY, id TEXT NOT NULL, host TEXT NOT NULL, task TEXT, state TEXT NOT NULL, reason TEXT,
    public TEXT, opened REAL NOT NULL, until REAL NOT NULL, ended REAL
) WITHOUT ROWID;
CREATE UNIQUE INDEX one_per_id ON seeds (id) WHERE state IN ('expected', 'accepted');
"""


@dataclass(frozen=True)
class Entry:
    """
    A guest that was let in, or shall be; times in Unix time.

    :param nonce: what its seed is called; no two are called alike, for ever.
    :param state: ``expected`` (nothing is accepted yet), ``accepted`` (its key is, and nobody knows yet whether it
        comes), ``kept`` (it came), ``revoked`` (it did not, and its key is gone), ``refused`` or ``expired`` (nothing
        was accepted).
    :param public: the key that is accepted for it; written here before the key store has it.
    :param until: when it is given up.
    """

    nonce: str
    id: str
    host: str
    task: str | None
    state: str
    reason: str | None
    public: str | None
    opened: float
    until: float
    ended: float | None

    @property
    def open(self) -> bool:
        """Whether something is still to be done about it."""
        return self.state in OPEN


class Ledger:
    """The entries in one folder."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        """Open them, made when they are not there; :raises UnavailableError: they cannot be used."""
        self.clock = clock
        self._store = Store(folder / FILE, "the record of seeds", VERSION, _SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._store.close()

    def expect(self, nonce: str, minion: str, host: str, until: float) -> None:
        """
        Note that ``minion`` shall be let in, from the hypervisor ``host``.

        :raises RefusedError: another seed of this id has not ended, or there was one of this nonce.
        """
        values = (nonce, minion, host, EXPECTED, self.clock(), until)
        with self._store.changing() as db:
            other = db.execute(f"SELECT host, task FROM seeds WHERE id = ? AND {_OPEN}", (minion,)).fetchone()  # noqa: S608
            if other:
                raise RefusedError(f"the minion {minion!r} is being made on {other[0]} already (task {other[1]})")
            try:
                db.execute(
                    "INSERT INTO seeds (nonce, id, host, state, opened, until) VALUES (?, ?, ?, ?, ?, ?)", values
                )
            except sqlite3.IntegrityError as err:
                raise RefusedError(f"there was a seed {nonce!r} before") from err

    def begun(self, nonce: str, task: str) -> None:
        """Note the task that makes the guest."""
        with self._store.changing() as db:
            db.execute("UPDATE seeds SET task = ? WHERE nonce = ?", (task, nonce))

    def accept(self, nonce: str, task: str, public: str, until: float) -> bool:
        """Note the key that is going to be accepted; False when somebody else has done so."""
        with self._store.changing() as db:
            told = "UPDATE seeds SET state = ?, task = ?, public = ?, until = ? WHERE nonce = ? AND state = ?"
            return db.execute(told, (ACCEPTED, task, public, until, nonce, EXPECTED)).rowcount == 1

    def settle(self, nonce: str, state: str, reason: str | None = None) -> None:
        """Note how it ended; the first word counts."""
        with self._store.changing() as db:
            told = f"UPDATE seeds SET state = ?, reason = ?, ended = ? WHERE nonce = ? AND {_OPEN}"  # noqa: S608
            db.execute(told, (state, reason, self.clock(), nonce))

    def get(self, nonce: str) -> Entry | None:
        """Return the entry of ``nonce``; None where there is none."""
        with self._store.reading() as db:
            row = db.execute(f"SELECT {_COLUMNS} FROM seeds WHERE nonce = ?", (nonce,)).fetchone()  # noqa: S608
        return Entry(*row) if row else None

    def all(self, *, open_only: bool = False) -> list[Entry]:
        """Return all entries, the newest first."""
        where = f"WHERE {_OPEN}" if open_only else ""
        with self._store.reading() as db:
            rows = db.execute(f"SELECT {_COLUMNS} FROM seeds {where} ORDER BY opened DESC, nonce")  # noqa: S608
            return [Entry(*row) for row in rows]
