"""
One daemon: started in a session of its own, recorded before it exists, known again by its token.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from saltext_logilab.lab import processes
from saltext_logilab.lab.directory import write_json
from saltext_logilab.lab.processes import Process

RECORD = "daemon.json"
PATIENCE = 30.0  # seconds after which a daemon that does not listen yet is called stuck


@dataclass(frozen=True)
class Record:
    """A daemon that was started: ``token`` marks its processes; ``pid`` is 0 when salt-lab died while starting it."""

    token: str
    pid: int
    salt: str


def read(place: Path) -> Record | None:
    """Return the record in the daemon's folder ``place``, or None when it was never started or was stopped."""
    try:
        return Record(**json.loads((place / RECORD).read_text()))
    except (FileNotFoundError, NotADirectoryError):
        return None


def forget(place: Path) -> None:
    """Remove the record: the daemon is down on purpose."""
    (place / RECORD).unlink(missing_ok=True)


def start(place: Path, command: Sequence[str], log: Path, salt: str) -> Record:
    """
    Start ``command`` in a session of its own, its output appended to ``log``; return its record.

    The token is on the disk before the process exists: a crash at any line leaves a daemon that can be found.
    """
    record = Record(secrets.token_hex(16), 0, salt)
    write_json(place / RECORD, vars(record))
    environment = {**os.environ, processes.VARIABLE: record.token, "SPT_NOENV": "1"}
    pid = os.posix_spawn(
        command[0],
        list(command),
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigmask=[],
        setsigdef=[signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD],
    )
    record = Record(record.token, pid, salt)
    write_json(place / RECORD, vars(record))
    return record


def leader(record: Record, running: Sequence[Process]) -> Process | None:
    """Return the first process of the daemon out of those that carry its token, or None when it is gone."""
    for process in running:
        if process.pid == process.session and record.pid in (0, process.pid):
            return process
    return None


def state(record: Record | None, running: Sequence[Process], *, listens: bool, age: float) -> str:
    """
    Say in one word how a daemon is.

    ``down`` not started, or stopped; ``dead`` started, and nothing is left of it; ``orphaned`` its first process is
    gone and others are left; ``stuck`` it is stopped by a signal, or does not listen for long; ``starting``; ``up``.

    :param listens: its ports are open (a minion has none: true).
    :param age: of its first process, in seconds.
    """
    if record is None:
        return "down"
    if not running:
        return "dead"
    first = leader(record, running)
    if first is None:
        return "orphaned"
    if first.state in "Tt":
        return "stuck"
    if listens:
        return "up"
    return "starting" if age < PATIENCE else "stuck"
