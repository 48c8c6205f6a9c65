"""
Kills at random moments: of the worker, of libvirtd, or a call to stop, in each kind of task.

Afterwards the guest runs on exactly one host, what the record says is true, and nothing of a task that was not done is
left. A short seeded sample runs always, the series as soak.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable

import pytest
from salt.exceptions import CommandExecutionError

from tests.support.libvirt import LibvirtHost
from tests.support.processes import run
from tests.support.rigs import MIB, NO_JOB, SLOW, Rig, end_guest, options, places, worker
from tests.support.waiting import wait_until

KINDS = ("copy_disk", "pivot", "backup", "migrate")
FAULTS = ("worker", "libvirtd", "cancel", "worker and cancel")


def begin(rig: Rig, kind: str, other: LibvirtHost) -> str:
    """Start a task of ``kind`` that takes some seconds, where that can be."""
    if kind == "migrate":
        return rig.start("migrate", **options(rig, other), bandwidth=4 * MIB)
    if kind == "backup":
        return rig.start("backup", rig.name, checkpoint="point")
    return rig.start("copy_disk", "vda", rig.name, pivot=kind == "pivot", bandwidth=2 * SLOW)


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


def wrong(rig: Rig, kind: str, state: str, hosts: tuple[LibvirtHost, LibvirtHost]) -> list[str]:
    """Return what is not as it has to be once a task has ended in ``state``."""
    here = places(rig, *hosts)
    moved = kind == "migrate" and state == "done"
    found = [] if here == [not moved, moved] else [f"runs on {here}"]
    if kind == "migrate":
        return found
    job = rig.virsh(rig.host, "blockjob", rig.name, "vda")
    found += [] if job == NO_JOB else [job]
    if state != "done":
        found += [f"left: {rig.made}"] if rig.made else []
        found += [] if rig.source == str(rig.disk) else [f"uses {rig.source}"]
    else:
        (made,) = rig.made
        if "identical" not in run("qemu-img", "compare", "-U", rig.disk, rig.pool / made):
            found.append("the copy differs")
        if (rig.source == str(rig.disk)) is (kind == "pivot"):
            found.append(f"uses {rig.source}")
    points = rig.virsh(rig.host, "checkpoint-list", rig.name, "--name").split()
    wanted = ["point"] if kind == "backup" and state == "done" else []
    return found + ([] if points == wanted else [f"checkpoints {points}"])


def series(
    rounds: list[tuple[str, str]], seed: int, make_rig: Callable[..., Rig], new_host: Callable[[], LibvirtHost]
) -> dict[str, list[str]]:
    """Do the rounds, each with a guest of its own, and return what was wrong after which."""
    chance, hosts, found = random.Random(seed), (new_host(), new_host()), {}
    for number, (kind, fault) in enumerate(rounds):
        rig = make_rig(hosts[0], paused=kind != "migrate")
        task = begin(rig, kind, hosts[1])
        time.sleep(chance.uniform(0, 4))  # the moment of the fault, by chance: nothing is waited for
        strike(rig, task, fault)
        rig.hurry()
        told = rig.ended(task)
        print(number, kind, fault, told["state"], told["reason"])  # noqa: T201 - read when a series fails
        problems = wrong(rig, kind, told["state"], hosts)
        if "cancel" in fault and told["state"] not in ("cancelled", "done"):
            problems.append(told["state"])
        if problems:
            found[f"{number} {kind} {fault} {told['state']} ({told['reason']})"] = [*problems, *rig.call("log", task)]
        wait_until(lambda: worker(rig.started[-1]) is None, 60, "end of the worker")  # noqa: B023 - called at once
        for host in hosts:
            end_guest(host, rig)
    return found


def test_a_sample_of_kills(make_rig: Callable[..., Rig], new_libvirt_host: Callable[[], LibvirtHost]) -> None:
    """libvirtd dies in a copy, the worker in a backup, and a migration is called off without its worker."""
    rounds = [("copy_disk", "libvirtd"), ("backup", "worker"), ("migrate", "worker and cancel")]
    assert series(rounds, 5, make_rig, new_libvirt_host) == {}


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_series_of_kills(make_rig: Callable[..., Rig], new_libvirt_host: Callable[[], LibvirtHost]) -> None:
    """Each kind of task with each fault, twice: 32 rounds, no guest lost or doubled, no record untrue."""
    rounds = [(kind, fault) for kind in KINDS for fault in FAULTS] * 2
    assert series(rounds, 6, make_rig, new_libvirt_host) == {}
