"""
The worker of a task: ``python -m saltext_logilab.guests.tasks.worker --folder … --task … --boot …``.

It begins the work, or takes over from a worker that died, follows it, and writes down how it ended. libvirt owns the
work itself, so nothing is lost when a worker is killed: the next one looks and goes on.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from saltext_logilab.errors import LogilabError, UnavailableError
from saltext_logilab.guests import bus, connection
from saltext_logilab.guests.connection import Connection, GuestError
from saltext_logilab.guests.tasks import limits as task_limits
from saltext_logilab.guests.tasks.kinds import KINDS
from saltext_logilab.guests.tasks.operation import Operation, Phase, Seen
from saltext_logilab.guests.tasks.records import Records, Task

log = logging.getLogger(__name__)

LOOK = 0.5  # seconds between two looks
SECOND_LOOK = 2.0  # seconds after which a work that seems to be over is over: a daemon may just have taken the call
PATIENCE = 600.0  # seconds for which a worker waits for a libvirtd that went away
RESTARTED = "the host was restarted meanwhile"


@dataclass
class Worker:
    """
    One worker, for one task.

    :param boot: the id of this boot of the host.
    :param tell: takes the task whenever its progress has changed.
    """

    records: Records
    name: str
    boot: str
    tell: Callable[[Task], None]
    pause: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.time
    stopped: bool = field(default=False, init=False)
    failing: float | None = field(default=None, init=False)  # since when libvirt has not answered

    def run(self) -> None:
        """Do the task, or what is left of it; libvirtd may go away and come back meanwhile."""
        task = self.records.get(self.name)
        known = KINDS[task.kind](lambda **learnt: self.records.learn(self.name, **learnt))
        while self.records.get(self.name).active:
            try:
                with connection.opened(task.uri) as link:
                    self._work(link, known)
            except (UnavailableError, GuestError) as err:
                self._note(str(err))
                self.failing = self.failing or self.clock()
                if self.clock() - self.failing > PATIENCE:
                    return  # the record stays open: whoever asks next sends another worker
                self.pause(LOOK)
        self.tell(self.records.get(self.name))

    def _note(self, line: str) -> None:
        """Write ``line`` to the task's log, unless it stands there last."""
        lines = self.records.log(self.name)
        if not lines or lines[-1][1] != line:
            self.records.write(self.name, line)

    def _work(self, link: Connection, known: Operation) -> None:
        """Go on from wherever the work is; every step can be repeated."""
        task = self.records.get(self.name)
        if task.state == "pending":
            self._begin(link, known, task)
        else:
            self._note("looking at what goes on")
            if self._look(link, known, task).phase is not Phase.WORKING:
                self.pause(SECOND_LOOK)
        while self.records.get(self.name).active:
            if not self._step(link, known):
                self.pause(LOOK)

    def _begin(self, link: Connection, known: Operation, task: Task) -> None:
        if task.boot != self.boot or task.cancel:
            self.records.end(self.name, *self._ending(task, Seen(Phase.FAILED, "it did not begin")))
            return
        if not self.records.begin(self.name):
            return
        self.records.write(self.name, f"{task.kind} of {task.guest} begins")
        try:
            known.begin(link, task)
        except (LogilabError, connection.libvirt.libvirtError) as err:
            if not link.isAlive():
                raise
            self._end(link, known, Seen(Phase.FAILED, str(err)))

    def _step(self, link: Connection, known: Operation) -> bool:
        """Look once and do what follows; say whether that was something."""
        task = self.records.get(self.name)
        seen = self._look(link, known, task)
        self.failing = None
        if seen.total:
            self.records.move(self.name, seen.done, seen.total)
        self.tell(self.records.get(self.name))
        if seen.phase in (Phase.DONE, Phase.FAILED, Phase.LOST):
            self._end(link, known, seen)
            return True
        why = self._unwanted(known, task)
        if why and not self.stopped and known.stop(link, task):
            self.records.write(self.name, f"stopped: {why}")
            self.stopped = True
            return True
        if seen.phase is Phase.READY and not why:
            known.finish(link, task)
            return True
        return False

    def _look(self, link: Connection, known: Operation, task: Task) -> Seen:
        """Look; what can never be again, such as a pool that was taken away, is the end of it."""
        try:
            return known.look(link, task)
        except (UnavailableError, GuestError):
            raise
        except LogilabError as err:
            return Seen(Phase.FAILED, str(err))

    def _unwanted(self, known: Operation, task: Task) -> str | None:
        """Return why the task shall end now."""
        if task.cancel is None:
            if not known.limited(task):
                return None
            spec = task.spec
            limits = task_limits.Limits(spec["stall"], spec["seconds_per_gib"])
            given_up = spec.get("given_up") or task_limits.exceeded(task, limits, self.clock())
            if given_up and "given_up" not in spec:
                self.records.learn(self.name, given_up=given_up)
            return given_up
        return task.cancel

    def _end(self, link: Connection, known: Operation, seen: Seen) -> None:
        """Clean up what was not done, then write down how it ended."""
        task = self.records.get(self.name)
        state, reason = self._ending(task, seen)
        if state == "done":
            try:
                known.complete(link, task)
            except LogilabError as err:
                state, reason = "failed", str(err)
        if state != "done":
            reason = self._clean(link, known, task, reason)
        self.records.end(self.name, state, reason)

    def _clean(self, link: Connection, known: Operation, task: Task, reason: str | None) -> str | None:
        try:
            known.clean(link, task)
        except (LogilabError, connection.libvirt.libvirtError) as err:
            if not link.isAlive():
                raise
            return f"{reason}; what it made could not be removed: {err}"
        return reason

    def _ending(self, task: Task, seen: Seen) -> tuple[str, str | None]:
        """Return state and reason of a task that was seen to be over."""
        if seen.phase is Phase.DONE:
            return "done", None
        if seen.phase is Phase.LOST:
            return "lost", seen.reason
        if task.cancel:
            return "cancelled", task.cancel
        if task.boot != self.boot:
            return "failed", RESTARTED
        if task.spec.get("given_up"):
            return "failed", task.spec["given_up"]
        return "failed", seen.reason


def main() -> None:
    """Run the worker of one task, unless another one is at it."""
    parser = argparse.ArgumentParser(description="Work on one task of a guest.")
    parser.add_argument("--folder", type=Path, required=True, help="where the records are")
    parser.add_argument("--task", required=True, help="the task's id")
    parser.add_argument("--boot", required=True, help="the id of this boot of the host")
    parser.add_argument("--minion", type=Path, help="the minion's configuration, for its events")
    parser.add_argument("--interval", type=float, default=5.0, help="seconds between two events")
    told = parser.parse_args()
    records = Records(told.folder)
    tell = bus.Progress(told.minion, told.interval) if told.minion else _silent
    with records.working(told.task, tries=30) as mine:
        if mine:
            try:
                Worker(records, told.task, told.boot, tell).run()
            except Exception as err:  # the outermost loop: the record tells, the next worker goes on
                records.write(told.task, f"the worker broke: {type(err).__name__}: {err}")
                raise


def _silent(_task: Task) -> None:
    """Tell nobody."""


if __name__ == "__main__":
    main()
