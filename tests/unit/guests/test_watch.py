"""Watching a task by short questions."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

import pytest

from saltext_logilab.guests.tasks.watch import Watch, line, live

RUNNING: dict[str, Any] = {
    "state": "running",
    "percent": 50,
    "bytes": 24 * 1024**2,
    "total": 48 * 1024**2,
    "rate": 4 * 1024**2,
    "left": 6,
    "ended": None,
}
DONE = {**RUNNING, "state": "done", "percent": 100, "bytes": RUNNING["total"], "rate": 0, "left": None, "ended": 1.0}


class Clock:
    """A clock that goes on while somebody pauses."""

    def __init__(self) -> None:
        self.now = 0.0

    def pause(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


def watch(answers: Iterable[Any], timeout: float = 100) -> tuple[Any, list[str], float]:
    """Return what a watch returned for the answers, what it showed, and how long it took."""
    clock, shown, told = Clock(), [], iter(answers)
    found = Watch(lambda: next(told), shown.append, 2, lambda: clock.now, clock.pause).until_ended(timeout)
    return found, shown, clock.now


def test_it_asks_until_the_end() -> None:
    """Silence of the minion in between is shown, and asked through."""
    found, shown, seconds = watch([RUNNING, None, None, DONE])
    assert found == (DONE, None)
    assert seconds == 6
    assert ["does not answer" in one for one in shown] == [False, True, True, False]


@pytest.mark.parametrize(
    ("answer", "words"), [(RUNNING, "not ended within 3 s"), (None, "not ended within 3 s: the minion does not answer")]
)
def test_it_gives_up_in_time(answer: Any, words: str) -> None:
    """When the time is over the last status is returned with a sentence."""
    assert watch([answer] * 9, timeout=3)[0] == (answer, words)


def test_a_line_shows_what_is_known() -> None:
    """Bar, state, sizes, rate and time left; what is not known is left out."""
    assert line(RUNNING) == "[############............]  50 %  running  24.0 of 48.0 MiB  4.0 MiB/s  6 s left"
    assert line({**DONE, "total": 0}) == "[########################] 100 %  done"
    assert line(None) == "the minion does not answer"


def test_only_a_terminal_is_written_to() -> None:
    """A pipe gets nothing; a terminal gets each line in the place of the last."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        show = live(stream)
        show("one")
        show("two")
    assert (terminal.getvalue(), pipe.getvalue()) == ("\r\033[Kone\r\033[Ktwo", "")
