"""One lab of two masters and two minions, and what salt-lab says and does while its daemons die."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from saltext_logilab.errors import ConfigurationError, RefusedError
from saltext_logilab.lab import directory, processes
from saltext_logilab.lab.lab import Lab, Status
from saltext_logilab.lab.plan import Wish
from tests.support.labs import LabFactory, accept_all
from tests.support.waiting import wait_until

PATIENCE = 60
SALT_LAB = [sys.executable, "-m", "saltext_logilab.lab.cli"]


def call(lab: Lab, command: str, *arguments: str, **more: object) -> subprocess.CompletedProcess[str]:
    """Run ``salt-lab COMMAND --lab … ARGUMENTS`` as a user would."""
    return subprocess.run(
        [*SALT_LAB, command, "--lab", str(lab.folder), *arguments],
        capture_output=True, text=True, timeout=120, check=False, **{"stdin": subprocess.DEVNULL, **more},  # type: ignore[call-overload]
    )  # fmt: skip


def status(lab: Lab, name: str) -> Status:
    return {one.name: one for one in lab.status()}[name]


@pytest.fixture(scope="module")
def shared(make_module_lab: LabFactory) -> Lab:
    lab = make_module_lab(masters=("paris", "nantes"), minions=("m1", "m2"))
    assert [lab.keys(master)["pending"] for master in ("paris", "nantes")] == [["m1", "m2"]] * 2
    accept_all(lab)
    return lab


@pytest.fixture
def lab(shared: Lab) -> Lab:
    """The shared lab with all its daemons up, whatever the test before did."""
    shared.up()
    return shared


def test_status_is_the_truth(lab: Lab) -> None:
    """Each daemon is up, with a pid of its program, an address for the masters, memory, keys and connections."""
    shown = json.loads(call(lab, "status", "--json").stdout)
    assert shown["lab"] == str(lab.folder)
    for one in shown["members"]:
        command = Path(f"/proc/{one['pid']}/cmdline").read_text().split("\0")
        assert f"salt-{one['role']}" in " ".join(command)
        assert str(lab.folder / one["name"]) in " ".join(command)
        assert one["state"] == "up"
        assert one["memory"] > 10**7
        assert one["uptime"] > 0
    by_name = {one["name"]: one for one in shown["members"]}
    assert by_name["paris"]["address"].startswith("127.")
    assert by_name["nantes"]["keys"]["accepted"] == 2
    assert by_name["m1"]["connected"] == ["paris", "nantes"]


def test_up_again(lab: Lab) -> None:
    """A second up of the same lab changes nothing and says so; of another one it is refused."""
    before = [one.pid for one in lab.status()]
    again = call(lab, "up", "--masters", "paris,nantes")
    assert again.returncode == 0
    assert "is up already" in again.stdout
    assert [one.pid for one in lab.status()] == before
    other = call(lab, "up", "--minions", "7")
    assert other.returncode == 1
    assert "its minions differ" in other.stderr


def test_every_master_commands_all(lab: Lab) -> None:
    """The second master gets the answers of all minions."""
    done = lab.run("nantes", "salt", "*", "test.ping", "--out", "json", "--static")
    assert json.loads(done.stdout) == {"m1": True, "m2": True}


def test_run_passes_exit_codes(lab: Lab) -> None:
    """The program's output, input and exit code are salt-lab's own."""
    assert call(lab, "run", "paris", "sh", "-c", "exit 7").returncode == 7
    listed = call(lab, "run", "paris", "salt-key", "-l", "acc")
    assert (listed.returncode, "m1" in listed.stdout) == (0, True)
    local = call(lab, "run", "m1", "salt-call", "--local", "grains.get", "id", "--out", "json")
    assert json.loads(local.stdout) == {"local": "m1"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "paris", "salt-call", "test.ping"], "salt-lab run m1 salt-call"),
        (["run", "m1", "salt", "*", "test.ping"], "salt-lab run paris salt"),
        (["run", "lille", "salt-key"], "no 'lille'"),
        (["run", "paris", "salt-kye"], "no program 'salt-kye'"),
        (["run", "paris"], "what to run?"),
        (["kill", "m9"], "no 'm9'"),
    ],
)
def test_wrong_names(lab: Lab, arguments: list[str], words: str) -> None:
    """A wrong member or program is one sentence and exit code 2."""
    done = call(lab, arguments[0], *arguments[1:])
    assert done.returncode == 2
    assert done.stderr.startswith("salt-lab: ")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_shell(lab: Lab) -> None:
    """In the shell of a master Salt's programs are that master's."""
    script = "salt-key -l acc; exit 3\n"
    done = subprocess.run(
        [*SALT_LAB, "shell", "--lab", str(lab.folder), "nantes"],
        input=script, env={**os.environ, "SHELL": "/bin/sh"}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert "m2" in done.stdout


def test_logs(lab: Lab) -> None:
    """The log has as many lines as asked for, and is the daemon's own."""
    done = call(lab, "logs", "-n", "3", "paris")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 3
    assert "salt-master is starting" in lab.log("paris").read_text()


