"""
The guard of a test session: no process that it started may outlive it.

The session makes one directory and carries its path in the environment (:data:`ROOT`). A process belongs to the session
when the path stands in its environment, its command line, or behind its ``/`` or ``/run/libvirt`` (the processes of a
container and a guest's qemu lose the environment; other mounts are copied into every new namespace and say nothing).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.processes import alive, end
from tests.support.sessions import SessionRoot, abandoned, clear
from tests.support.waiting import wait_until

ROOT = "LOGILAB_TEST_ROOT"
GRACE = 4
TELLING = ("/", "/run/libvirt")
WORKER_OUTPUT = "survivors"
SURVIVORS = pytest.StashKey[list[str]]()
SESSION = pytest.StashKey[SessionRoot]()


def pytest_configure(config: pytest.Config) -> None:
    """Clear what killed sessions left, and make this session's directory; every child inherits its name."""
    for root in abandoned():
        end(survivors_of(root))
        clear(root)
    config.stash[SESSION] = SessionRoot.create()
    os.environ[ROOT] = str(config.stash[SESSION].path)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Fail the session when something that it started still runs after all fixtures are gone, and end it."""
    yield
    found = _lasting(session.config.stash[SESSION].path)
    named = session.config.stash.setdefault(SURVIVORS, [])
    named += [describe(process) for process in found]
    end(found)
    if hasattr(session.config, "workeroutput"):  # a worker has nobody who reads its exit code
        session.config.workeroutput[WORKER_OUTPUT] = named
    if named:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a worker of pytest-xdist found."""
    told = getattr(node, "workeroutput", {})  # a worker that crashed told nothing
    node.config.stash.setdefault(SURVIVORS, []).extend(told.get(WORKER_OUTPUT, []))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the session's directory, if it came to one."""
    if SESSION in config.stash:
        config.stash[SESSION].release()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name what outlived the session."""
    for line in config.stash.get(SURVIVORS, []):
        terminalreporter.write_line(f"ERROR: left running by the tests, killed now: {line}", red=True)


def _lasting(root: Path) -> list[psutil.Process]:
    """Return the session's processes that do not end by themselves within the grace time."""
    try:
        wait_until(lambda: not survivors_of(root), GRACE, "end of what the session started")
    except TimeoutError:
        return survivors_of(root)
    return []


def survivors_of(root: Path) -> list[psutil.Process]:
    """Return the living processes that belong to the session of ``root``, but this one and its ancestors."""
    ours = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    return [it for it in psutil.process_iter() if it.pid not in ours and alive(it) and belongs(it, str(root))]


def belongs(process: psutil.Process, root: str) -> bool:
    """Whether the process bears the session's directory in its environment, command line or mounts."""
    try:
        command = " ".join(process.cmdline())
        if "multiprocessing.resource_tracker" in command:
            return False  # Python's own helper, ends with this process
        if root in command or process.environ().get(ROOT) == root:
            return True
        return Path(root).name in telling_mounts(process.pid)
    except psutil.Error:
        return False


def telling_mounts(pid: int) -> str:
    """Return the lines of a process's mount table that tell whose it is."""
    try:
        lines = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    except OSError:
        return ""
    return "\n".join(line for line in lines if line.split()[4] in TELLING)


def describe(process: psutil.Process) -> str:
    """Return one line that tells which process it is."""
    try:
        return f"{process.pid} {' '.join(process.cmdline())}"
    except psutil.Error:
        return str(process.pid)
