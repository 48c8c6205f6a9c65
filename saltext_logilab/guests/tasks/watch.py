"""Watching a task from afar, by short questions: none of them can run into a time-out, however long the task takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TextIO

MIB = 1024**2
WIDTH = 24
Status = Mapping[str, Any]


@dataclass(frozen=True)
class Watch:
    """
    How to watch.

    :param ask: returns the task's status, or None when the minion did not answer.
    :param show: takes a line for people, again and again.
    :param interval: seconds between two questions.
    """

    ask: Callable[[], Status | None]
    show: Callable[[str], None]
    interval: float = 2.0
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep

    def until_ended(self, timeout: float) -> tuple[Status | None, str | None]:
        """
        Ask until the task has ended, at most ``timeout`` seconds.

        :return: the last status, None where there was none, and a sentence where that is not the end of it.
        """
        deadline, last, silent = self.clock() + timeout, None, False
        while True:
            told = self.ask()
            silent = told is None
            last = last if told is None else told
            self.show(line(last, silent=silent))
            if told is not None and told["ended"]:
                return last, None
            if self.clock() >= deadline:
                return last, f"not ended within {timeout:g} s{': the minion does not answer' if silent else ''}"
            self.pause(self.interval)


def line(status: Status | None, *, silent: bool = False) -> str:
    """Return ``status`` as one line with a bar."""
    if status is None:
        return "the minion does not answer"
    full = WIDTH * int(status["percent"]) // 100
    parts = [f"[{'#' * full}{'.' * (WIDTH - full)}] {status['percent']:3} %", str(status["state"])]
    if status.get("step") and status["state"] == "running":
        parts.append(str(status["step"]))
    if status["total"]:
        parts.append(f"{status['bytes'] / MIB:.1f} of {status['total'] / MIB:.1f} MiB")
    if status["rate"]:
        parts.append(f"{status['rate'] / MIB:.1f} MiB/s")
    if status["left"] is not None:
        parts.append(f"{status['left']} s left")
    return "  ".join(parts + (["(the minion does not answer)"] if silent else []))


def live(stream: TextIO) -> Callable[[str], None]:
    """Return what shows lines in one place of the terminal behind ``stream``; nothing where it is no terminal."""
    if not stream.isatty():
        return lambda _text: None

    def show(text: str) -> None:
        stream.write(f"\r\033[K{text}")
        stream.flush()

    return show
