"""What tasks forbid: a second one on the same guest, and to start a guest that may run elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from saltext_logilab.errors import RefusedError
from saltext_logilab.guests.tasks.desk import Desk
from saltext_logilab.guests.tasks.launch import Launcher
from saltext_logilab.guests.tasks.records import Order, Records

URI = "qemu:///system"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A desk whose workers are at work: nobody sends another one."""
    records = Records(tmp_path)
    yield Desk(records, Launcher(tmp_path, "this boot", supervised=False))
    records.close()


def migration(desk: Desk, state: str | None, guest: str = "web") -> str:
    """Record a migration that ended in ``state`` (None: it goes on), and return its id."""
    order = Order("migrate", guest, URI, {"to": "qemu+tls://b/system"})
    task = desk.records.add(order, "this boot", "process").id
    desk.records.begin(task)
    if state:
        desk.records.end(task, state, "the other host is silent")
    return task


def test_a_guest_whose_migration_was_lost_may_run_elsewhere(desk: Desk) -> None:
    """It is not here for sure, until a later migration has ended otherwise; other guests are free."""
    desk.check_here(URI, "web")
    task = migration(desk, "lost")
    with pytest.raises(RefusedError, match=f"'web' may run at qemu.tls://b/system: its migration {task} was lost"):
        desk.check_here(URI, "web")
    desk.check_here(URI, "db")
    desk.check_here("test:///default", "web")
    desk.records.prune(2**40)
    for state in ("failed", "done", "cancelled"):
        migration(desk, state)
        desk.check_here(URI, "web")
        desk.records.prune(2**40)


def test_a_guest_with_a_task_is_not_idle(desk: Desk) -> None:
    """The task is named; one that has ended forbids nothing."""
    task = migration(desk, None)
    with desk.records.working(task), pytest.raises(RefusedError, match=f"not ended: migrate {task}"):
        desk.check_idle(URI, "web")
    desk.check_idle(URI, "db")
    desk.records.end(task, "done", None)
    desk.check_idle(URI, "web")
