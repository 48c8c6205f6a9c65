"""How a runner waits for a pull, which is the engine's work, and shows how far it is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from saltext_logilab.errors import RefusedError

PAUSE = (0.1, 1.0)  # seconds between two looks, more and more
_UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))

Call = Callable[..., Any]


def pull(call: Call, member: str, dry_run: bool, stream: TextIO = sys.stderr) -> dict[str, Any]:
    """
    Have the engine pull from ``member``, wait for its end, and return the result.

    On a terminal a line in ``stream`` tells how far it is.

    :param call: has the engine do a command.
    :raises RefusedError: it could not be pulled.
    """
    state: dict[str, Any] = call("pull", member=member, dry_run=dry_run)
    began, pause = state["began"], PAUSE[0]
    while "ended" not in state and state.get("began") == began:
        _show(stream, sentence(state))
        time.sleep(pause)
        pause = min(pause * 1.5, PAUSE[1])
        state = call("pulling")
    _show(stream, "")
    if state.get("began") != began:
        raise RefusedError("the engine was started anew meanwhile: pull again, it goes on with what has come")
    if "error" in state:
        raise RefusedError(state["error"])
    result: dict[str, Any] = state["result"]
    return result


def sentence(state: Mapping[str, Any]) -> str:
    """Return how far a pull is."""
    sizes = f" {_size(state['done'])} of {_size(state['of'])}" if state["of"] else ""
    return f"pull from {state['member']}: {state['step']}{sizes}"


def _show(stream: TextIO, line: str) -> None:
    if stream.isatty():
        stream.write(f"\r\x1b[K{line}")
        stream.flush()


def _size(count: int) -> str:
    for unit, name in _UNITS:
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} bytes"
