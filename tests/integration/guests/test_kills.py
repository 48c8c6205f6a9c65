"""
SIGKILL for the minion, and for the client at the master, in each kind of task: as a real master and minion begin it.

What is begun goes on without either; where it did not come to a task, nothing has happened.
"""

from __future__ import annotations

import dataclasses
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from saltfactories.daemons.master import SaltMaster
from saltfactories.daemons.minion import SaltMinion
from saltfactories.utils.functional import Loaders

from saltext_logilab.guests.tasks.kinds import KINDS
from tests.support.libvirt import LibvirtHost
from tests.support.processes import end, program
from tests.support.rigs import Rig, worker
from tests.support.trials import TRIALS, Trial, delayed_convert
from tests.support.waiting import wait_until

PATIENCE = 120
FAULTS = ("minion", "client")


@dataclass
class Ordered(Rig):
    """A rig whose tasks are begun by a command on the master; all else is seen in the minion's own records."""

    command: tuple[str, ...] = ()
    client: subprocess.Popen[bytes] | None = None

    def call(self, function: str, *words: Any, **named: Any) -> Any:
        """Begin a task by ``salt``, without waiting for it; everything else is asked here."""
        if function not in KINDS or not self.command:
            return super().call(function, *words, **named)
        told = [*map(str, words), *[f"{key}={json.dumps(value)}" for key, value in named.items()]]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.client = subprocess.Popen([*self.command, f"libvirt_task.{function}", *told], **quiet)
        return ""


def hit(trial: Trial, fault: str, minion: SaltMinion, chance: random.Random) -> tuple[str, list[str]]:
    """Begin the task by a command, and kill one of the two; return how it ended, and what was wrong."""
    rig: Any = trial.rig
    known = {told["task"] for told in rig.call("list")}
    trial.begin()
    time.sleep(chance.uniform(0.5, 4))  # the moment of the fault is chance
    if fault == "client":
        rig.client.kill()
        rig.client.wait()
    else:
        process = psutil.Process(minion.pid)
        end([*process.children(recursive=True), process])
        minion.terminate()
        minion.start()
    fresh: Callable[[], list[str]] = lambda: [  # noqa: E731 - asked again and again
        told["task"] for told in rig.call("list") if told["task"] not in known
    ]
    deadline = time.monotonic() + (20 if fault == "client" else 2)  # the minion may just be beginning it
    while not (found := fresh()) and time.monotonic() < deadline:
        time.sleep(0.2)
    rig.client.kill()
    rig.client.wait()
    if not found:
        return "no task", trial.wrong(None)
    rig.started += found
    rig.hurry()
    told = trial.ended(found[0])
    problems = trial.wrong(told) + ([] if told["state"] in ("done", "failed") else [told["state"]])
    wait_until(lambda: worker(found[0]) is None, 60, "end of the worker")
    return f"{told['state']} ({told['reason']})", [*problems, *rig.call("log", found[0])] if problems else []


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("fault", FAULTS)
def test_nobody_is_needed(
    *,
    hypervisor: SaltMinion,
    master: SaltMaster,
    make_rig: Callable[..., Rig],
    new_loaders: Callable[..., Loaders],
    libvirt_host: LibvirtHost,
    other_libvirt_host: LibvirtHost,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    """Every guest is intact on one host, and what each record says is true."""
    delayed_convert(tmp_path, program("qemu-img", "qemu-utils"), 1.5)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    folder = Path(hypervisor.config["pki_dir"]).parent / "logilab"  # where the minion keeps its tasks
    guests = {"uri": libvirt_host.uri}
    loaders = new_loaders({"logilab": {"state_dir": str(folder), "guests": guests}})
    salt = str(Path(sys.executable).parent / "salt")
    command = (salt, "-c", str(Path(master.config["conf_file"]).parent), hypervisor.id)
    chance, wrong = random.Random(7), {}
    for kind, trial_of in TRIALS.items():
        made = dataclasses.replace(make_rig(libvirt_host, paused=trial_of.paused), loaders=loaders)
        rig = Ordered(**{one.name: getattr(made, one.name) for one in dataclasses.fields(made)})
        trial = trial_of(rig, (libvirt_host, other_libvirt_host))
        rig.command = command
        ended, problems = hit(trial, fault, hypervisor, chance)
        print(kind, fault, ended)  # noqa: T201 - read when a series fails
        if problems:
            wrong[f"{kind} {ended}"] = problems
        trial.remove()
    assert wrong == {}
