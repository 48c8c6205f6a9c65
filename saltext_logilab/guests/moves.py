"""
Plans to move guests: off a host, or until the hosts bear alike; and the carrying out of such a plan.

A plan is a pure decision. It is carried out by tasks of the hosts, some at a time, and ends at the first failure; what
is left then is planned anew from what is true by that time, so it can be taken up again whenever one likes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from saltext_logilab.errors import LogilabError
from saltext_logilab.guests.placement import Load, Room, Rules, place, refusal

EPSILON = 1e-9


@dataclass(frozen=True)
class Move:
    """A guest that goes from one host to another."""

    guest: str
    source: str
    target: str


@dataclass(frozen=True)
class Bounds:
    """
    What no rule can change.

    :param stuck: guests that cannot leave their host, with the reason.
    :param forbidden: by guest the hosts that cannot have it, with the reason.
    """

    stuck: Mapping[str, str] = field(default_factory=dict)
    forbidden: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """The moves in their order, and the guests that cannot move, each with the reason."""

    moves: tuple[Move, ...]
    stuck: Mapping[str, str]


def relocate(rooms: Iterable[Room], guest: Load, source: str, rules: Rules, bounds: Bounds) -> Plan:
    """Return how ``guest`` leaves the host ``source`` for one of ``rooms``."""
    if guest.name in bounds.stuck:
        return Plan((), {guest.name: bounds.stuck[guest.name]})
    choice = place((room for room in rooms if room.name != source), guest, rules, bounds.forbidden.get(guest.name))
    if choice.host is None:
        told = "; ".join(f"{name}: {why}" for name, why in sorted(choice.why.items()) if name != source)
        return Plan((), {guest.name: f"no host can have it ({told or 'there is no other'})"})
    return Plan((Move(guest.name, source, choice.host),), {})


def evacuate(rooms: Iterable[Room], source: str, rules: Rules, bounds: Bounds) -> Plan:
    """Return how all guests leave the host ``source``, the largest first."""
    hosts = {room.name: room for room in rooms}
    moves: list[Move] = []
    stuck: dict[str, str] = {}
    for guest in sorted(hosts[source].guests.values(), key=lambda one: (-one.memory, one.name)):
        plan = relocate(hosts.values(), guest, source, rules, bounds)
        moves += plan.moves
        stuck |= plan.stuck
        for move in plan.moves:
            hosts[move.target] = hosts[move.target].with_guest(guest)
    return Plan(tuple(moves), stuck)


def rebalance(rooms: Iterable[Room], rules: Rules, bounds: Bounds, *, most: int, tolerance: float) -> Plan:
    """
    Return the moves that let the hosts bear alike, by the part of their memory that guests may use.

    :param most: no more moves than this.
    :param tolerance: it is good enough when no two hosts differ by more than this part.
    """
    hosts = {room.name: room for room in rooms}
    moves: list[Move] = []
    while len(moves) < most and _uneven(hosts.values()) > tolerance:
        best = _best(hosts, rules, bounds)
        if best is None:
            break
        guest = hosts[best.source].guests[best.guest]
        hosts[best.source] = hosts[best.source].without(best.guest)
        hosts[best.target] = hosts[best.target].with_guest(guest)
        moves.append(best)
    return Plan(tuple(moves), {})


def burden(room: Room) -> float:
    """Return which part of its memory a host's guests may use."""
    return room.taken / room.memory if room.memory else 0.0


def _uneven(rooms: Iterable[Room]) -> float:
    burdens = [burden(room) for room in rooms]
    return max(burdens, default=0.0) - min(burdens, default=0.0)


def _best(hosts: Mapping[str, Room], rules: Rules, bounds: Bounds) -> Move | None:
    """Return the move that evens the burdens most; None when each would make them less even."""
    found: list[tuple[float, Move]] = []
    for source in hosts.values():
        for guest in source.guests.values():
            banned = bounds.forbidden.get(guest.name, {})
            if guest.name in bounds.stuck:
                continue
            found += [
                (gain, Move(guest.name, source.name, target.name))
                for target in hosts.values()
                if target is not source
                and target.name not in banned
                and (gain := _gain(source, target, guest)) > EPSILON
                and refusal(target, guest, rules) is None
            ]
    return max(found, key=lambda one: (one[0], one[1].guest, one[1].target), default=(0.0, None))[1]


def _gain(source: Room, target: Room, guest: Load) -> float:
    """Return by how much the squares of the burdens become less."""
    before = burden(source) ** 2 + burden(target) ** 2
    return before - burden(source.without(guest.name)) ** 2 - burden(target.with_guest(guest)) ** 2


@dataclass(frozen=True)
class Outcome:
    """What has become of a plan: guests that have moved, that failed (why), and that were not begun."""

    done: tuple[Move, ...]
    failed: Mapping[str, str]
    left: tuple[Move, ...]


@dataclass
class Convoy:
    """
    The carrying out of a plan.

    :param start: starts a move and returns the task's id; raises a LogilabError.
    :param look: returns how the tasks stand, by host and id; a host that is silent is left out.
    :param parallel: so many at a time.
    :param show: takes a line for people.
    """

    start: Callable[[Move], str]
    look: Callable[[set[str]], Mapping[tuple[str, str], Mapping[str, Any]]]
    parallel: int
    show: Callable[[str], None]
    interval: float = 2.0
    pause: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    done: list[Move] = field(default_factory=list, init=False)
    failed: dict[str, str] = field(default_factory=dict, init=False)
    going: dict[tuple[str, str], Move] = field(default_factory=dict, init=False)

    def run(self, moves: Sequence[Move], timeout: float) -> Outcome:
        """
        Carry ``moves`` out, for at most ``timeout`` seconds; what goes on by then goes on.

        They begin in their order, and one whose target still has a guest that a former one takes away waits for it:
        the plan has promised that room.
        """
        waiting, deadline = list(moves), self.clock() + timeout
        while (waiting and not self.failed) or self.going:
            while waiting and not self.failed and len(self.going) < self.parallel and self._has_room(waiting[0]):
                self._start(waiting.pop(0))
            self._look()
            self.show(f"{len(self.done)} of {len(moves)} guests have moved, {len(self.going)} on their way")
            if self.going and self.clock() >= deadline:
                late = f"not ended within {timeout:g} s; the task goes on"
                self.failed |= {move.guest: late for move in self.going.values()}
                break
            if self.going:
                self.pause(self.interval)
        return Outcome(tuple(self.done), self.failed, tuple(waiting))

    def _has_room(self, move: Move) -> bool:
        """Say whether nothing is on its way out of the target of ``move``, and its guest is where it begins."""
        return all(one.source != move.target and one.guest != move.guest for one in self.going.values())

    def _start(self, move: Move) -> None:
        try:
            self.going[move.source, self.start(move)] = move
        except LogilabError as err:
            self.failed[move.guest] = str(err)

    def _look(self) -> None:
        if not self.going:
            return
        for key, status in self.look({source for source, _ in self.going}).items():
            if key not in self.going or status["state"] in ("pending", "running"):
                continue
            move = self.going.pop(key)
            if status["state"] == "done":
                self.done.append(move)
            else:
                self.failed[move.guest] = f"{status['state']}: {status['reason']}"
