"""
The control socket: how ``salt-run`` on a master speaks with the engine there, which alone writes the journal.

A Unix socket in the member's state folder, which only its owner can enter. One message in, one message out, both as
those of a link. It is reached through an open descriptor of the folder, so that long paths do not matter.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from saltext_logilab.errors import LogilabError, RefusedError, UnavailableError
from saltext_logilab.masters.guard import sentence
from saltext_logilab.masters.link import MESSAGE_LIMIT, Link
from saltext_logilab.patience import within

SOCKET = "control"
ANSWER_LIMIT = 16 * MESSAGE_LIMIT
TIMEOUT = 60.0
PATIENCE = 5.0

Command = Callable[..., Awaitable[Any]]


async def serve(folder: Path, commands: Mapping[str, Command]) -> None:
    """
    Answer what comes in over the socket in ``folder``, until cancelled.

    :raises UnavailableError: there can be no socket.
    """

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(b"", reader, writer)
        with contextlib.suppress(OSError, EOFError, LogilabError, asyncio.TimeoutError):
            name, arguments = await within(TIMEOUT, link.receive())
            try:
                told = [True, await commands[name](**arguments)]
            except Exception as err:  # noqa: BLE001 - whoever has asked is told
                told = [False, sentence(err)]
            await link.send(told)
        writer.close()

    with _reachable(folder) as path:
        try:
            path.unlink(missing_ok=True)
            server = await asyncio.start_unix_server(answer, path)
            path.chmod(0o600)
        except OSError as err:
            raise UnavailableError(f"{folder / SOCKET} cannot be made: {err.strerror}") from err
    try:
        async with server:
            await server.serve_forever()
    finally:
        (folder / SOCKET).unlink(missing_ok=True)


def call(folder: Path, command: str, **arguments: Any) -> Any:
    """
    Have the engine at work in ``folder`` do ``command``; return its answer.

    :raises UnavailableError: no engine answers.
    :raises RefusedError: it says, in a sentence, why not.
    """
    return asyncio.run(_call(folder, command, arguments))


async def _call(folder: Path, command: str, arguments: Mapping[str, Any]) -> Any:
    link = await _connect(folder)
    try:
        await link.send([command, dict(arguments)])
        done, told = await within(TIMEOUT, link.receive(ANSWER_LIMIT))
    except (OSError, EOFError, asyncio.TimeoutError) as err:
        raise UnavailableError("the engine logilab_masters has ended, or does not answer") from err
    finally:
        link.close()
    if not done:
        raise RefusedError(told)
    return told


async def _connect(folder: Path) -> Link:
    """Connect; an engine that has just left a group is back in a moment."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with _reachable(folder) as path:
                return Link(b"", *await asyncio.open_unix_connection(path))
        except OSError as err:
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"the engine logilab_masters does not answer in {folder}: does this master run, with the engine"
                    " configured?"
                ) from err
        await asyncio.sleep(0.1)


@contextlib.contextmanager
def _reachable(folder: Path) -> Iterator[Path]:
    """Give a short path of the socket in ``folder``."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield Path(f"/proc/self/fd/{descriptor}/{SOCKET}")
    finally:
        os.close(descriptor)
