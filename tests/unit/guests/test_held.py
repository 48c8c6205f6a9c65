"""Work in the worker's own hands: done only when it came to its end; programs end with it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from saltext_logilab.errors import RefusedError
from saltext_logilab.guests.connection import Connection
from saltext_logilab.guests.tasks.held import Held
from saltext_logilab.guests.tasks.operation import Phase, Seen
from saltext_logilab.guests.tasks.records import Task
from tests.support.waiting import wait_until

TASK = Task("t", "k", "web", "test:///default", {}, "running", None, 0, 0, None, "boot", "process", None, 0, 0, 0.0, 0)


class Work(Held):
    """Work that does what it is told."""

    def __init__(self, act: Callable[[Work], None]) -> None:
        super().__init__(lambda **_: None)
        self.act = act

    def work(self, link: Connection, task: Task) -> None:  # noqa: ARG002
        self.act(self)

    def clean(self, link: Connection, task: Task) -> None:
        """Leave all as it is."""

    def ended(self) -> Seen:
        """Begin, and return how it ended."""
        self.begin(None, TASK)
        return wait_until(
            lambda: seen if (seen := self.look(None, TASK)).phase is not Phase.WORKING else None, 30, "end"
        )


def fail(error: Exception) -> Callable[[Work], None]:
    """Return work that fails by ``error``."""

    def act(_work: Work) -> None:
        raise error

    return act


def test_done_is_what_came_to_its_end() -> None:
    """And failed what raised an error of the product's, of the system's, or broke in a way nobody foresaw."""
    assert Work(lambda work: work.run("true")).ended().phase is Phase.DONE
    assert Work(fail(RefusedError("no room"))).ended() == Seen(Phase.FAILED, "no room")
    assert Work(fail(OSError(28, "No space left", "/x"))).ended() == Seen(Phase.FAILED, "No space left: /x")
    told = Work(lambda work: work.run("ls", "/nowhere")).ended()
    assert told.phase is Phase.FAILED
    assert "ls /nowhere returned 2" in str(told.reason)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_break_is_no_end() -> None:
    """An error that nobody foresaw is not taken for success."""
    assert Work(fail(ZeroDivisionError())).ended() == Seen(Phase.FAILED, "it broke off")


def test_what_another_worker_had_in_hand_is_over() -> None:
    """The next worker sees it as failed, and has nothing to stop."""
    work = Work(lambda _work: None)
    assert work.look(None, TASK) == Seen(Phase.FAILED, "its worker was ended in the middle of it")
    assert work.stop(None, TASK) is False


def test_a_program_is_ended_when_the_work_shall_stop() -> None:
    """A call to stop ends it at once, and the work fails."""
    work = Work(lambda work: work.run("sleep", "300"))
    work.begin(None, TASK)
    assert work.stop(None, TASK) is True
    seen = wait_until(lambda: found if (found := work.look(None, TASK)).phase is not Phase.WORKING else None, 60, "end")
    assert seen == Seen(Phase.FAILED, "it was stopped")
