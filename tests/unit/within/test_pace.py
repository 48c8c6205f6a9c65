"""How often a minion is told to look."""

from __future__ import annotations

from saltext_logilab.within.pace import BURST, REFILL, REST, Pace


def test_a_burst_and_what_never_ends():
    """At once, then each second; what goes on for long is slowed down, and a rest lets it be quick again."""
    pace, now = Pace(), 1000.0
    assert pace.due <= now
    waits = []
    for _ in range(200):
        pace.took(now)
        waits.append(pace.due - now)
        now = pace.due
    assert waits[0] == REST
    assert set(waits[: int(BURST) - 2]) == {REST}
    assert waits[100:].count(REFILL) > 90
    now += 2 * BURST * REFILL
    pace.took(now)
    assert pace.due == now + REST
