"""``salt-swarm`` as a user and a script meet it, at a master that accepts no key by itself."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from saltext_logilab.errors import UnavailableError
from saltext_logilab.lab.lab import Lab
from saltext_logilab.swarm import cli
from saltext_logilab.swarm import report as reports
from tests.support.labs import LabFactory, accept_all
from tests.support.waiting import wait_until

PATIENCE = 60
Run = Callable[..., subprocess.Popen[str]]
SALT_SWARM = [sys.executable, "-m", "saltext_logilab.swarm.cli"]


@pytest.fixture(scope="module")
def lab(make_module_lab: LabFactory) -> Lab:
    lab = make_module_lab(masters=("paris",), minions=("real",), master_options={"engines": []})
    accept_all(lab)
    return lab


@pytest.fixture
def address(lab: Lab) -> str:
    return f"{lab.plan.masters[0].address}:{lab.plan.ports.request}"


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*SALT_SWARM, *arguments], capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def run(address: str, tmp_path: Path) -> Iterator[Run]:
    """Give ``run(*arguments)``, which starts ``salt-swarm run`` with a report; it is ended after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [*SALT_SWARM, "run", "--master", address, "--report", str(tmp_path / "report.json"), "--with-parent"]
        started.append(subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def report(tmp_path: Path) -> dict[str, Any]:
    """Return the report of a run, as a program reads it; empty when there is none yet."""
    try:
        return reports.read(tmp_path / "report.json")
    except UnavailableError:
        return {}


def test_keys_are_pending_accepted_and_cleaned(lab: Lab, run: Run, tmp_path: Path) -> None:
    """A pending key is told for each minion; accepted, it joins; cleaned, nothing of it is left, and no more."""
    spec = tmp_path / "swarm.yaml"
    spec.write_text(
        "retry: 0.3\nretry_max: 0.5\ngroups:\n"
        "  web: {count: 5, key: own, ask_pillar: true, grains: {os: Debian}, mine: {functions: {test.ping: }}}\n"
    )
    process = run(str(spec))
    wait_until(lambda: len(lab.keys("paris")["pending"]) == 5, PATIENCE, "five pending keys")
    wait_until(lambda: "pending" in str(report(tmp_path).get("problems")), PATIENCE, "the problems in the report")
    assert "salt-key -a web" in call("report", str(tmp_path / "report.json")).stdout
    lab.run("paris", "salt-key", "-A", "-y")
    wait_until(lambda: report(tmp_path).get("joined") == 5, PATIENCE, "five minions")
    answers = json.loads(lab.run("paris", "salt", "*", "test.ping", "--out", "json", "--static").stdout)
    assert answers == dict.fromkeys(["real", "web0", "web1", "web2", "web3", "web4"], True)
    process.send_signal(signal.SIGTERM)
    assert "answered" in process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 0
    config = str(lab.folder / "paris" / "etc")
    tried = call("clean", "--config", config, "--test")
    assert tried.stdout == "5 fake minions would be removed; 1 other keys are left alone\n"
    assert len(lab.keys("paris")["accepted"]) == 6
    assert call("clean", "--config", config).stdout.startswith("5 fake minions are removed; 1 other")
    assert lab.keys("paris")["accepted"] == ["real"]
    cache = lab.folder / "paris" / "root" / "cache"
    left = [path for path in cache.rglob("*web[0-4]*") if "jobs" not in path.parts]
    assert left == []
    assert list(cache.rglob("real*"))


def test_a_minion_under_the_name_of_a_real_one_is_rejected_and_not_cleaned(lab: Lab, run: Run, tmp_path: Path) -> None:
    """The real minion keeps its key and its data, whatever a fake one tried."""
    spec = tmp_path / "swarm.yaml"
    spec.write_text("retry: 0.3\nretry_max: 0.5\ngroups:\n  thief: {id: real}\n")
    process = run(str(spec))
    wait_until(lambda: "rejected" in str(report(tmp_path).get("problems")), PATIENCE, "the rejection in the report")
    assert "another one under this id" in call("report", str(tmp_path / "report.json")).stdout
    process.terminate()
    process.wait(PATIENCE)
    data = sorted(path for path in (lab.folder / "paris" / "root" / "cache").rglob("real*"))
    call("clean", "--config", str(lab.folder / "paris" / "etc"))
    assert lab.keys("paris")["accepted"] == ["real"]
    assert lab.keys("paris")["denied"] == []
    assert sorted(path for path in (lab.folder / "paris" / "root" / "cache").rglob("real*")) == data


def test_a_recorded_minion_is_repeated_by_fake_ones(lab: Lab, run: Run, tmp_path: Path) -> None:
    """What a real minion has answered, its fake ones answer, with its grains."""
    recording = tmp_path / "real.yaml"
    command = ["record", "real", "--config", str(lab.folder / "paris" / "etc"), "--output", str(recording)]
    done = call(*command, "--ask", "test.version", "--ask", "sys.list_functions test")
    assert done.returncode == 0, done.stderr
    assert call(*command, "--ask", "test.version").returncode == 1
    (tmp_path / "swarm.yaml").write_text("retry: 0.3\ngroups:\n  web: {count: 2, recorded: real.yaml}\n")
    run(str(tmp_path / "swarm.yaml"))
    wait_until(lambda: len(lab.keys("paris")["pending"]) == 2, PATIENCE, "two pending keys")
    lab.run("paris", "salt-key", "-A", "-y")
    wait_until(lambda: report(tmp_path).get("joined") == 2, PATIENCE, "two minions")
    for function in (["sys.list_functions", "test"], ["grains.get", "osfullname"]):
        answers = json.loads(lab.run("paris", "salt", "*", *function, "--out", "json", "--static").stdout)
        assert answers["web0"] == answers["web1"] == answers["real"]
        assert answers["real"]
    call("clean", "--config", str(lab.folder / "paris" / "etc"))


def test_a_master_that_is_elsewhere_is_refused() -> None:
    """Without --yes-master no minion goes to a master that is not on loopback."""
    done = call("run", "--minions", "1", "--master", "192.0.2.1")
    assert done.returncode == 1
    assert "--yes-master 192.0.2.1" in done.stderr
    done = call("run", "--minions", "1", "--master", "192.0.2.1", "--yes-master", "192.0.2.1", "--seconds", "0.1")
    assert done.returncode == 0
    assert "192.0.2.1" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["run", "--minions", "1"], 2, "no master is named"),
        (["run", "--minions", "0", "--master", "127.0.0.1"], 2, "there are no minions"),
        (["run", "--minions", "1", "--master", "127.0.0.1:x"], 2, "no master's address"),
        (["run", "--minions", "1", "--master", "no.such.host.invalid"], 1, "has no address"),
        (["run", "--minions", "1", "--master", "127.0.0.1", "--master-pid", "99999999"], 1, "no process 99999999"),
        (["run", "/nowhere.yaml"], 1, "cannot be read"),
        (["report", "/nowhere.json"], 1, "cannot be read"),
        (["clean", "--config", "/nowhere"], 1, "no master's configuration"),
        (["record", "m", "--ask", "nofunction", "--output", "/x"], 2, "is no function"),
    ],
)
def test_wrong_usage_is_said_in_a_sentence(
    arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback, one line, and an exit code that tells usage from failure."""
    assert cli.main(arguments) == code
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error


def test_validate_names_the_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A good specification is summed up, a wrong one refused with file and line."""
    spec = tmp_path / "swarm.yaml"
    spec.write_text("groups:\n  web: {count: 3}\n")
    assert cli.main(["validate", str(spec)]) == 0
    assert capsys.readouterr().out == "web: 3 minions: web0 … web2\n"
    spec.write_text("groups:\n  web:\n    drop: 3\n")
    assert cli.main(["validate", str(spec)]) == 2
    assert capsys.readouterr().err == f"salt-swarm: {spec}:3: groups:web:drop: 3 is no rate: 0 to 1, or 0% to 100%\n"


def test_a_terminal_shows_how_it_is(address: str, tmp_path: Path) -> None:
    """One line is written over again and again, and is gone at the end; a report is followed in the same way."""
    terminal, inside = os.openpty()
    command = [*SALT_SWARM, "run", "--minions", "2", "--master", address, "--seconds", "2", "--json"]
    command += ["--report", str(tmp_path / "report.json")]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=inside, text=True, timeout=PATIENCE, check=True)
    shown = os.read(terminal, 100_000).decode()
    assert "of 2 joined · 0 returns (0/s)" in shown
    assert shown.endswith("\r\x1b[K")
    assert json.loads(done.stdout)["wanted"] == 2
    follow = [*SALT_SWARM, "report", "--follow", str(tmp_path / "report.json")]
    with subprocess.Popen(follow, stdout=inside, stderr=inside) as following:
        wait_until(lambda: "of 2 joined" in os.read(terminal, 100_000).decode(), PATIENCE, "the line of the report")
        following.send_signal(signal.SIGINT)
        assert following.wait(PATIENCE) == 130
    os.close(terminal)
    os.close(inside)


