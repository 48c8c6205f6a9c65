"""The records of tasks: one task a guest, the first end counts, limits."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saltext_logilab.errors import ConfigurationError, LogilabError, RefusedError
from saltext_logilab.guests.sizes import GIB
from saltext_logilab.guests.tasks import limits
from saltext_logilab.guests.tasks.limits import Limits
from saltext_logilab.guests.tasks.records import Order, Records, Task

ORDER = Order("backup", "web", "qemu:///system", {"pool": "fast"})
TASK = Task(
    "id",
    "backup",
    "web",
    "uri",
    {},
    "running",
    None,
    0,
    0.0,
    None,
    "boot",
    "unit",
    None,
    done=0,
    total=0,
    rate=0,
    moved=0,
)


class Clock:
    """A clock that is set by hand."""

    now = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


@pytest.fixture
def records(tmp_path: Path, clock: Clock) -> Iterator[Records]:
    """Empty records."""
    made = Records(tmp_path / "tasks", clock)
    yield made
    made.close()


def test_a_guest_has_one_task_at_a_time(records: Records) -> None:
    """The second is refused and names the first; another guest, another host and a later time are free."""
    first = records.add(ORDER, "boot", "unit")
    with pytest.raises(RefusedError, match=f"'web' has a task already: backup {first.id}"):
        records.add(ORDER, "boot", "unit")
    records.add(dataclasses.replace(ORDER, guest="db"), "boot", "unit")
    records.add(dataclasses.replace(ORDER, uri="test:///default"), "boot", "unit")
    assert records.end(first.id, "failed", "why")
    assert records.add(ORDER, "boot", "unit").id != first.id


def test_the_first_end_counts(records: Records) -> None:
    """Work begins once and ends once."""
    task = records.add(ORDER, "boot", "unit").id
    assert [records.begin(task), records.begin(task)] == [True, False]
    assert [records.end(task, "done", None), records.end(task, "failed", "late")] == [True, False]
    assert (records.get(task).state, records.get(task).reason) == ("done", None)
    assert not records.begin(task)
    assert [line for _, line in records.log(task)] == ["done"]


def test_what_is_learnt_and_the_first_cancel_stay(records: Records) -> None:
    """The spec grows; the first reason to end is kept."""
    task = records.add(ORDER, "boot", "unit").id
    records.learn(task, volume="v")
    records.cancel(task, "first")
    records.cancel(task, "second")
    assert records.get(task).spec == {"pool": "fast", "volume": "v"}
    assert records.get(task).cancel == "first"


def test_threads_share_the_records(records: Records) -> None:
    """The work of a worker learns while the worker looks: neither breaks the other's transaction."""
    task = records.add(ORDER, "boot", "unit")
    records.begin(task.id)

    def learn(number: int) -> None:
        for turn in range(50):
            records.learn(task.id, **{f"k{number}-{turn}": turn})
            records.get(task.id)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(learn, range(4)))
    assert len(records.get(task.id).spec) == len(task.spec) + 4 * 50


def test_progress_has_a_rate(records: Records, clock: Clock) -> None:
    """The rate is that since the last progress; standing still moves nothing."""
    task = records.add(ORDER, "boot", "unit").id
    records.begin(task)
    clock.now += 2
    records.move(task, 100, 1000)
    clock.now += 5
    records.move(task, 100, 1000)
    found = records.get(task)
    assert (found.done, found.total, found.rate, found.moved) == (100, 1000, 50, 1002)
    assert limits.left(found) == 18
    assert limits.percent(found) == 10


def test_a_worker_is_alive_while_it_holds_its_lock(records: Records) -> None:
    """Two workers of one task do not work at once."""
    task = records.add(ORDER, "boot", "unit").id
    assert not records.has_worker(task)
    with records.working(task) as mine:
        assert mine
        assert records.has_worker(task)
        with records.working(task, tries=2) as also:
            assert not also
    assert not records.has_worker(task)


def test_only_old_tasks_that_ended_are_pruned(records: Records, clock: Clock) -> None:
    """A task that goes on stays, and so does a new one."""
    old, going = (records.add(dataclasses.replace(ORDER, guest=name), "boot", "unit").id for name in ("a", "b"))
    records.end(old, "done", None)
    clock.now += 100
    assert records.prune(1000) == []
    assert records.prune(1050) == [old]
    assert [task.id for task in records.all()] == [going]
    assert records.log(old) == []
    with pytest.raises(LogilabError, match=f"there is no task '{old}'"):
        records.get(old)


@pytest.mark.parametrize("name", ["", "../x", "20261123T101500-1a2b3c4d/../x"])
def test_no_name_leads_out_of_the_folder(records: Records, name: str) -> None:
    """A task's name becomes part of a path only when it is one."""
    with pytest.raises(LogilabError, match="there is no task"):
        records.has_worker(name)


@pytest.mark.parametrize(
    ("task", "now", "reason"),
    [
        (TASK, 150, None),
        (TASK, 151, "no progress for 150 s"),
        (dataclasses.replace(TASK, moved=700), 800, None),
        (dataclasses.replace(TASK, moved=800), 801, "longer than 800 s per GiB"),
        (dataclasses.replace(TASK, moved=1500, total=2 * GIB), 1600, None),
        (dataclasses.replace(TASK, moved=1600, total=2 * GIB), 1601, "longer than 800 s per GiB"),
    ],
)
def test_limits(task: Task, now: float, reason: str | None) -> None:
    """A task is given up when it stands still, or takes too long for its size."""
    assert limits.exceeded(task, Limits(), now) == reason
    assert limits.exceeded(task, Limits(0, 0), now) is None


@pytest.mark.parametrize("value", [-1, True, "10", float("inf"), float("nan"), None])
def test_limits_are_numbers(value: object) -> None:
    """Anything else is an error that names itself."""
    with pytest.raises(ConfigurationError, match="stall must be a number"):
        Limits(stall=value).check()  # type: ignore[arg-type]


@given(done=st.integers(0, 10**15), total=st.integers(0, 10**15))
def test_only_done_is_all(done: int, total: int) -> None:
    """Whatever libvirt counts, a task that goes on shows 0 to 99 percent."""
    assert 0 <= limits.percent(dataclasses.replace(TASK, done=done, total=total)) <= 99
