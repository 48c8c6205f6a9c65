"""The verdict of a benchmark's row, and its table."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from benchmarks.table import Row, render
from tests.support.distribution import ROOT


@pytest.mark.parametrize(
    ("row", "met"),
    [
        (Row("a", 2.9, "ms", bar=3), True),
        (Row("a", 3.0, "ms", bar=3), True),
        (Row("a", 3.1, "ms", bar=3), False),
        (Row("a", 99, "keys/s", bar=100, at_least=True), False),
        (Row("a", 100, "keys/s", bar=100, at_least=True), True),
        (Row("a", 1e9, "ms"), True),
    ],
)
def test_a_bar_is_met_or_not(row: Row, met: bool) -> None:
    """A cost may reach its bar, a rate has to; a figure without a bar informs."""
    assert row.met is met


def test_the_table_shows_figure_peer_bar_and_verdict() -> None:
    """Each row is a line, aligned, and a missed bar is plain to see."""
    lines = render("Costs", [Row("keys", 12.5, "ms", "13 ms by hand", 10), Row("info", 1, "s")]).splitlines()
    assert lines[0] == "Costs"
    assert lines[1].split("  ")[0] == "figure"
    assert re.split(r" {2,}", lines[3]) == ["keys", "12.5 ms", "13 ms by hand", "<= 10 ms", "NOT met"]


def test_an_unknown_benchmark_is_refused() -> None:
    """The answer to a wrong name lists the right ones."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "nope"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "known: " in done.stderr
    assert "loader" in done.stderr
