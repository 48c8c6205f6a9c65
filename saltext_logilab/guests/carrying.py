"""
Bytes in and out of a guest by its agent's ``guest-file-…``, in pieces, however many there are.

Whether a path is a regular file is asked before, by whoever carries: the agent waits for what a pipe never tells.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from saltext_logilab.errors import LogilabError, UnavailableError, WireError
from saltext_logilab.guests import agent as agents
from saltext_logilab.guests.agent import Agent, AgentRefusal

PIECE = 512 * 1024  # out of the guest
PUT = 96 * 1024  # into it: see agent.MOST_ASKED


class NoFileError(UnavailableError):
    """The agent cannot open a file in the guest, or may not."""


@contextlib.contextmanager
def opened(agent: Agent, path: str, mode: str) -> Iterator[int]:
    """
    Give the agent's handle of a file, which is closed afterwards; ``mode`` as of ``fopen(3)``.

    :raises NoFileError: it cannot be opened.
    """
    try:
        handle = agent.number("guest-file-open", {"path": path, "mode": mode})
    except AgentRefusal as err:
        if not agent.allows("guest-file-open"):
            raise NoFileError(
                f"the agent of the guest {agent.name!r} may open no files: its configuration there forbids it"
            ) from err
        raise NoFileError(f"{path} in the guest {agent.name!r} cannot be opened: {err}") from err
    try:
        yield handle
    except BaseException:
        with contextlib.suppress(LogilabError):  # the first error is the one to tell
            agent.ask("guest-file-close", {"handle": handle})
        raise
    agent.ask("guest-file-close", {"handle": handle})


def fetch(agent: Agent, path: str, most: int | None = None) -> Iterator[bytes]:
    """
    Yield what a file holds, at most ``most`` bytes of it.

    :raises NoFileError: it cannot be opened.
    :raises WireError: the agent gives more than it was asked for.
    """
    what, got = f"{path} in the guest {agent.name!r}", 0
    with opened(agent, path, "r") as handle:
        while most is None or got < most:
            size = PIECE if most is None else min(PIECE, most - got)
            told = agent.mapping("guest-file-read", {"handle": handle, "count": size})
            data = agents.decoded(told.get("buf-b64"), what, size)
            got += len(data)
            if data:
                yield data
            if told.get("eof") is not False or not data:
                return


def put(agent: Agent, path: str, data: bytes, mode: str = "w") -> None:
    """
    Write ``data`` into a file in the guest, or with ``mode="a"`` at its end.

    :raises NoFileError: it cannot be opened.
    :raises UnavailableError: not all of it could be written.
    """
    with opened(agent, path, mode) as handle:
        view = memoryview(data)
        while view:
            piece = view[:PUT]
            asked = {"handle": handle, "buf-b64": agents.encoded(bytes(piece))}
            try:
                written = agent.number("guest-file-write", asked, "count")
            except AgentRefusal as err:
                raise UnavailableError(f"{path} in the guest {agent.name!r} cannot be written: {err}") from err
            if not 0 < written <= len(piece):
                raise WireError(f"{path} in the guest {agent.name!r}: {written} of {len(piece)} bytes written")
            view = view[written:]
        agent.ask("guest-file-flush", {"handle": handle})
