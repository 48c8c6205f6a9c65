"""How often a task tells of itself."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from saltext_logilab.guests.bus import Progress
from saltext_logilab.guests.tasks.records import Task
from tests.unit.guests.test_records import TASK


class Heard(Progress):
    """Keeps what would be fired."""

    now = 0.0

    def __init__(self) -> None:
        super().__init__(Path("/nowhere"), 5, lambda: self.now)
        self.heard: list[tuple[float, str]] = []

    def _fire(self, task: Task) -> None:
        self.heard.append((self.now, task.state))
        if self.now > 10:
            raise OSError("the bus is gone")


def test_the_rate_is_limited_and_the_end_is_always_told() -> None:
    """One event in five seconds however often there is progress, the end at once, and no error stops the work."""
    bus = Heard()
    for tenth in range(130):
        bus.now = tenth / 10
        bus(TASK)
    bus(dataclasses.replace(TASK, state="done"))
    assert bus.heard == [(0, "running"), (5, "running"), (10, "running"), (12.9, "done")]
