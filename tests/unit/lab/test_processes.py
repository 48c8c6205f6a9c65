"""Processes as /proc shows them."""

import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saltext_logilab.lab import daemons, processes
from saltext_logilab.lab.daemons import Record
from saltext_logilab.lab.processes import Process
from tests.support.waiting import wait_until

# A child that leaves the session, as a minion's jobs do, then both wait.
PROGRAM = "import os, signal, sys\nif os.fork() == 0: os.setsid()\nos.write(1, b'ready\\n')\nsignal.pause()"


@pytest.fixture
def family() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    token = secrets.token_hex(8)
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, processes.VARIABLE: token},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert child.stdout
    assert [child.stdout.readline(), child.stdout.readline()] == ["ready\n"] * 2
    yield token, child
    processes.end([token], 0)
    child.wait()
    child.stdout.close()


@given(st.text(st.characters(blacklist_characters="\n\0", blacklist_categories=("Cs",)), max_size=16))
def test_stat(name: str) -> None:
    """The name of a program may hold brackets and blanks."""
    fields = "S 7 42 42 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 1 0 9876 1000 50 x"
    assert processes.parse_stat(f"42 ({name}) {fields}\n") == Process(42, 7, 42, "S", 9876)


def test_own_sockets() -> None:
    """A listening and a connected socket are found in the kernel's table, and their owner by the inode."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        found = processes.sockets()
        own = processes.find(os.getpid())
        assert own
        mine = processes.inodes([own])
        assert any(s.local == server.getsockname() and s.remote is None and s.inode in mine for s in found)
        assert any(
            s.remote == server.getsockname() and s.local == client.getsockname() and s.inode in mine for s in found
        )


def test_token_finds_descendants(family: tuple[str, subprocess.Popen[str]]) -> None:
    """A process that left the session is still found; the first is the one that was started."""
    token, child = family
    found = processes.with_tokens([token, "other"])
    assert found["other"] == []
    assert len(found[token]) == 2
    assert found[token][0].pid == child.pid
    assert processes.memory(found[token]) > 0


def test_end_leaves_nothing(family: tuple[str, subprocess.Popen[str]]) -> None:
    """Ending ends the descendants too, also those whose parent was killed."""
    token, child = family
    os.kill(child.pid, signal.SIGKILL)
    wait_until(lambda: len(processes.with_tokens([token])[token]) == 1, 60, "the first process gone")
    assert processes.end([token], grace=0.1)
    assert processes.with_tokens([token])[token] == []


def test_nothing_else_is_touched(family: tuple[str, subprocess.Popen[str]]) -> None:
    """A process whose token is another one gets no signal, even when its pid was recorded."""
    _token, child = family
    process = processes.find(child.pid)
    assert process
    processes.send(process, "another token", signal.SIGKILL)
    assert processes.end(["another token"], 0)
    assert child.poll() is None


@pytest.mark.parametrize(
    ("record", "running", "listens", "age", "state"),
    [
        (None, [], False, 0, "down"),
        (Record("t", 5, "3008"), [], True, 0, "dead"),
        (Record("t", 5, "3008"), [Process(6, 1, 5, "S", 1)], True, 0, "orphaned"),
        (Record("t", 5, "3008"), [Process(5, 1, 5, "S", 1)], True, 1, "up"),
        (Record("t", 0, "3008"), [Process(5, 1, 5, "S", 1)], True, 1, "up"),
        (Record("t", 5, "3008"), [Process(5, 1, 5, "T", 1)], True, 1, "stuck"),
        (Record("t", 5, "3008"), [Process(5, 1, 5, "S", 1)], False, 1, "starting"),
        (Record("t", 5, "3008"), [Process(5, 1, 5, "S", 1)], False, daemons.PATIENCE + 1, "stuck"),
    ],
)
def test_states(record: Record | None, running: list[Process], listens: bool, age: float, state: str) -> None:
    """One word says how a daemon is, from what runs and listens."""
    assert daemons.state(record, running, listens=listens, age=age) == state
