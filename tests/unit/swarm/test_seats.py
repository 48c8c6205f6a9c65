"""How minions stand with their masters, and what is counted of it."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from saltext_logilab.swarm import minions, spec
from saltext_logilab.swarm.seats import Master, State

CAST = minions.cast(spec.from_data({"groups": {"web": {"count": 4}}}))
STEPS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from([*State, "busy", "idle", "leave"])), max_size=40)


@given(STEPS, st.booleans())
def test_seats_are_counted_as_they_stand(steps: list[tuple[int, object]], up: bool) -> None:
    """Whatever minions do, the numbers are those that a count of all seats gives, and so are the problems."""
    master = Master("127.0.0.1", "127.0.0.1", 4506, up=up, subscribed=True)
    seats = {minion.id: master.seat(minion) for minion in CAST}
    for number, step in steps:
        seat = seats[CAST[number].id]
        if isinstance(step, State):
            seat.state = step
        elif step in ("busy", "idle"):
            seat.busy = step == "busy"
        elif seat.minion.id in master.seats:
            master.unseat(seat)
    there = list(master.seats.values())
    assert +master.tally == Counter(seat.state for seat in there)
    assert master.settled == sum(seat.busy and seat.state is State.JOINED for seat in there)
    problems = [problem for seat in there if (problem := seat.problem())]
    assert list(master.problems()) == problems
