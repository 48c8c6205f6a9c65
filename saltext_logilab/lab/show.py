"""
What a person or a program sees: one line of progress, tables and JSON. Only this file knows rich, which is optional.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Sequence
from typing import TextIO

from saltext_logilab.lab.lab import Status

try:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text
except ImportError:  # the extra [lab] is not installed: plain tables
    RICH = False
else:
    RICH = True

HEADER = ("name", "role", "salt", "address", "pid", "state", "uptime", "memory", "keys / connected to")
_COLOURS = {"up": "green", "starting": "yellow", "down": "dim", "dead": "red", "orphaned": "red", "stuck": "red"}


class Line:
    """One line on a terminal that each text replaces; nothing where there is no terminal."""

    def __init__(self, stream: TextIO = sys.stderr) -> None:
        """Write to ``stream``."""
        self._stream = stream
        self._last = ""

    def __call__(self, text: str) -> None:
        """Show ``text`` instead of what stands there."""
        if text != self._last and self._stream.isatty():
            self._stream.write(f"\r\x1b[K{text[:110]}")
            self._stream.flush()
            self._last = text

    def clear(self) -> None:
        """Remove the line."""
        if self._last:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._last = ""


def say(text: str, stream: TextIO | None = None) -> None:
    """Write ``text`` as a line to ``stream`` (standard output)."""
    stream = stream or sys.stdout
    stream.write(f"{text}\n")
    stream.flush()


def statuses(rows: Iterable[Status], stream: TextIO | None = None) -> None:
    """Write the table of all daemons to ``stream`` (standard output)."""
    table(HEADER, [_row(status) for status in rows], stream)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], stream: TextIO | None = None) -> None:
    """Write a table to ``stream`` (standard output): with rich on a terminal, else in plain aligned columns."""
    stream = stream or sys.stdout
    if not (RICH and stream.isatty()):
        stream.write(plain(header, rows))
        return
    made = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title in header:
        made.add_column(title, no_wrap=True, justify="right" if title in ("pid", "uptime", "memory") else "left")
    for row in rows:
        made.add_row(*(Text(cell, style=_COLOURS.get(cell, "")) for cell in row))
    Console(file=stream).print(made)


def plain(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table as aligned text, one line a row."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n" for line in lines
    )


def as_json(rows: Iterable[Status], folder: str) -> str:
    """Return the lab's state for a program: ``{"lab": folder, "members": [{"name": …, "state": …}, …]}``."""
    return json.dumps({"lab": folder, "members": [dataclasses.asdict(status) for status in rows]}, indent=2)


def duration(seconds: float) -> str:
    """Return ``seconds`` as a person says it: ``42 s``, ``3 min``, ``2.5 h``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _row(status: Status) -> tuple[str, ...]:
    present = bool(status.pid)
    known = ", ".join(f"{count} {state}" for state, count in status.keys.items() if count) or "no keys"
    return (
        status.name,
        status.role,
        status.salt,
        status.address or "-",
        str(status.pid) if present else "-",
        status.state,
        duration(status.uptime) if present else "-",
        f"{status.memory / 2**20:.0f} MiB" if status.memory else "-",
        known if status.role == "master" else ", ".join(status.connected) or "-",
    )
