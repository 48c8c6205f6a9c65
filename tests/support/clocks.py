"""A wall clock of a child process that a test sets, and steps while the process runs (libfaketime)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.processes import MissingProgram

LIBRARY = "faketime/libfaketimeMT.so.1"


def library() -> Path:
    """
    Return the library to preload.

    :raises MissingProgram: it is not installed.
    """
    for folder in sorted(Path("/usr/lib").glob("*/faketime")):
        if (found := folder.parent / LIBRARY).exists():
            return found
    raise MissingProgram(f"{LIBRARY} is not installed: apt-get install faketime")


class FakeClock:
    """
    The wall clock of the processes that get :attr:`env`: the real one plus an offset.

    The monotonic clock stays true, so that timeouts keep working, as with a real step.
    """

    def __init__(self, path: Path, offset: float = 0) -> None:
        self._path = path
        self.env = {
            "LD_PRELOAD": str(library()),
            "FAKETIME_TIMESTAMP_FILE": str(path),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.step_to(offset)

    def step_to(self, offset: float) -> None:
        """Set the offset to the real clock, in seconds; running processes see it at their next look."""
        partial = self._path.with_suffix(".new")
        partial.write_text(f"{offset:+f}\n")
        partial.chmod(0o644)
        partial.rename(self._path)


@pytest.fixture
def faketime(tmp_path: Path) -> Callable[..., FakeClock]:
    """Return a maker of clocks: ``faketime(offset=3600).env`` for a child, ``.step_to(-3600)`` later."""
    made: list[FakeClock] = []

    def make(offset: float = 0) -> FakeClock:
        made.append(FakeClock(tmp_path / f"clock-{len(made)}", offset))
        return made[-1]

    return make
