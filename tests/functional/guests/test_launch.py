"""How workers are started: under systemd, and where nothing can be started."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from saltext_logilab.errors import UnavailableError
from saltext_logilab.guests.tasks import launch
from saltext_logilab.guests.tasks.desk import Desk
from saltext_logilab.guests.tasks.launch import Launcher
from saltext_logilab.guests.tasks.limits import Limits
from saltext_logilab.guests.tasks.records import Order, Records
from tests.support.containers import EXTENSION, SALT, SystemdContainer
from tests.support.waiting import wait_until

START = """
from pathlib import Path
from saltext_logilab.guests.tasks.launch import here
from saltext_logilab.guests.tasks.records import Order, Records
folder = Path("/var/lib/tasks")
launcher = here(folder)
task = Records(folder).add(Order("backup", "web", "qemu:///system", {}), launcher.boot, launcher.how)
launcher.start(task)
(folder / "started").write_text(task.id + " " + task.worker)
"""
LOG = """
import sys
from pathlib import Path
from saltext_logilab.guests.tasks.records import Records
print(*[line for _, line in Records(Path("/var/lib/tasks")).log(sys.argv[1])], sep=chr(10))
"""


def test_under_systemd_a_worker_is_a_unit_of_its_own(salt_container: Callable[..., SystemdContainer]) -> None:
    """It lives on when what started it is stopped, says in the log what it lacks, and is revived when killed."""
    debian, python = salt_container(), f"{SALT}/bin/python"
    debian.write("/root/start.py", START)
    debian.write("/root/log.py", LOG)
    path = f"PYTHONPATH={EXTENSION}"
    starter = ("--service-type=oneshot", "--property=RemainAfterExit=yes", f"--setenv={path}")
    debian.exec("systemd-run", "--unit=starter", *starter, python, "/root/start.py")
    task, how = debian.exec("cat", "/var/lib/tasks/started").output.split()
    assert how == "unit"
    unit = f"logilab-task-{task}"
    debian.exec("systemctl", "stop", "starter")
    assert debian.exec("systemctl", "is-active", unit).output == "active\n"
    assert unit in debian.exec("systemctl", "show", "--property=ControlGroup", unit).output

    def told() -> str:
        return debian.exec(python, "/root/log.py", task, env={"PYTHONPATH": EXTENSION}).output.strip()

    def pid() -> str:
        return debian.exec("systemctl", "show", "--property=MainPID", "--value", unit).output.strip()

    assert "saltext-logilab[virt]" in wait_until(told, 60, "a line of the worker")
    killed = pid()
    debian.exec("kill", "-KILL", killed)
    wait_until(lambda: pid() not in ("0", "", killed), 60, "another worker, by systemd itself")
    debian.exec("systemctl", "stop", unit)


def test_a_task_without_a_worker_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no worker can be started, the caller hears it, and so says the record; the guest is free again."""
    monkeypatch.setenv("PATH", str(tmp_path))
    records = Records(tmp_path / "tasks")
    desk = Desk(records, Launcher(records.folder, "boot", supervised=False))
    order = Order("backup", "web", "test:///default", {})
    for _ in range(2):
        with pytest.raises(UnavailableError, match="the worker cannot be started"):
            desk.start(order, Limits())
    assert [(task.state, "cannot be started" in str(task.reason)) for task in records.all()] == [("failed", True)] * 2
    records.close()


def test_how_this_host_starts_workers(tmp_path: Path) -> None:
    """By units where systemd is in charge (sd_booted(3)), by processes elsewhere; with the id of this boot."""
    launcher = launch.here(tmp_path)
    assert launcher.how == ("unit" if Path("/run/systemd/system").is_dir() else "process")
    assert launcher.boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
