"""
The records of tasks: one SQLite file that the minion's jobs, the workers and nobody else write.

A worker holds a lock on a file of its task's own as long as it lives, so the kernel tells who is alive.
"""

from __future__ import annotations

import fcntl
import json
import re
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from saltext_logilab.errors import LogilabError, RefusedError
from saltext_logilab.store import Store

VERSION = 1
FILE = "tasks.db"
ACTIVE = ("pending", "running")
ENDED = ("done", "failed", "cancelled", "lost")
_GOING = "state IN ('pending', 'running')"
_TASK = re.compile(r"[0-9]{8}T[0-9]{6}-[0-9a-f]{8}")
_COLUMNS = (
    "id, kind, guest, uri, spec, state, reason, created, started, ended, boot, worker, cancel, done, total, rate, moved"
)
_SCHEMA = """
CREATE TABLE tasks (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, guest TEXT NOT NULL, uri TEXT NOT NULL, spec TEXT NOT NULL,
    state TEXT NOT NULL, reason TEXT, created REAL NOT NULL, started REAL, ended REAL, boot TEXT NOT NULL,
    worker TEXT NOT NULL, cancel TEXT, done INTEGER NOT NULL, total INTEGER NOT NULL, rate REAL NOT NULL,
    moved REAL NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX one_per_guest ON tasks (uri, guest) WHERE state IN ('pending', 'running');
CREATE TABLE log (task TEXT NOT NULL, at REAL NOT NULL, line TEXT NOT NULL);
CREATE INDEX log_task ON log (task, at);
"""


@dataclass(frozen=True)
class Order:
    """What is to be done: the kind of work, on which guest of which libvirt, with what the kind needs to know."""

    kind: str
    guest: str
    uri: str
    spec: Mapping[str, Any]


@dataclass(frozen=True)
class Task:
    """
    A task as it was last recorded; times in Unix time, sizes in bytes.

    :param spec: what was asked for and, as the work goes on, what it has made.
    :param boot: the boot of the host in which it was started.
    :param worker: how its worker was started: ``unit NAME`` or ``process``.
    :param cancel: why it shall end, once somebody wants that.
    :param moved: when there was progress last.
    """

    id: str
    kind: str
    guest: str
    uri: str
    spec: Mapping[str, Any]
    state: str
    reason: str | None
    created: float
    started: float | None
    ended: float | None
    boot: str
    worker: str
    cancel: str | None
    done: int
    total: int
    rate: float
    moved: float

    @property
    def active(self) -> bool:
        """Whether it has not ended."""
        return self.state in ACTIVE


