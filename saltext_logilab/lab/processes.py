"""
The processes of a daemon, as ``/proc`` shows them (proc(5)).

Each daemon is started with a random token in its environment, which all its descendants inherit, those included that
make a session of their own (a minion's jobs do). A process belongs to a daemon when its environment holds the token:
this survives a crash of ``salt-lab``, and a recycled pid is never mistaken for the daemon. Salt names its processes
with setproctitle, which overwrites the environment unless ``SPT_NOENV`` is set.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "SALTEXT_LOGILAB_DAEMON"
PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_ESTABLISHED = "01"
_LISTEN = "0A"


@dataclass(frozen=True)
class Process:
    """A process: ``started`` in clock ticks since boot, ``state`` a letter (``R`` running, ``T`` stopped …)."""

    pid: int
    parent: int
    session: int
    state: str
    started: int


@dataclass(frozen=True)
class Socket:
    """A TCP socket over IPv4: ``remote`` is None when it listens; ``inode`` finds its owner."""

    local: tuple[str, int]
    remote: tuple[str, int] | None
    inode: int


def parse_stat(text: str) -> Process:
    """Read the content of ``/proc/<pid>/stat``; the name of the program may hold blanks and brackets."""
    pid, _, rest = text.partition(" ")
    fields = rest.rpartition(")")[2].split()
    return Process(int(pid), int(fields[1]), int(fields[3]), fields[0], int(fields[19]))


def parse_sockets(text: str) -> list[Socket]:
    """Read the content of ``/proc/net/tcp``: the sockets that listen or are connected."""
    sockets = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if fields[3] in (_ESTABLISHED, _LISTEN):
            remote = None if fields[3] == _LISTEN else _endpoint(fields[2])
            sockets.append(Socket(_endpoint(fields[1]), remote, int(fields[9])))
    return sockets


def find(pid: int) -> Process | None:
    """Return the process ``pid``, or None when it does not run; a zombie of this process is reaped on the way."""
    try:
        process = parse_stat((PROC / str(pid) / "stat").read_text(errors="replace"))
    except (OSError, IndexError):
        return None
    if process.state not in "ZX":
        return process
    if process.parent == os.getpid():
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    return None


def with_tokens(tokens: Iterable[str]) -> dict[str, list[Process]]:
    """Return, for each of ``tokens``, the processes that run and carry it, the oldest first."""
    found: dict[str, list[Process]] = {token: [] for token in tokens}
    for pid in _pids():
        token = _token(pid)
        if token in found and (process := find(pid)):
            found[token].append(process)
    for processes in found.values():
        processes.sort(key=lambda process: (process.started, process.pid))
    return found


def send(process: Process, token: str, number: int) -> None:
    """Send the signal ``number`` to ``process`` when it is still that process and still carries ``token``."""
    now = find(process.pid)
    if now and now.started == process.started and _token(process.pid) == token:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)


def end(tokens: Iterable[str], grace: float) -> bool:
    """
    End all processes that carry one of ``tokens``; say whether none is left.

    SIGTERM to the first process of each, which ends the others in order; after ``grace`` seconds, or at once when it
    is 0, SIGKILL to everything.
    """
    left = _running(tokens)
    if grace:
        for token, processes in left.items():
            send(processes[0], token, signal.SIGTERM)
        left = _wait(left, grace)
    deadline = time.monotonic() + 10
    while left and time.monotonic() < deadline:  # a process may fork between the look and the kill
        for token, processes in left.items():
            for process in processes:
                send(process, token, signal.SIGKILL)
        left = _wait(left, 0.2)
    return not left


def boot_id() -> str:
    """Return the id of this boot: a pid of another boot means nothing."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def uptime(process: Process) -> float:
    """Return for how many seconds ``process`` has run."""
    return max(0.0, float((PROC / "uptime").read_text().split()[0]) - process.started / _TICKS)


def memory(processes: Iterable[Process]) -> int:
    """Return the memory of ``processes`` in bytes; each of n that share a page counts an n-th of it (PSS)."""
    total = 0
    for process in processes:
        with contextlib.suppress(OSError):
            for entry in (PROC / str(process.pid) / "smaps_rollup").read_text().splitlines():
                if entry.startswith("Pss:"):
                    total += int(entry.split()[1]) * 1024
    return total


def sockets() -> list[Socket]:
    """Return the TCP sockets of this network namespace that listen or are connected."""
    return parse_sockets((PROC / "net/tcp").read_text())


def inodes(processes: Iterable[Process]) -> set[int]:
    """Return the inodes of the sockets that ``processes`` hold open."""
    found = set()
    for process in processes:
        with contextlib.suppress(OSError):
            for descriptor in (PROC / str(process.pid) / "fd").iterdir():
                with contextlib.suppress(OSError):
                    target = str(descriptor.readlink())
                    if target.startswith("socket:["):
                        found.add(int(target[8:-1]))
    return found


def _running(tokens: Iterable[str]) -> dict[str, list[Process]]:
    return {token: processes for token, processes in with_tokens(tokens).items() if processes}


def _wait(left: dict[str, list[Process]], seconds: float) -> dict[str, list[Process]]:
    deadline = time.monotonic() + seconds
    while (left := _running(left)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def _pids() -> Iterator[int]:
    return (int(path.name) for path in PROC.iterdir() if path.name.isdecimal())


def _token(pid: int) -> str:
    try:
        environment = (PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return ""
    for entry in environment.split(b"\0"):
        if entry.startswith(VARIABLE.encode() + b"="):
            return entry.partition(b"=")[2].decode(errors="replace")
    return ""


def _endpoint(text: str) -> tuple[str, int]:
    address, _, port = text.partition(":")
    return ".".join(str(byte) for byte in reversed(bytes.fromhex(address))), int(port, 16)
