"""The script around a command in a guest, run by the shells that guests have; and what is made of an answer."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saltext_logilab.errors import ConfigurationError, UnavailableError, WireError
from saltext_logilab.guests import agent, inside
from saltext_logilab.within.transport import Command, Done
from tests.support.processes import program
from tests.support.waiting import wait_until

MARK = secrets.token_hex(16)
SHELLS = ("dash", "bash", "busybox")


def read(command: Command, stdout: bytes, stderr: bytes) -> Done:
    """Return what is made of what the script said."""
    return inside._read("web", command, MARK, stdout, stderr)


def run(shell: str, command: Command) -> Done:
    """Run the script for ``command`` on this machine."""
    first = [program(shell, shell), *(["sh"] if shell == "busybox" else [])]
    words = inside._arguments(command, MARK, "", "")
    done = subprocess.run([*first, *words], input=command.stdin, capture_output=True, check=True, timeout=60)
    return read(command, done.stdout, done.stderr)


def bearing() -> list[str]:
    """Return the processes of this machine that bear the mark."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{inside.MARK}={MARK}".encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_text())
        except OSError:
            continue
    return found


@pytest.mark.parametrize("shell", SHELLS)
def test_what_a_command_says(shell: str) -> None:
    """Both streams apart, the code, the input, the environment and the folder; words are read by no shell."""
    said = Command((inside.SHELL, "-c", "cat; echo err >&2; echo $A; pwd; exit 3"), "", "/usr", {"A": "1 2"}, b"in\0\n")
    assert run(shell, said) == Done(3, b"in\0\n1 2\n/usr\n", b"err\n", 17)
    assert run(shell, Command(("echo", "$HOME;", "-n *"))).stdout == b"$HOME; -n *\n"
    assert run(shell, Command(("no-such-program",))).code == 127
    assert run(shell, Command((inside.SHELL, "-c", "kill -9 $$"))).code == 137
    assert run(shell, Command(("true",), "root")).code == 0
    assert run(shell, Command(("cat", "/dev/stdin"), "nobody", stdin=b"for you")) == Done(0, b"for you", b"", 7)


@pytest.mark.parametrize("shell", SHELLS)
def test_output_is_cut_and_counted(shell: str) -> None:
    """To the byte, whatever is kept."""
    much = (inside.SHELL, "-c", "head -c 3000001 /dev/zero; head -c 5000 /dev/zero >&2")
    for most in (0, 1, 4096, 4097, inside.MOST):
        done = run(shell, Command(much, most_bytes=most))
        assert (done.size, len(done.stdout), done.is_cut) == (3005001, most, True)
    done = run(shell, Command((inside.SHELL, "-c", "echo out; head -c 5000 /dev/zero >&2"), most_bytes=10))
    assert (done.stdout, done.stderr, done.size) == (b"out\n", bytes(6), 5004)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    "command",
    [
        "sleep 1000",
        "trap '' TERM INT; sleep 1000 & sleep 1000",
        "env -i sleep 1000",
        "(sleep 1000 &); sleep 1000",
        "setsid setsid sleep 1000",
        "sleep 1000 &",
    ],
)
def test_a_command_that_never_ends(shell: str, command: str) -> None:
    """It is killed with all that it started, and what it said before is there."""
    done = run(shell, Command((inside.SHELL, "-c", f"echo begun; {command}"), timeout=0.5))
    assert done == Done(None, b"begun\n", b"", 6)
    assert bearing() == []


@pytest.mark.parametrize("shell", SHELLS)
def test_the_watcher_ends_with_the_command(shell: str) -> None:
    """Nothing of the script is left, however long the command might have taken."""
    before = set(Path("/proc").glob("[0-9]*"))
    assert run(shell, Command(("true",), timeout=98765)).code == 0

    def sleeping() -> list[str]:
        lines = [one / "cmdline" for one in Path("/proc").glob("[0-9]*") if one not in before]
        return [str(line) for line in lines if line.exists() and b"98765" in line.read_bytes()]

    wait_until(lambda: not sleeping(), 60, "the end of the watcher")


@pytest.mark.parametrize("shell", SHELLS)
def test_where_nothing_can_run(shell: str) -> None:
    """An unknown user or folder is named."""
    with pytest.raises(UnavailableError, match="there is no user 'nobody-here' in the guest 'web'"):
        run(shell, Command(("id",), "nobody-here"))
    with pytest.raises(UnavailableError, match="there is no folder '/nowhere' in the guest 'web'"):
        run(shell, Command(("id",), cwd="/nowhere"))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (Command(("id",), timeout=0), "timeout must be positive"),
        (Command(("id",), timeout=float("nan")), "timeout must be positive"),
        (Command(("id",), most_bytes=-1), "most_bytes not negative"),
        (Command(("id",), "-u"), "'-u' is no name of a user"),
        (Command(("id",), env={"A B": "1"}), "'A B' is no name of an environment variable"),
        (Command(("a\0b",)), "a null byte"),
        (Command(("a" * 70000,)), "more than 65536 bytes"),
    ],
)
def test_impossible_commands(wrong: Command, words: str) -> None:
    """The error names what is wrong."""
    with pytest.raises(ConfigurationError, match=words):
        inside._check(wrong)


@given(st.binary(max_size=200))
def test_an_end_that_the_guest_forges(noise: bytes) -> None:
    """What is no end of our own is no answer, whatever stands there."""
    with pytest.raises(WireError, match="the answer has no end"):
        read(Command(("id",)), b"", noise.replace(MARK.encode(), b""))


@given(st.one_of(st.none(), st.text(max_size=50), st.sampled_from([7, "{}", "[]", "[" * 99999, '{"x": 1}'])))
def test_answers_that_are_none(told: object) -> None:
    """They raise one kind of error."""
    with pytest.raises(WireError):
        agent.answer(told, "x")


def test_an_answer() -> None:
    """What stands under ``return`` is given; more than an answer can be is refused unread."""
    assert agent.answer('{"return": {"a": [1]}}', "x") == {"a": [1]}
    with pytest.raises(WireError, match="longer than"):
        agent.answer('{"return": "' + "x" * agent.MOST + '"}', "x")


@given(st.binary(max_size=100))
def test_bytes_come_through(data: bytes) -> None:
    """What is encoded is decoded, and never more than may be."""
    assert agent.decoded(agent.encoded(data), "x", 100) == data
    if data:
        with pytest.raises(WireError, match="at most 0 can be"):
            agent.decoded(agent.encoded(data), "x", 0)


@pytest.mark.parametrize("wrong", [7, ["a"], "%%%", "ab", "é"])
def test_what_is_no_base64(wrong: Sequence[str]) -> None:
    """It is refused."""
    with pytest.raises(WireError):
        agent.decoded(wrong, "x", 100)


def test_what_a_guest_says_is_short_and_printable() -> None:
    """A sentence holds no escape sequence and no novel."""
    assert agent.short("a\x1b[2J\n b") == "a [2J b"
    assert len(agent.short("x" * 10000)) == 301
