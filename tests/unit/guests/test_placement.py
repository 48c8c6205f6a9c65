"""Where guests fit, plans to move them, and how a plan is carried out: nothing is promised twice, all is explained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saltext_logilab.errors import ConfigurationError, LogilabError, RefusedError
from saltext_logilab.guests import settings
from saltext_logilab.guests.moves import Bounds, Convoy, Move, Plan, burden, evacuate, rebalance, relocate
from saltext_logilab.guests.placement import STRATEGIES, Load, Room, Rules, cpus_left, memory_left, place, refusal
from saltext_logilab.guests.sizes import GIB

NAMES = [f"{kind}{number}" for kind in ("web", "db") for number in range(4)]
LOADS = st.builds(Load, st.sampled_from(NAMES), st.integers(1, 8), st.integers(1, 8).map(lambda gib: gib * GIB))
RULES = st.builds(
    Rules,
    reserve=st.integers(0, 4).map(lambda gib: gib * GIB),
    overcommit=st.floats(0.5, 4),
    apart=st.lists(st.sampled_from([("web*",), ("db1", "web1"), ("nobody",)]), max_size=2).map(tuple),
    strategy=st.sampled_from(STRATEGIES),
)


@st.composite
def fleets(draw: st.DrawFn) -> list[Room]:
    """Hosts with some guests, each guest on one of them."""
    guests = draw(st.lists(LOADS, max_size=8, unique_by=lambda one: one.name))
    number = draw(st.integers(1, 4))
    homes = draw(st.lists(st.integers(0, number - 1), min_size=len(guests), max_size=len(guests)))
    sizes = draw(st.lists(st.integers(1, 32), min_size=number, max_size=number))
    return [
        Room(
            f"h{index}",
            sizes[index],
            sizes[index] * GIB,
            {one.name: one for one, home in zip(guests, homes, strict=True) if home == index},
        )
        for index in range(number)
    ]


BOUNDS = st.builds(
    Bounds,
    st.dictionaries(st.sampled_from(NAMES), st.just("it has a local disk"), max_size=2),
    st.dictionaries(
        st.sampled_from(NAMES), st.dictionaries(st.sampled_from(["h0", "h1"]), st.just("another processor")), max_size=3
    ),
)


def after(rooms: list[Room], plan: Plan) -> dict[str, Room]:
    """Return the hosts when ``plan`` was carried out; each move has to begin where the guest is."""
    hosts = {room.name: room for room in rooms}
    for move in plan.moves:
        guest = hosts[move.source].guests[move.guest]
        hosts[move.source] = hosts[move.source].without(move.guest)
        hosts[move.target] = hosts[move.target].with_guest(guest)
    return hosts


def check_moves(rooms: list[Room], plan: Plan, rules: Rules, bounds: Bounds) -> None:
    """No host that gets a guest is promised more than it has at that moment, and none gets what it must not have."""
    for number, move in enumerate(plan.moves, start=1):
        room = after(rooms, Plan(plan.moves[:number], {}))[move.target]
        assert memory_left(room, rules) >= 0
        assert cpus_left(room, rules) >= 0
        assert room.name not in bounds.forbidden.get(move.guest, {})
        assert move.guest not in bounds.stuck
        for group in rules.apart:
            if any(fnmatchcase(move.guest, one) for one in group):
                there = [other for other in room.guests if any(fnmatchcase(other, one) for one in group)]
                assert there == [move.guest]


@given(fleets(), LOADS, RULES)
def test_a_choice_fits_and_is_explained(rooms: list[Room], guest: Load, rules: Rules) -> None:
    """There is a sentence for each host; the one that was chosen has room, and most or least of all that have."""
    choice = place(rooms, guest, rules)
    assert set(choice.why) == {room.name for room in rooms}
    fitting = {room.name: memory_left(room, rules) for room in rooms if refusal(room, guest, rules) is None}
    assert (choice.host in fitting) if fitting else (choice.host is None)
    if choice.host:
        best = max if rules.strategy == "spread" else min
        assert fitting[choice.host] == best(fitting.values())
    assert place(list(reversed(rooms)), guest, rules) == replace(choice, why=dict(choice.why))


@given(fleets(), RULES, BOUNDS)
def test_an_evacuation_names_every_guest_once(rooms: list[Room], rules: Rules, bounds: Bounds) -> None:
    """Each guest of the host moves or is stuck, with a reason; the others are promised no more than they have."""
    plan = evacuate(rooms, "h0", rules, bounds)
    assert sorted([*[move.guest for move in plan.moves], *plan.stuck]) == sorted(rooms[0].guests)
    assert all(plan.stuck.values())
    assert set(after(rooms, plan)["h0"].guests) == set(plan.stuck)
    check_moves(rooms, plan, rules, bounds)


@given(fleets(), RULES, BOUNDS, st.integers(0, 5))
def test_each_move_of_a_rebalance_evens(rooms: list[Room], rules: Rules, bounds: Bounds, most: int) -> None:
    """No more moves than allowed, each makes the burdens more even, and it comes to an end."""
    plan = rebalance(rooms, rules, bounds, most=most, tolerance=0.05)
    assert len(plan.moves) <= most
    check_moves(rooms, plan, rules, bounds)
    squares = [
        sum(burden(room) ** 2 for room in after(rooms, Plan(plan.moves[:number], {})).values())
        for number in range(len(plan.moves) + 1)
    ]
    assert squares == sorted(squares, reverse=True)
    assert len(set(squares)) == len(squares)
    again = rebalance(list(after(rooms, plan).values()), rules, bounds, most=10**6, tolerance=0.05)
    assert len(plan.moves) == most or again.moves == ()


def test_sentences() -> None:
    """What people read of a choice, and of a guest that cannot move."""
    rooms = [Room("a", 4, 8 * GIB), Room("b", 4, 16 * GIB, {"web1": Load("web1", 1, GIB)}), Room("c", 4, 2 * GIB)]
    rules = Rules(apart=(("web*",),))
    web = Load("web2", 2, 4 * GIB)
    assert dict(place(rooms, web, rules, {"d": "it is silent"}).why) == {
        "a": "chosen: 3072 MiB would be left, the most",
        "b": "shall not be with web1",
        "c": "needs 4096 MiB, 1024 MiB are left",
        "d": "it is silent",
    }
    assert place(rooms, Load("db", 17, GIB), rules).why["a"] == "needs 17 processors, 16 are left"
    assert relocate([], web, "a", rules, Bounds()).stuck == {"web2": "no host can have it (there is no other)"}
    stuck = relocate(rooms, web, "a", rules, Bounds(forbidden={"web2": {"b": "no such machine"}})).stuck
    assert stuck == {"web2": "no host can have it (b: no such machine; c: needs 4096 MiB, 1024 MiB are left)"}


@dataclass
class Hosts:
    """Hosts whose tasks end after a number of looks, as told."""

    ends: Mapping[str, str]
    looks: int = 0
    most: int = 0
    going: list[str] = field(default_factory=list)

    def start(self, move: Move) -> str:
        if self.ends[move.guest] == "refused":
            raise RefusedError("no room")
        self.going.append(move.guest)
        self.most = max(self.most, len(self.going))
        return move.guest

    def look(self, sources: set[str]) -> dict[tuple[str, str], dict[str, Any]]:
        assert sources == {"a"}
        self.looks += 1
        if self.looks % 2:
            return {}  # silent
        name = self.going.pop(0)
        return {("a", name): {"state": self.ends[name], "reason": "why"}, ("a", "other"): {"state": "done"}}


def carried(ends: dict[str, str], parallel: int) -> tuple[list[str], dict[str, str], list[str], Hosts]:
    """Carry moves out that end so, and return what came of it."""
    hosts = Hosts(ends)
    convoy = Convoy(hosts.start, hosts.look, parallel, lambda _line: None, pause=lambda _seconds: None)
    outcome = convoy.run([Move(name, "a", "b") for name in ends], 3600)
    return [one.guest for one in outcome.done], dict(outcome.failed), [one.guest for one in outcome.left], hosts


@given(st.lists(st.sampled_from(["done", "failed", "refused"]), max_size=8), st.integers(1, 3))
def test_a_convoy_ends_at_the_first_failure(ends: list[str], parallel: int) -> None:
    """Every guest is told of once, no more go at a time than allowed, and none begins after a failure was seen."""
    told = {f"g{number}": end for number, end in enumerate(ends)}
    done, failed, left, hosts = carried(told, parallel)
    assert sorted([*done, *failed, *left]) == sorted(told)
    assert hosts.most <= parallel
    assert hosts.going == []
    assert all(told[name] == "done" for name in done)
    assert bool(failed) or not left


def test_a_move_waits_for_the_room_that_another_one_leaves() -> None:
    """Also when more could go at a time: what a plan promises is there when it is needed."""
    moves = [Move("web", "a", "c"), Move("db", "b", "c"), Move("web", "c", "b"), Move("mail", "a", "c")]
    going: dict[tuple[str, str], Move] = {}
    began: list[list[Move]] = []

    def start(move: Move) -> str:
        began.append([move, *going.values()])
        going[move.source, move.guest] = move
        return move.guest

    def look(_sources: set[str]) -> dict[tuple[str, str], dict[str, Any]]:
        key = next(iter(going))
        del going[key]
        return {key: {"state": "done"}}

    done = Convoy(start, look, 3, lambda _line: None, pause=lambda _seconds: None).run(moves, 3600).done
    assert began == [[moves[0]], [moves[1], moves[0]], [moves[2]], [moves[3]]]
    assert done == tuple(moves)


def test_a_convoy_tells_why() -> None:
    """One that failed in its task, one that was refused, and what goes on when time is up."""
    assert carried({"a": "done", "b": "failed", "c": "done"}, 1)[:3] == (["a"], {"b": "failed: why"}, ["c"])
    assert carried({"a": "refused", "b": "done"}, 2)[:3] == ([], {"a": "no room"}, ["b"])
    convoy = Convoy(lambda _move: "1", lambda _sources: {}, 1, lambda _line: None)
    assert convoy.run([Move("g", "a", "b")], 0).failed == {"g": "not ended within 0 s; the task goes on"}


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"strategy": "random"}, "strategy must be one of spread, pack"),
        ({"overcommit": 0}, "overcommit more than 0"),
        ({"apart": ["web*"]}, "apart must be lists"),
        ({"reserve": 1}, "reserve is not a known setting"),
    ],
)
def test_wrong_rules_are_sentences(told: dict[str, Any], words: str) -> None:
    """A misspelt key or an impossible value names itself; the right ones are read."""
    with pytest.raises(ConfigurationError, match=words):
        settings.read_rules({"logilab": {"guests": {"placement": told}}})
    right = {"strategy": "pack", "overcommit": 2, "reserve_memory_mib": 0, "apart": [["a", "b*"]]}
    rules = settings.read_rules({"logilab": {"guests": {"placement": right}}})
    assert rules == Rules(0, 2.0, (("a", "b*"),), "pack")
    assert issubclass(ConfigurationError, LogilabError)
