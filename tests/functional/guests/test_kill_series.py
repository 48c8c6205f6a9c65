"""
Kills at random moments: of the worker, of libvirtd, of whoever starts it, or a call to stop, in each kind of task.

Afterwards every guest is intact on exactly one host, what the record says is true, and nothing of a task that was not
done is left. A short seeded sample runs always, the series as soak.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from salt.exceptions import CommandExecutionError

from saltext_logilab.guests.tasks.kinds import KINDS
from tests.support.libvirt import LibvirtHost
from tests.support.processes import program
from tests.support.rigs import Rig, worker
from tests.support.trials import TRIALS, Trial, delayed_convert
from tests.support.waiting import wait_until

FAULTS = ("worker", "libvirtd", "cancel", "worker and cancel", "client")
FORK = multiprocessing.get_context("fork")


def strike(rig: Rig, task: str, fault: str) -> None:
    """Do ``fault``; what has ended before cannot be hit."""
    if "worker" in fault and (process := worker(task)):
        process.kill()
    if fault == "libvirtd":
        rig.host.kill()
        rig.host.restart()
    if "cancel" in fault:
        with contextlib.suppress(CommandExecutionError):  # it has ended
            rig.call("cancel", task)


def begin(trial: Trial, fault: str, chance: random.Random) -> str | None:
    """Start the task; return None where who does so was killed before there was one."""
    if fault != "client":
        return trial.begin()
    known = {told["task"] for told in trial.rig.call("list")}
    client = FORK.Process(target=trial.begin)  # as a minion starts the process of a job
    client.start()
    time.sleep(chance.uniform(0, 0.5))
    client.kill()
    client.join()
    return next((told["task"] for told in trial.rig.call("list") if told["task"] not in known), None)


def hit(trial: Trial, fault: str, chance: random.Random) -> tuple[str, list[str]]:
    """Do one round; return how it ended, and what was wrong."""
    task = begin(trial, fault, chance)
    if task is None:
        return "no task", trial.wrong(None)
    trial.rig.started.append(task)
    if fault != "client":
        trial.live(task, chance.uniform(0, 4))
        strike(trial.rig, task, fault)
    trial.rig.hurry()
    told = trial.ended(task)
    problems = trial.wrong(told)
    wanted = ("cancelled", "done") if "cancel" in fault else ("done", "failed")
    problems += [] if told["state"] in wanted else [f"is {told['state']}"]
    wait_until(lambda: worker(task) is None, 60, "end of the worker")
    return f"{told['state']} ({told['reason']})", [*problems, *trial.rig.call("log", task)] if problems else []


Series = Callable[[list[tuple[str, str]], int], dict[str, list[str]]]


@pytest.fixture
def series(
    make_rig: Callable[..., Rig],
    new_libvirt_host: Callable[[], LibvirtHost],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Series:
    """Return what does rounds, each with guests of its own, and returns what was wrong after which."""
    delayed_convert(tmp_path, program("qemu-img", "qemu-utils"), 1.5)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    def do(rounds: list[tuple[str, str]], seed: int) -> dict[str, list[str]]:
        chance, hosts, found = random.Random(seed), (new_libvirt_host(), new_libvirt_host()), {}
        for number, (kind, fault) in enumerate(rounds):
            trial = TRIALS[kind](make_rig(hosts[0], paused=TRIALS[kind].paused), hosts)
            ended, problems = hit(trial, fault, chance)
            print(number, kind, fault, ended)  # noqa: T201 - read when a series fails
            if problems:
                found[f"{number} {kind} {fault} {ended}"] = problems
            trial.remove()
        return found

    return do


def test_a_sample_of_kills(series: Series) -> None:
    """libvirtd dies in a copy, a worker in a backup, the client of a conversion; a seed is called off without one."""
    rounds = [("copy_disk", "libvirtd"), ("backup", "worker"), ("convert", "client"), ("seed", "worker and cancel")]
    assert series(rounds, 5) == {}


def test_the_series_leaves_no_kind_out() -> None:
    """Every kind of task that a worker knows is in it."""
    assert set(KINDS) == set(TRIALS) - {"pivot"}


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [6, 7, 8])
@pytest.mark.parametrize("kind", TRIALS)
def test_a_series_of_kills(series: Series, kind: str, seed: int) -> None:
    """Each fault three times in each kind of task, 180 rounds: no guest lost or doubled, no record untrue."""
    assert series([(kind, fault) for fault in FAULTS], seed) == {}
