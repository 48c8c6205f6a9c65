"""
The commands in the documentation, run.

A page shows commands in fenced blocks of the language ``console``: a line that begins with ``$ `` is a command (with a
backslash at its end it goes on in the next line), the lines below it are its output. In the output ``...`` stands for
anything: alone on a line for any lines, within a line for any text. A command without output lines has to succeed, no
more. The blocks of one page run in order, as one person would type them: in one folder after the other, with one home.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.leftovers import ROOT

FENCE = re.compile(r"^(?P<fence>`{3,}|:{3,})(?P<language>[^\s`]*)[^\n]*\n(?P<body>.*?)^(?P=fence)[ \t]*$", re.S | re.M)
KEPT = ("PIP_", "LANG", "LC_", "SSL_", ROOT)  # the last one marks what the tests have started
COMMENT = re.compile(r"<!--.*?-->", re.S)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text and the line where the text begins."""

    language: str
    text: str
    line: int


@dataclass(frozen=True)
class Command:
    """A command of a page, the output that the page shows below it, and its line."""

    text: str
    output: str
    line: int


def blocks(page: str) -> list[Block]:
    """Return the fenced blocks of ``page``, a Markdown text."""
    found = FENCE.finditer(page)
    return [Block(one["language"].strip("{}"), one["body"], page.count("\n", 0, one.start()) + 2) for one in found]


def commands(block: Block) -> Iterator[Command]:
    """
    Yield the commands of a console block.

    :raises ValueError: the block begins with something that is no command.
    """
    parts = re.split(r"^\$ ", block.text, flags=re.M)
    if parts[0].strip():
        raise ValueError(f"line {block.line}: a console block begins with '$ ', not with {parts[0]!r}")
    line = block.line + parts[0].count("\n")
    for part in parts[1:]:
        lines = part.splitlines()
        end = next(number for number, one in enumerate(lines) if not one.endswith("\\")) + 1
        yield Command("\n".join(lines[:end]), "\n".join(lines[end:]), line)
        line += len(lines)


def pattern(output: str) -> re.Pattern[str]:
    """Return the pattern that ``output`` of a page stands for; space at the ends of lines does not count."""
    lines = [line.rstrip(" \t") for line in output.strip("\n").split("\n")]
    parts = [r"(?:.*\n)*?" if line.strip() == "..." else _line(line) for line in lines]
    return re.compile("".join(parts))


def _line(line: str) -> str:
    return ".*?".join(re.escape(part) for part in line.split("...")) + r"[ \t]*\n"


def fits(output: str, actual: str) -> bool:
    """Say whether ``actual`` is what ``output`` of a page shows; a page without output fits anything."""
    return not output.strip() or pattern(output).fullmatch(actual.strip("\n") + "\n") is not None


@dataclass(frozen=True)
class Substitution:
    """
    What runs in the place of a command that a test cannot run as it stands, and why.

    ``command`` is a regular expression for the whole command. In ``instead``, ``\\1`` is its first group and ``{name}``
    what the session's place of that name gives.
    """

    command: str
    instead: str
    reason: str


@dataclass
class Session:
    """
    One person at one terminal, with a home of its own; commands run where the last ``cd`` led.

    :param timeout: seconds that a command may take.
    """

    known: frozenset[str]
    substitutions: tuple[Substitution, ...]
    places: Mapping[str, Callable[[], str]]
    home: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="docs-")))  # short: it will hold sockets
    timeout: float = 300

    def instead(self, command: str) -> str:
        """
        Return what to run for ``command``.

        :raises LookupError: neither is its program known nor stands it in the table.
        """
        for one in self.substitutions:
            if typed := re.fullmatch(one.command, command):
                return re.sub(r"\{(\w+)\}", lambda place: self.places[place[1]](), typed.expand(one.instead))
        program = shlex.split(command)[0]
        if program not in self.known:
            raise LookupError(
                f"the test does not know how to run {command!r}: add it to the table in {__name__}'s user"
            )
        return command

    def run(self, command: str) -> tuple[int, str]:
        """Run ``command`` and return its exit code and all that it printed."""
        folder, output = self.home / ".folder", self.home / ".output"
        if not folder.exists():
            folder.write_text(str(self.home), encoding="utf-8")
        script = f'cd "$(cat {folder})" || exit\n{self.instead(command)}\ncode=$?\npwd >{folder}\nexit $code\n'
        with output.open("wb") as file:  # no pipe: a daemon that a command starts would hold it open
            done = subprocess.run(
                ["bash", "-c", script],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                check=False,
                timeout=self.timeout,
            )
        return done.returncode, output.read_text(encoding="utf-8", errors="replace")

    def environment(self) -> dict[str, str]:
        """Return the environment: a home of its own, the tests' programs first, the caches of the real user."""
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        kept = {key: value for key, value in os.environ.items() if key.startswith(KEPT)}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        own = {
            "XDG_CONFIG_HOME": str(self.home / ".config"),
            "XDG_DATA_HOME": str(self.home / ".local" / "share"),
            "XDG_STATE_HOME": str(self.home / ".local" / "state"),
        }
        return (
            kept
            | own
            | {"HOME": str(self.home), "PATH": path, "XDG_CACHE_HOME": cache, "TERM": "dumb", "SHELL": "/bin/bash"}
        )


def check_page(page: str, session: Session) -> list[str]:
    """Run all commands of ``page`` in ``session``; return what is wrong, and go no further than the first such."""
    for block in blocks(page):
        if block.language != "console":
            continue
        for command in commands(block):
            code, output = session.run(command.text)
            if code != 0 or not fits(command.output, output):
                return [
                    f"line {command.line}: $ {command.text}",
                    f"exit code {code}; it printed",
                    output,
                    f"where the page shows\n{command.output}",
                ]
    return []
