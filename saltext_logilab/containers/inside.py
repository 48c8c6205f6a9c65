"""
Commands inside a container, by the Engine's own ``exec``: nothing has to be installed there, not even a shell.

What comes out is taken as hostile: it is bounded, and may be no text. A command that takes too long is killed where it
runs, with all that it has started: its processes are found on this host by a mark in their environment and by descent.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import secrets
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from saltext_logilab.containers.client import Client, Connection
from saltext_logilab.errors import ConfigurationError, UnavailableError
from saltext_logilab.within.transport import Command, Done

MARK = "LOGILAB_EXEC"
_HEAD = struct.Struct(">BxxxL")
_OUT, _ERR = 1, 2
_ROUNDS = 50
_PAUSE = 0.02
_PATIENCE = 5.0


class Output:
    """
    The output of a command, taken out of the Engine's frames and kept up to ``most`` bytes in all.

    A frame is the number of the stream, three empty bytes, the length (big-endian), and that many bytes (Docker Engine
    API, ``ContainerAttach``).
    """

    def __init__(self, most: int) -> None:
        """Keep ``most`` bytes."""
        self._left = most
        self._head = b""
        self._stream = self._due = 0
        self._kept = {_OUT: bytearray(), _ERR: bytearray()}
        self.size = 0

    def feed(self, data: bytes) -> None:
        """
        Take what has come, cut wherever the network has cut it.

        :raises UnavailableError: it is no such frame.
        """
        while data:
            if not self._due:
                missing = _HEAD.size - len(self._head)
                self._head, data = self._head + data[:missing], data[missing:]
                if len(self._head) < _HEAD.size:
                    return
                self._stream, self._due = _HEAD.unpack(self._head)
                self._head = b""
                if self._stream not in self._kept:
                    raise UnavailableError("the engine's stream of output is malformed")
            part, data = data[: self._due], data[self._due :]
            self._due -= len(part)
            self.size += len(part)
            self._kept[self._stream] += part[: self._left]
            self._left = max(0, self._left - len(part))

    def done(self, code: int | None) -> Done:
        """Return what there is."""
        return Done(code, bytes(self._kept[_OUT]), bytes(self._kept[_ERR]), self.size)


def run(client: Client, container: str, command: Command) -> Done:
    """
    Run ``command`` in ``container`` to its end, or kill it there at its time-out.

    :raises ConfigurationError: its ``timeout`` or ``most_bytes`` is impossible.
    :raises UnavailableError: the daemon is on another host or cannot be asked; the container is not there, does not
        run, or went away meanwhile.
    """
    if command.timeout <= 0 or command.most_bytes < 0:
        raise ConfigurationError(f"timeout must be positive, not {command.timeout!r}, and most_bytes not negative")
    if not client.is_local:
        raise UnavailableError(f"{client.url} is on another host: a command there could not be ended")
    mark = f"{MARK}={secrets.token_hex(16)}"
    told = {
        "Cmd": list(command.words),
        "AttachStdin": bool(command.stdin),
        "AttachStdout": True,
        "AttachStderr": True,
        "User": command.user,
        "WorkingDir": command.cwd,
        "Env": [*(f"{key}={value}" for key, value in command.env.items()), mark],
    }
    end = time.monotonic() + command.timeout
    identity = client.exec_create(container, told)
    output = Output(command.most_bytes)
    connection, response = client.exec_start(identity)
    with contextlib.closing(connection):
        in_time = _exchange(connection, response, command.stdin, output, end)
    if in_time:
        return output.done(_code(client, identity, container))
    _kill(mark.encode(), _pid(client, identity))
    return output.done(None)


def _exchange(
    connection: Connection, response: http.client.HTTPResponse, stdin: bytes, output: Output, end: float
) -> bool:
    """Give the input, while the output is taken; return False when the time is over before the output's end."""
    if not stdin:
        return _take(connection, response, output, end)
    giver = threading.Thread(target=_give, args=(connection.wire, stdin), daemon=True)
    giver.start()
    in_time = _take(connection, response, output, end)
    with contextlib.suppress(OSError):  # ends a giver whose input nobody reads
        connection.wire.shutdown(socket.SHUT_RDWR)
    giver.join(_PATIENCE)
    return in_time


def _give(wire: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):  # the command has ended without reading it all
        wire.sendall(data)
        wire.shutdown(socket.SHUT_WR)


def _take(connection: Connection, response: http.client.HTTPResponse, output: Output, end: float) -> bool:
    """Take the output to its end; return False when the time is over before."""
    while (left := end - time.monotonic()) > 0:
        connection.wire.settimeout(left)
        try:
            data = response.read1(65536)
        except TimeoutError:
            return False
        except (OSError, http.client.HTTPException) as err:
            raise UnavailableError(f"the engine broke off the output: {err}") from err
        if not data:
            return True
        output.feed(data)
    return False


def _code(client: Client, identity: str, container: str) -> int:
    """Return the exit code; the stream may end a moment before the Engine knows it."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            told = client.exec_inspect(identity)
        except UnavailableError as err:
            raise UnavailableError(f"the container {container!r} went away while the command ran") from err
        if not told.get("Running") and told.get("ExitCode") is not None:
            return int(told["ExitCode"])
        if time.monotonic() > end:
            raise UnavailableError(f"the command in {container!r} has closed its output and goes on")
        time.sleep(_PAUSE)


def _pid(client: Client, identity: str) -> int:
    try:
        return int(client.exec_inspect(identity).get("Pid") or 0)
    except UnavailableError:
        return 0  # it is gone with its container


def _kill(mark: bytes, first: int) -> None:
    """
    Kill the process ``first`` of this host, all that descend from it, and all that bear the mark.

    :raises UnavailableError: some are still there.
    """
    known = {first} if first else set()
    for _ in range(_ROUNDS):
        parents = dict(_parents())
        known = {pid for pid in known if pid in parents}
        known |= {pid for pid in parents if _bears(pid, mark)}
        while more := {pid for pid, parent in parents.items() if parent in known} - known:
            known |= more
        if not known:
            return
        for pid in known:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_PAUSE)
    raise UnavailableError(f"the command took too long and could not be killed: processes {sorted(known)}")


def _parents() -> Iterator[tuple[int, int]]:
    """Yield each process of this host with its parent; one that is dead and only not reaped is none."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                state, parent = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
                if state not in "ZX":
                    yield int(folder.name), int(parent)


def _bears(pid: int, mark: bytes) -> bool:
    try:
        return mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # it has ended, or is not ours to see
        return False
