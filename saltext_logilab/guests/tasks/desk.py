"""Where tasks are handed in, asked for and called off: what the minion's functions do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from saltext_logilab.errors import LogilabError, RefusedError
from saltext_logilab.guests import connection
from saltext_logilab.guests.settings import GuestsSettings
from saltext_logilab.guests.tasks import launch, report
from saltext_logilab.guests.tasks.launch import Launcher
from saltext_logilab.guests.tasks.limits import Limits, number
from saltext_logilab.guests.tasks.orders import Wanted
from saltext_logilab.guests.tasks.records import Order, Records, Task

DAY = 86400
START = 30.0  # seconds that a new worker has to come to life before another one is sent
SETTLE = 4.0  # seconds that a question waits for a new worker to find out what has become of a task
PAUSE = 0.1
ANY_TIME = Limits()


@contextmanager
def opened(settings: GuestsSettings, minion: Path) -> Iterator[Desk]:
    """Give the tasks of this host; ``minion`` is its configuration, through which the workers' events go."""
    records = Records(settings.folder)
    events = ("--minion", str(minion), "--interval", str(settings.progress_interval))
    try:
        yield Desk(records, launch.here(settings.folder, events))
    finally:
        records.close()


@dataclass(frozen=True)
class Desk:
    """The tasks of this host."""

    records: Records
    launcher: Launcher
    clock: Callable[[], float] = time.time

    def start(self, order: Order, limits: Limits) -> str:
        """
        Record a task, start its worker, and return its id.

        :raises RefusedError: the guest has a task that has not ended; it is named.
        :raises UnavailableError: no worker can be started.
        """
        limits.check()
        for other in self._of(order.uri, order.guest):
            if other.active:
                self.settle(other.id)
        policy = {"stall": limits.stall, "seconds_per_gib": limits.seconds_per_gib}
        told = replace(order, spec={**order.spec, **policy})
        task = self.records.add(told, self.launcher.boot, self.launcher.how)
        try:
            self.launcher.start(task)
        except LogilabError as err:
            self.records.end(task.id, "failed", str(err))
            raise
        return task.id

    def check(self, uri: str, wanted: Wanted) -> tuple[str, dict[str, Any]]:
        """
        Return the guest and the spec of a task that is wanted; nothing is begun.

        :raises LogilabError: libvirt does not answer, or something stands against it.
        """
        with connection.opened(uri) as link:
            return wanted.check(link)

    def order(self, uri: str, wanted: Wanted, limits: Limits) -> str:
        """
        Check, record and start a task, and return its id.

        :raises LogilabError: as :meth:`check` and :meth:`start`; or it starts a guest that may run elsewhere.
        """
        guest, spec = self.check(uri, wanted)
        if wanted.starts:
            self.check_here(uri, guest)
        return self.start(Order(wanted.kind, guest, uri, spec), wanted.limits or limits)

    def check_idle(self, uri: str, guest: str) -> None:
        """:raises RefusedError: the guest has a task that has not ended; it is named."""
        for task in self._of(uri, guest):
            if task.active:
                self.settle(task.id)
                if self.records.get(task.id).active:
                    raise RefusedError(f"the guest {guest!r} has a task that has not ended: {task.kind} {task.id}")

    def check_here(self, uri: str, guest: str) -> None:
        """:raises RefusedError: nobody knows whether the guest runs on another host: its migration was lost."""
        last = next((task for task in self._of(uri, guest) if task.kind == "migrate"), None)
        if last is not None and last.state == "lost":
            to = last.spec["to"]
            raise RefusedError(f"the guest {guest!r} may run at {to}: its migration {last.id} was lost ({last.reason})")

    def _of(self, uri: str, guest: str) -> list[Task]:
        return [task for task in self.records.all() if (task.uri, task.guest) == (uri, guest)]

    def settle(self, name: str | None = None) -> None:
        """
        Send a new worker to each task (or to ``name``) that has lost its own, and give it a moment to look.

        What it finds stands in the record; a task that goes on is followed as before.
        """
        wanted = [self.records.get(name)] if name else self.records.all()
        orphans = [task for task in wanted if task.active and self._orphaned(task)]
        for task in orphans:
            self._send(task)
        deadline = time.monotonic() + SETTLE
        while time.monotonic() < deadline and any(self.records.get(task.id).active for task in orphans):
            time.sleep(PAUSE)

    def _send(self, task: Task) -> None:
        try:
            self.launcher.start(task)
        except LogilabError as err:  # the record stays as it is, and the next question tries again
            self.records.write(task.id, str(err))
        else:
            self.records.write(task.id, "its worker is gone; another one is sent")

    def _orphaned(self, task: Task) -> bool:
        fresh = task.boot == self.launcher.boot and self.clock() - task.created < START
        return not (task.state == "pending" and fresh) and not self.records.has_worker(task.id)

    def all(self, state: str | None = None) -> list[dict[str, Any]]:
        """Return how all tasks stand, or those in ``state``; the newest first."""
        self.settle()
        return [report.short(task) for task in self.records.all() if state in (None, task.state)]

    def status(self, name: str) -> dict[str, Any]:
        """Return all that is known of the task ``name``."""
        self.settle(name)
        task = self.records.get(name)
        return report.full(task, worker=task.active and self.records.has_worker(name))

    def wait(self, name: str, timeout: float) -> dict[str, Any]:
        """Return the same once it has ended, or after ``timeout`` seconds."""
        deadline = time.monotonic() + number("timeout", timeout)
        while self.records.get(name).active and time.monotonic() < deadline:
            self.settle(name)
            time.sleep(PAUSE)
        return self.status(name)

    def cancel(self, name: str, reason: str) -> dict[str, Any]:
        """
        Call the task ``name`` off; its worker stops it within a second or two.

        :raises RefusedError: it has ended.
        """
        task = self.records.get(name)
        if not task.active:
            raise RefusedError(f"the task {name} has ended already: {task.state}")
        self.records.cancel(name, reason)
        return self.status(name)

    def log(self, name: str) -> list[str]:
        """Return what has happened to the task ``name``, a line each, with times in UTC."""
        self.records.get(name)
        return [f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(at))} {line}" for at, line in self.records.log(name)]

    def prune(self, days: float) -> list[str]:
        """Forget the tasks that ended more than ``days`` ago, and return their ids."""
        return self.records.prune(self.clock() - number("days", days) * DAY)
