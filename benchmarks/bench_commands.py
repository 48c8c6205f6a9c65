"""
Masters: what a group costs those who use Salt's own commands: time and exit code beside masters without the engine.

Two masters of a group and one minion, and the same without the engine; the commands are run in turn, on one and on the
other, so that what else the machine does touches both alike.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence

from benchmarks.bench_mine import A, one_minion
from benchmarks.table import Row
from saltext_logilab.lab.lab import Lab

COMMANDS: Sequence[tuple[str, ...]] = (
    ("salt", "*", "test.ping"),
    ("salt-key", "-L"),
    ("salt-run", "manage.status"),
)
TIMES = 9
MORE = 1.15
OUTPUT = ("--out=json",)


def run(lab: Lab, command: Sequence[str]) -> tuple[float, tuple[int, str]]:
    """Run ``command`` on the first master; return the seconds, and its exit code and output."""
    begin = time.perf_counter()
    done = lab.run(A, *command, *OUTPUT)
    return time.perf_counter() - begin, (done.returncode, done.stdout)


def measure(grouped: Lab, stock: Lab, command: Sequence[str]) -> Iterator[Row]:
    """Run one command on both in turn."""
    pairs = [(run(grouped, command), run(stock, command)) for _ in range(TIMES)]
    ours, theirs = (statistics.median(one[side][0] for one in pairs) for side in (0, 1))
    other = sum(one[0][1] != one[1][1] for one in pairs)
    words = " ".join(command)
    yield Row(f"`{words}`: times that of masters without the engine", ours / theirs, "", f"{theirs:.3g} s", bar=MORE)
    yield Row("  runs with another output or exit code", other, "runs", f"of {TIMES}", bar=0)


def rows() -> list[Row]:
    """Measure all commands."""
    with one_minion({}) as grouped, one_minion({}, {"engines": []}) as stock:
        return [row for command in COMMANDS for row in measure(grouped, stock, command)]