def test_it_ends_with_its_parent(address: str, tmp_path: Path) -> None:
    """A swarm whose starter is killed ends by itself: no orphan answers the next run's jobs."""
    command = [
        *SALT_SWARM,
        "run",
        "--minions",
        "2",
        "--master",
        address,
        "--with-parent",
        "--report",
        str(tmp_path / "r"),
    ]
    code = f"import subprocess, time; p = subprocess.Popen({command!r}); print(p.pid, flush=True); time.sleep(600)"
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    child = int(parent.stdout.readline())
    wait_until((tmp_path / "r").exists, PATIENCE, "the first report")
    parent.kill()
    parent.communicate()
    wait_until(lambda: not _runs(child), PATIENCE, "the end of the swarm")


def test_it_stops_at_once_and_leaves_nothing(run: Run, tmp_path: Path) -> None:
    """After SIGTERM there is a last report, no process and no file but the report that was asked for."""
    process = run("--minions", "300")
    wait_until(lambda: report(tmp_path).get("minions") == 300, PATIENCE, "the first report")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json"]
    assert not _runs(process.pid)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_report_of_runs_is_plotted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From two reports comes a table and an SVG with both curves; without returns there is nothing to plot."""
    files = []
    for minions, cpu in ((100, 0.5), (1000, 6.0)):
        samples = [
            {"seconds": 0.0, "answered": 0, "cpu": 0.1, "master_cpu": 1.0},
            {"seconds": 5.0, "answered": minions, "cpu": 0.2, "master_cpu": 1.0 + cpu},
        ]
        files.append(tmp_path / f"{minions}.json")
        values = {"format": 1, "minions": minions, "counts": {"answered": minions}, "samples": samples}
        files[-1].write_text(json.dumps(values))
    plot = ["report", "--plot", str(tmp_path / "out.svg")]
    assert cli.main([*plot, *map(str, files)]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()[1:]] == [
        ["100", "20", "5.0", "ms"],
        ["1000", "200", "6.0", "ms"],
    ]
    svg = (tmp_path / "out.svg").read_text()
    assert svg.count("<polyline") == 2
    assert svg.count("<circle") == 4
    files[0].write_text(json.dumps({"format": 1, "minions": 5, "counts": {"answered": 0}, "samples": []}))
    assert cli.main([*plot, str(files[0])]) == 2
    assert "give jobs during the run" in capsys.readouterr().err
    files[0].write_text("[]")
    assert cli.main(["report", str(files[0])]) == 2
