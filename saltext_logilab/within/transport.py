"""
What reaches inside: it runs a command there, and reads and writes a file.

Whatever comes out is hostile: it is bounded, may be no text, and no name that it tells is used on this host.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from saltext_logilab.errors import ConfigurationError, UnavailableError

SHELL = "/bin/sh"
TIMEOUT = 60.0
MOST = 1024 * 1024
TIMED_OUT = 124
FILE, DIRECTORY, LINK, OTHER = "file", "directory", "link", "other"


class NotRunningError(UnavailableError):
    """It is there, but nothing can run in it now."""


class NoSuchFileError(UnavailableError):
    """There is no such file inside."""


class NoProgramError(UnavailableError):
    """There is no program inside for what was asked."""


@dataclass(frozen=True)
class Command:
    """
    What is run: the words, as whom, where, with what more in the environment, and with which input.

    It is killed inside after ``timeout`` seconds; ``most_bytes`` of its output are kept.
    """

    words: tuple[str, ...]
    user: str = ""
    cwd: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: bytes = b""
    timeout: float = TIMEOUT
    most_bytes: int = MOST


@dataclass(frozen=True)
class Done:
    """What came of it: ``code`` is None when it was killed at the time-out; ``size`` counts what was not kept too."""

    code: int | None
    stdout: bytes
    stderr: bytes
    size: int

    @property
    def is_cut(self) -> bool:
        """Whether there was more output than is kept."""
        return self.size > len(self.stdout) + len(self.stderr)

    @property
    def text(self) -> str:
        """The output as text."""
        return self.stdout.decode(errors="replace")

    @property
    def complaint(self) -> str:
        """The last line of what it said, of its errors where there are any, for a sentence."""
        lines = (self.stderr.strip() or self.stdout.strip()).decode(errors="replace").splitlines()
        return lines[-1][:300] if lines else "it said nothing"


@dataclass(frozen=True)
class Stat:
    """A file inside, not followed where it is a link; ``mode`` holds the permissions alone."""

    kind: str
    size: int
    mode: int
    uid: int
    gid: int
    mtime: int
    target: str = ""


class Transport(Protocol):
    """
    The way into one thing.

    Each function raises :class:`NotRunningError` when it is stopped, :class:`.UnavailableError` when it is gone or its
    daemon cannot be asked, and :class:`.WireError` when what comes out is malformed.
    """

    @property
    def label(self) -> str:
        """What it is, for a sentence: ``the container 'web'``."""
        ...

    def run(self, command: Command) -> Done:
        """
        Run a command to its end, or kill it, with all that it has started, where it runs.

        :raises ConfigurationError: ``timeout`` or ``most_bytes`` is impossible.
        """
        ...

    def has(self, path: str) -> bool:
        """Say whether anything stands at an absolute path: what is asked before a command runs."""
        ...

    def stat(self, path: str) -> Stat | None:
        """Return what stands at an absolute path; None when nothing does."""
        ...

    def stream(self, path: str) -> Iterator[bytes]:
        """
        Yield what a regular file holds, in pieces; links are followed inside.

        :raises NoSuchFileError: there is none, or it is no regular file.
        """
        ...

    def write(self, path: str, data: bytes, mode: int = 0o644, owner: tuple[int, int] = (0, 0)) -> None:
        """
        Put a regular file in the place of another, whole or not at all, in a folder that is there.

        :raises NoSuchFileError: there is no such folder.
        """
        ...


def read(inside: Transport, path: str, most_bytes: int = MOST) -> bytes:
    """
    Return what a file holds.

    :raises NoSuchFileError: there is none.
    :raises UnavailableError: it holds more than ``most_bytes``.
    """
    found = bytearray()
    for piece in inside.stream(path):
        found += piece
        if len(found) > most_bytes:
            raise UnavailableError(f"{path} in {inside.label} holds more than {most_bytes} bytes")
    return bytes(found)


def words(inside: Transport, command: str | Sequence[str]) -> tuple[str, ...]:
    """
    Return the words of a command: a text is given to the shell inside, a list is run as it is.

    :raises ConfigurationError: it is empty or no command, or a text where there is no shell.
    """
    if isinstance(command, str):
        if not command.strip():
            raise ConfigurationError("the command is empty")
        if not inside.has(SHELL):
            raise ConfigurationError(f"{inside.label} has no {SHELL}: give the command as a list of words")
        return (SHELL, "-c", command)
    if not isinstance(command, Sequence) or not command:
        raise ConfigurationError(f"{command!r} is no command: a text, or a list of words")
    return tuple(str(one) for one in command)


def interpreter(body: bytes) -> tuple[str, ...]:
    """
    Return the words that read a script: those of its first line, else the shell.

    :raises ConfigurationError: its first line is no text.
    """
    first = body.partition(b"\n")[0]
    try:
        return tuple(first[2:].decode().split()) if first.startswith(b"#!") else (SHELL,)
    except ValueError as err:
        raise ConfigurationError("the script's first line is no text") from err


def split(arguments: str) -> list[str]:
    """
    Return arguments as they stand on a command line.

    :raises ConfigurationError: a quote has no other.
    """
    try:
        return shlex.split(arguments)
    except ValueError as err:
        raise ConfigurationError(f"{arguments!r} is no part of a command line: {err}") from err


def checked(inside: Transport, command: Command) -> str:
    """
    Return the output of a command that must succeed.

    :raises UnavailableError: it did not, took too long, or said more than it may.
    """
    done = inside.run(command)
    shown = " ".join(command.words)[:200]
    if done.code is None:
        raise UnavailableError(f"{shown!r} in {inside.label} was killed after {command.timeout:g} s")
    if done.code:
        raise UnavailableError(f"{shown!r} in {inside.label} failed with {done.code}: {done.complaint}")
    if done.is_cut:
        raise UnavailableError(f"{shown!r} in {inside.label} said more than {command.most_bytes} bytes")
    return done.text
