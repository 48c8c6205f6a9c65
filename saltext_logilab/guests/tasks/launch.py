"""
Starting a worker where neither the minion's end nor its restart can reach it.

Under systemd that is a transient unit: a child of the minion would be killed with the minion's control group. Elsewhere
it is a process of a session of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import saltext_logilab
from saltext_logilab.errors import UnavailableError
from saltext_logilab.guests.tasks.records import Task

SYSTEMD = Path("/run/systemd/system")  # sd_booted(3)
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
WORKER = "saltext_logilab.guests.tasks.worker"
# systemd starts a worker anew that was killed, with nobody asking, but not one that breaks again and again.
REVIVED = ("Restart=on-failure", "RestartSec=1", "StartLimitIntervalSec=300", "StartLimitBurst=5")


@dataclass(frozen=True)
class Launcher:
    """
    How workers are started on this host.

    :param folder: where the records are.
    :param boot: the id of this boot of the host.
    :param supervised: whether systemd is in charge of this host.
    :param arguments: more of the worker's command line: where its events go.
    """

    folder: Path
    boot: str
    supervised: bool
    arguments: tuple[str, ...] = ()

    @property
    def how(self) -> str:
        """What the record says of the worker: ``unit`` or ``process``."""
        return "unit" if self.supervised else "process"

    def start(self, task: Task) -> None:
        """
        Start a worker for ``task``.

        :raises UnavailableError: it cannot be started.
        """
        words = ("--folder", str(self.folder), "--task", task.id, "--boot", self.boot, *self.arguments)
        worker = (sys.executable, "-m", WORKER, *words)
        if self.supervised:
            path = f"--setenv=PYTHONPATH={python_path()}"
            unit = f"--unit=logilab-task-{task.id}"
            _run(
                ["systemd-run", "--quiet", "--collect", *[f"--property={one}" for one in REVIVED], unit, path, *worker]
            )
        else:
            _run(["setsid", "--fork", *worker], PYTHONPATH=python_path())


def here(folder: Path, arguments: tuple[str, ...] = ()) -> Launcher:
    """Return the launcher of this host."""
    return Launcher(folder, BOOT_ID.read_text(encoding="ascii").strip(), SYSTEMD.is_dir(), arguments)


def python_path() -> str:
    """Return where a worker finds this package, and whatever this process was told to look at."""
    package = str(Path(saltext_logilab.__file__).resolve().parent.parent)
    return os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))


def _run(command: Sequence[str], **environment: str) -> None:
    """Run a command that returns once the worker is on its way; the worker keeps nothing of this process open."""
    with tempfile.TemporaryFile() as told:
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=told,
                env={**os.environ, **environment},
                cwd="/",
                check=False,
                timeout=30,
            )
        except (OSError, subprocess.TimeoutExpired) as err:
            raise UnavailableError(f"the worker cannot be started: {err}") from err
        if done.returncode:
            told.seek(0)
            why = told.read().decode(errors="replace").strip()
            raise UnavailableError(f"the worker cannot be started: {command[0]} returned {done.returncode}: {why}")
