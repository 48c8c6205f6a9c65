"""Draws and distributions: the same from run to run, and as told."""

from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saltext_logilab.swarm import distributions
from saltext_logilab.swarm.behaviour import Flapping
from saltext_logilab.swarm.counters import Histogram
from saltext_logilab.swarm.draws import draw

DRAWS = st.floats(0, 1, exclude_max=True)


@given(st.integers(), st.text(), st.text(), st.integers(0))
def test_a_draw_depends_on_its_arguments_alone(seed: int, minion: str, purpose: str, number: int) -> None:
    """Draws are repeatable in any order and stay in [0, 1)."""
    once = draw(seed, minion, purpose, number)
    assert 0 <= once < 1
    draw(seed, minion, "something else", number)
    assert draw(seed, minion, purpose, number) == once


def test_draws_are_uniform_and_differ_by_minion() -> None:
    """Many draws fill [0, 1) evenly, and two minions do not have the same."""
    many = [draw(1, f"m{number}", "drop", 3) for number in range(5000)]
    assert abs(fmean(many) - 0.5) < 0.02
    assert len(set(many)) == 5000
    assert sum(value < 0.1 for value in many) == pytest.approx(500, abs=80)


@pytest.mark.parametrize(
    ("distribution", "mean"),
    [
        (distributions.Constant(2), 2),
        (distributions.Uniform(1, 3), 2),
        (distributions.Normal(2, 0.1), 2),
        (distributions.LogNormal(2, 0.1), 2.01),
        (distributions.Exponential(2), 2),
    ],
)
def test_distributions_have_their_mean(distribution: distributions.Distribution, mean: float) -> None:
    """The mean over evenly spaced draws is the distribution's."""
    values = [distribution.at((number + 0.5) / 2000) for number in range(2000)]
    assert fmean(values) == pytest.approx(mean, rel=0.01)
    assert values == sorted(values)


@given(DRAWS, st.floats(0, 100), st.floats(0, 3))
def test_no_distribution_gives_a_negative_time(at: float, first: float, second: float) -> None:
    """Whatever the draw, a time is 0 or more and finite."""
    made = (
        distributions.Normal(first, second),
        distributions.LogNormal(first, second),
        distributions.Exponential(first),
        distributions.Uniform(first, first + second),
    )
    assert all(0 <= one.at(at) < float("inf") for one in made)


def test_flapping_follows_its_timetable() -> None:
    """A minion is away in its windows, again in each period, and the next change is known."""
    once = Flapping(((10, 5),))
    assert [once.away(seconds) for seconds in (9.9, 10, 14.9, 15, 70)] == [False, True, True, False, False]
    assert [once.next_change(seconds) for seconds in (0, 10, 15)] == [10, 15, None]
    again = Flapping(((10, 5),), repeat=60)
    assert again.away(70)
    assert [again.next_change(seconds) for seconds in (0, 12, 15, 71)] == [10, 15, 70, 75]


@given(st.lists(st.floats(0.001, 100), min_size=1))
def test_percentiles_are_right_within_a_bucket(durations: list[float]) -> None:
    """The histogram's median is at most one bucket (12 %) above the true one, and never above the maximum."""
    histogram = Histogram()
    for one in durations:
        histogram.add(one)
    true = sorted(durations)[(len(durations) - 1) // 2]
    assert true * 0.999 <= histogram.percentile(0.5) <= true * 1.13
    assert histogram.percentile(1.0) == max(durations)