class Records:
    """The records in one folder."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        """Open them, made when they are not there; :raises UnavailableError: they cannot be used."""
        self.folder, self._clock = folder, clock
        self._store = Store(folder / FILE, "the record of tasks", VERSION, _SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._store.close()

    def add(self, order: Order, boot: str, worker: str) -> Task:
        """
        Record a new task and return it.

        :raises RefusedError: another task on the same guest has not ended; it is named.
        """
        now = self._clock()
        name = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(now))}-{secrets.token_hex(4)}"
        told = (order.kind, order.guest, order.uri, json.dumps(order.spec))
        values = (name, *told, "pending", None, now, None, None, boot, worker, None)
        with self._store.changing() as db:
            other = db.execute(
                f"SELECT id, kind FROM tasks WHERE uri = ? AND guest = ? AND {_GOING}",  # noqa: S608
                (order.uri, order.guest),
            ).fetchone()
            if other:
                raise RefusedError(f"the guest {order.guest!r} has a task already: {other[1]} {other[0]}")
            db.execute(f"INSERT INTO tasks ({_COLUMNS}) VALUES ({_marks(13)}, 0, 0, 0, ?)", (*values, now))  # noqa: S608
        return self.get(name)

    def get(self, name: str) -> Task:
        """
        Return the task ``name``.

        :raises LogilabError: there is none.
        """
        with self._store.reading() as db:
            row = db.execute(f"SELECT {_COLUMNS} FROM tasks WHERE id = ?", (str(name),)).fetchone()  # noqa: S608
        if row is None:
            raise LogilabError(f"there is no task {name!r}")
        return _task(row)

    def all(self) -> list[Task]:
        """Return all tasks, the newest first."""
        with self._store.reading() as db:
            return [_task(row) for row in db.execute(f"SELECT {_COLUMNS} FROM tasks ORDER BY id DESC")]  # noqa: S608

    def begin(self, name: str) -> bool:
        """Note that work on ``name`` begins now; False when it has begun or ended before."""
        with self._store.changing() as db:
            told = "UPDATE tasks SET state = 'running', started = ?, moved = ? WHERE id = ? AND state = 'pending'"
            return _changed(db.execute(told, (self._clock(), self._clock(), name)))

    def end(self, name: str, state: str, reason: str | None) -> bool:
        """Note how ``name`` ended; the first word counts, so False when it has ended before."""
        with self._store.changing() as db:
            told = f"UPDATE tasks SET state = ?, reason = ?, ended = ?, rate = 0 WHERE id = ? AND {_GOING}"  # noqa: S608
            ended = _changed(db.execute(told, (state, reason, self._clock(), name)))
        if ended:
            self.write(name, f"{state}{f': {reason}' if reason else ''}")
        return ended

    def learn(self, name: str, **known: Any) -> None:
        """Add to the spec of ``name`` what the work has made: written before it is made, so that it can be undone."""
        with self._store.changing() as db:
            (spec,) = db.execute("SELECT spec FROM tasks WHERE id = ?", (name,)).fetchone()
            db.execute("UPDATE tasks SET spec = ? WHERE id = ?", (json.dumps({**json.loads(spec), **known}), name))

    def move(self, name: str, done: int, total: int) -> None:
        """Note how far ``name`` is; the rate is that of the time since the last progress."""
        task, now = self.get(name), self._clock()
        if (done, total) == (task.done, task.total):
            return
        rate = max(0.0, (done - task.done) / (now - task.moved)) if now > task.moved else task.rate
        with self._store.changing() as db:
            told = "UPDATE tasks SET done = ?, total = ?, rate = ?, moved = ? WHERE id = ?"
            db.execute(told, (done, total, rate, now, name))

    def cancel(self, name: str, reason: str) -> None:
        """Note that ``name`` shall end, and why; the first reason counts."""
        with self._store.changing() as db:
            db.execute("UPDATE tasks SET cancel = coalesce(cancel, ?) WHERE id = ?", (reason, name))

    def write(self, name: str, line: str) -> None:
        """Add a line to the log of ``name``."""
        with self._store.changing() as db:
            db.execute("INSERT INTO log VALUES (?, ?, ?)", (name, self._clock(), line))

    def log(self, name: str) -> list[tuple[float, str]]:
        """Return the lines of the log of ``name`` with their times."""
        with self._store.reading() as db:
            return list(db.execute("SELECT at, line FROM log WHERE task = ? ORDER BY at, rowid", (name,)))

    def prune(self, before: float) -> list[str]:
        """Forget the tasks that ended before the time ``before``, and return their ids."""
        with self._store.changing() as db:
            old = f"SELECT id FROM tasks WHERE NOT {_GOING} AND ended < ? ORDER BY id"  # noqa: S608
            names = [name for (name,) in db.execute(old, (before,))]
            for table, column in (("log", "task"), ("tasks", "id")):
                db.executemany(f"DELETE FROM {table} WHERE {column} = ?", [(name,) for name in names])  # noqa: S608
        for name in names:
            self._lock_file(name).unlink(missing_ok=True)
        return names

    @contextmanager
    def working(self, name: str, tries: int = 1) -> Iterator[bool]:
        """
        Hold the lock of the worker of ``name``; gives False where another one holds it.

        A worker tries more than once: who only asks for its life holds the lock for a moment, too.
        """
        with self._lock_file(name).open("w") as lock:
            yield any(_locked(lock, first=number == 0) for number in range(tries))

    def has_worker(self, name: str) -> bool:
        """Whether a worker of ``name`` is alive."""
        with self.working(name) as free:
            return not free

    def _lock_file(self, name: str) -> Path:
        if not _TASK.fullmatch(name):
            raise LogilabError(f"there is no task {name!r}")
        return self.folder / f"{name}.lock"


def _locked(lock: IO[str], *, first: bool) -> bool:
    if not first:
        time.sleep(0.1)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _marks(number: int) -> str:
    return ", ".join("?" * number)


def _changed(cursor: sqlite3.Cursor) -> bool:
    return cursor.rowcount == 1


def _task(row: tuple[Any, ...]) -> Task:
    names = _COLUMNS.split(", ")
    return Task(**{**dict(zip(names, row, strict=True)), "spec": json.loads(row[4])})
