"""Salt's event bus, as far as a worker needs it: the one module of this area's core that touches Salt's inside."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from saltext_logilab.guests.tasks import report
from saltext_logilab.guests.tasks.records import Task

log = logging.getLogger(__name__)

TAG = "salt/logilab/guests/{host}/{task}/{what}"


class Progress:
    """Fires ``…/progress`` while a task goes on, at a limited rate, and ``…/ended`` once, through the minion."""

    def __init__(self, minion: Path, interval: float, clock: Callable[[], float] = time.monotonic) -> None:
        """``minion`` is the minion's configuration, ``interval`` the seconds between two events."""
        self._file, self._interval, self._clock = minion, interval, clock
        self._opts: dict[str, Any] | None = None
        self._next = 0.0

    def __call__(self, task: Task) -> None:
        """Tell of ``task``; a minion that does not run hears nothing, and the work goes on."""
        now = self._clock()
        if task.active and now < self._next:
            return
        self._next = now + self._interval
        try:
            self._fire(task)
        except Exception as err:  # noqa: BLE001 - whatever the bus does, the work goes on
            log.debug("no event of %s: %s", task.id, err)

    def _fire(self, task: Task) -> None:
        import salt.config  # noqa: PLC0415 - dear, and a worker without a minion needs none of it
        import salt.utils.event  # noqa: PLC0415

        if self._opts is None:
            self._opts = salt.config.minion_config(str(self._file))
        tag = TAG.format(host=self._opts["id"], task=task.id, what="progress" if task.active else "ended")
        load = {"data": report.short(task), "tag": tag, "events": None, "pretag": None}
        with salt.utils.event.get_event("minion", opts=self._opts, listen=False) as minion:
            minion.fire_event(load, "fire_master")
