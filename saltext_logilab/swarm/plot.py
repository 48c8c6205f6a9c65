"""
The sizing report: what a master bears, as one SVG, from the reports of runs with different numbers of minions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from saltext_logilab.swarm import report

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 80, 90, 60, 60
RATE, COST = "#1f77b4", "#d62728"


@dataclass(frozen=True)
class Point:
    """One run: ``rate`` in returns per second, ``cost`` in milliseconds of the master's CPU per return."""

    minions: int
    rate: float
    cost: float


def points(reports: Sequence[Mapping[str, Any]]) -> list[Point]:
    """Return what ``reports`` say, by number of minions; raises as :func:`report.burst`."""
    made = []
    for values in reports:
        rate, cpu = report.burst(values)
        made.append(Point(int(values["minions"]), rate, cpu * 1000))
    return sorted(made, key=lambda point: point.minions)


def table(found: Sequence[Point]) -> str:
    """Return the points as text."""
    rows = [("minions", "returns/s", "master CPU per return")]
    rows += [(str(one.minions), f"{one.rate:.0f}", f"{one.cost:.1f} ms") for one in found]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def svg(found: Sequence[Point], title: str) -> str:
    """Return the plot: returns per second (left axis) and master CPU per return (right axis) against minions."""
    most = max(point.minions for point in found)
    rates = _scale(max(point.rate for point in found))
    costs = _scale(max(point.cost for point in found))
    body = [
        f'<text x="{WIDTH / 2}" y="28" text-anchor="middle" font-size="16">{escape(title)}</text>',
        *_axes(most, rates, costs),
        *_curve([(point.minions / most, point.rate / rates) for point in found], RATE),
        *_curve([(point.minions / most, point.cost / costs) for point in found], COST),
        *(_label(_x(point.minions / most), HEIGHT - BOTTOM + 20, str(point.minions)) for point in found),
        _label(LEFT + _inner()[0] / 2, HEIGHT - 16, "minions"),
    ]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>', *body, "</svg>\n"])


def _axes(most: int, rates: float, costs: float) -> list[str]:
    assert most
    lines = []
    for step in range(5):
        share = step / 4
        y = _y(share)
        lines.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#ddd"/>')
        lines.append(_label(LEFT - 8, y + 4, f"{rates * share:g}", "end", RATE))
        lines.append(_label(WIDTH - RIGHT + 8, y + 4, f"{costs * share:g}", "start", COST))
    lines.append(_label(LEFT - 8, TOP - 14, "returns/s", "middle", RATE))
    lines.append(_label(WIDTH - RIGHT + 8, TOP - 14, "master CPU, ms/return", "middle", COST))
    return lines


def _curve(shares: Sequence[tuple[float, float]], colour: str) -> list[str]:
    places = [(_x(across), _y(up)) for across, up in shares]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    line = f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
    return [line, *(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>' for x, y in places)]


def _label(x: float, y: float, text: str, anchor: str = "middle", colour: str = "#333") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="12" fill="{colour}">{escape(text)}</text>'


def _inner() -> tuple[int, int]:
    return WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM


def _x(share: float) -> float:
    return LEFT + share * _inner()[0]


def _y(share: float) -> float:
    return HEIGHT - BOTTOM - share * _inner()[1]


def _scale(value: float) -> float:
    """Return the next round number (1, 2, 4, 8 or 10 times a power of ten) at or above ``value``."""
    value, power = value or 1.0, 1.0
    while value > 10 * power:
        power *= 10
    while value <= power:
        power /= 10
    return next(step * power for step in (1, 2, 4, 8, 10) if step * power >= value * 0.999)
