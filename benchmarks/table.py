"""A benchmark's outcome: rows of a figure, its bar and the verdict, as one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """
    One figure beside the peer's in the same run.

    ``bar`` is what ``value`` may be at most (with ``at_least``: must be at least); without a bar the row informs.
    """

    what: str
    value: float
    unit: str
    peer: str = ""
    bar: float | None = None
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the figure keeps its bar."""
        if self.bar is None:
            return True
        return self.value >= self.bar if self.at_least else self.value <= self.bar

    def cells(self) -> tuple[str, ...]:
        """Return the row as texts."""
        if self.bar is None:
            return self.what, f"{self.value:.4g} {self.unit}", self.peer, "", ""
        bar = f"{'>=' if self.at_least else '<='} {self.bar:g} {self.unit}"
        return self.what, f"{self.value:.4g} {self.unit}", self.peer, bar, "met" if self.met else "NOT met"


def render(title: str, rows: Sequence[Row]) -> str:
    """Return the table of ``rows`` under ``title``."""
    lines = [("figure", "measured", "peer, same run", "bar", "verdict"), *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    body = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([title, body[0], "  ".join("-" * width for width in widths), *body[1:]])
