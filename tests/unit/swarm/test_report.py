"""What a report keeps of a run."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saltext_logilab.errors import ConfigurationError
from saltext_logilab.swarm import report


def values(samples: list[Any]) -> dict[str, Any]:
    return {"samples": samples, "counts": {"answered": samples[-1]["answered"]}}


@given(st.lists(st.integers(0, 2), min_size=1, max_size=60))
def test_idle_times_are_kept_in_two_samples(came: list[int]) -> None:
    """The rate and the cost of a burst are those of all samples, however long nothing happened before and after."""
    every, kept, answered = [], [], 0
    for second, more in enumerate(came):
        answered += more
        every.append({"seconds": float(second), "answered": answered, "master_cpu": answered * 0.25 + second})
        kept = report.kept(kept, every[-1])
    assert kept[-1] == every[-1]
    assert len(kept) <= 2 * len({one["answered"] for one in every})
    try:
        wanted = report.burst(values(every))
    except ConfigurationError:
        with pytest.raises(ConfigurationError):
            report.burst(values(kept))
    else:
        assert report.burst(values(kept)) == wanted
