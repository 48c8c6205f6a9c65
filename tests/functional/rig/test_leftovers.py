"""The guard finds what a session leaves running."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest

from tests.support.processes import alive
from tests.support.sessions import LOCK, PREFIX, abandoned

LEAKS = """
import subprocess, sys

def test_leaks():
    subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True)
"""
TIDY = "def test_leaks_nothing(): pass"
KILLED = """
import os, signal, subprocess, sys
from tests.support.netns import NetworkNamespace

def test_is_killed():
    made = NetworkNamespace.create()
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True)
    print(made.name, child.pid, os.environ["LOGILAB_TEST_ROOT"], file=open("left", "w"), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


WORKERS = ("-p", "xdist", "-n", "2")


def run_inside(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, source: str, *options: str
) -> pytest.RunResult:
    """Run a session of its own with nothing but the guard."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    pytester.makepyfile(source)
    return pytester.runpytest_subprocess("-p", "tests.support.leftovers", *options, timeout=60)


@pytest.mark.parametrize("options", [(), WORKERS], ids=["alone", "workers"])
def test_survivor_fails_the_session(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    """A session whose test passes but leaves a process running fails, names the process and ends it."""
    result = run_inside(pytester, monkeypatch, LEAKS, *options)
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["ERROR: left running by the tests, killed now: * import signal; signal.pause()"])


@pytest.mark.parametrize("options", [(), WORKERS], ids=["alone", "workers"])
def test_tidy_session_passes(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    """A session that leaves nothing passes."""
    assert run_inside(pytester, monkeypatch, TIDY, *options).ret == pytest.ExitCode.OK


def test_next_session_clears_after_a_killed_one(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed session left (a process, a network namespace, its directory) is gone after the next one."""
    assert run_inside(pytester, monkeypatch, KILLED).ret == -signal.SIGKILL
    name, pid, root = (pytester.path / "left").read_text().split()
    assert (Path("/run/netns") / name).exists()
    child = psutil.Process(int(pid))
    assert alive(child)
    assert run_inside(pytester, monkeypatch, TIDY).ret == pytest.ExitCode.OK
    assert not (Path("/run/netns") / name).exists()
    assert not alive(child)
    assert not Path(root).exists()


def test_one_session_clears_a_killed_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one session is clearing is left alone by the others that begin at the same moment."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    root = tmp_path / f"{PREFIX}dead"
    root.mkdir()
    (root / LOCK).touch()
    first = abandoned()
    assert next(first) == root
    assert not list(abandoned())
    first.close()
    assert list(abandoned()) == [root]