def test_first_process_of_a_master_killed(lab: Lab) -> None:
    """When a master's children survive it, status says orphaned, and up ends them before it starts the master anew."""
    os.kill(status(lab, "nantes").pid, signal.SIGKILL)
    token = json.loads((lab.folder / "nantes" / "daemon.json").read_text())["token"]
    wait_until(
        lambda: status(lab, "nantes").state in ("orphaned", "dead"), PATIENCE, "nantes without its first process"
    )
    assert lab.up()
    assert processes.with_tokens([token])[token] == []
    assert status(lab, "nantes").state == "up"
    wait_until(
        lambda: status(lab, "m1").connected == ("paris", "nantes"), PATIENCE, "m1 connected to both masters again"
    )


def test_kill_and_start(lab: Lab) -> None:
    """kill leaves none of a daemon's processes; start brings it back, with its key and its connections."""
    assert call(lab, "kill", "m2").returncode == 0
    assert (status(lab, "m2").state, status(lab, "m2").pid) == ("dead", 0)
    started = call(lab, "start", "m2")
    assert (started.stdout, started.stderr) == ("m2 is up\n", "")
    assert status(lab, "m2").connected == ("paris", "nantes")
    assert call(lab, "start", "m2").stdout == "m2 is up already\n"


def test_stopped_by_a_signal(lab: Lab) -> None:
    """A daemon that is stopped by a signal is stuck, not up."""
    pid = status(lab, "m1").pid
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: status(lab, "m1").state == "stuck", PATIENCE, "m1 stuck")
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: status(lab, "m1").state == "up", PATIENCE, "m1 up")


def test_stop_and_restart(lab: Lab) -> None:
    """A stopped daemon is down; a restarted one is another process."""
    lab.stop("paris")
    assert status(lab, "paris").state == "down"
    lab.start("paris")
    before = status(lab, "paris").pid
    assert call(lab, "restart", "paris").returncode == 0
    assert status(lab, "paris").state == "up"
    assert status(lab, "paris").pid != before


def test_one_command_at_a_time(lab: Lab) -> None:
    """While a command changes the lab another one is refused; status is not."""
    with directory.locked(lab.folder):
        assert "another salt-lab" in call(lab, "kill", "m1").stderr
        assert call(lab, "status").returncode == 0
    assert status(lab, "m1").state == "up"


def test_unknown_member_of_the_api(lab: Lab) -> None:
    """The API refuses what it does not know before it touches anything."""
    for function in (lab.start, lab.stop, lab.kill, lab.keys, lab.log):
        with pytest.raises(ConfigurationError, match="'x'"):
            function("x")
    with pytest.raises(RefusedError):
        lab.up(Wish(kind="failover"))


def test_without_rich(lab: Lab) -> None:
    """Without a terminal the table is plain text, one line a daemon."""
    lines = call(lab, "status").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["name", "paris", "nantes", "m1", "m2"]
