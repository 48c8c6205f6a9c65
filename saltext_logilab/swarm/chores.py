"""
What minions do by themselves: mine, beacons, events, pings, and being away by timetable.

Each minion begins at a moment of its own within the interval, so that a thousand of them are no burst.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from saltext_logilab.swarm import functions
from saltext_logilab.swarm.behaviour import Flapping, Periodic
from saltext_logilab.swarm.engine import Engine, read_acknowledgement
from saltext_logilab.swarm.functions import Call
from saltext_logilab.swarm.jobs import Deed, Question
from saltext_logilab.swarm.joining import Joining
from saltext_logilab.swarm.seats import Seat, State


class Chores:
    """The chores of all minions."""

    def __init__(self, engine: Engine) -> None:
        """Do nothing yet."""
        self._engine = engine
        self._joining: Joining | None = None

    def bind(self, joining: Joining) -> None:
        """Let ``joining`` bring minions back, and fetch their pillar."""
        self._joining = joining

    def deeds(self) -> dict[str, Deed]:
        """Return the functions of a job that do something at the master."""
        return {
            "mine.update": lambda seat, _call: self._update_mine(seat),
            "mine.send": self._send_mine,
            "mine.flush": lambda seat, _call: self._send(seat, {"cmd": "_mine_flush"}, "mines"),
            "mine.delete": self._delete_mine,
            "event.send": self._send_event,
            "event.fire_master": lambda seat, call: self._fire(seat, call.args[1], call.args[0], "events"),
            "saltutil.refresh_pillar": lambda seat, _call: self._refresh_pillar(seat),
            "saltutil.refresh_mine": lambda seat, _call: self._update_mine(seat),
        }

    def questions(self) -> dict[str, Question]:
        """Return the functions of a job that ask the master, and what they ask."""
        return {"mine.get": _mine_get}

    def begin(self, seat: Seat) -> None:
        """Begin the chores of a minion that has come to a master: for the first time, or again after it was away."""
        minion, group = seat.minion, seat.minion.group
        self._update_mine(seat)
        if seat.busy:
            return
        seat.busy = True
        self._flap(seat)
        if group.mine:
            self._engine.after(group.mine.interval, self._mine_again, seat)
        for kind, periodics in (("beacons", group.beacons), ("events", group.events)):
            for periodic in periodics:
                first = periodic.interval * minion.chance(f"{kind} {periodic.name}")
                self._engine.after(first, self._periodic, seat, periodic, kind, 1)
        if self._engine.spec.ping_interval:
            self._engine.after(self._engine.spec.ping_interval * minion.chance("ping"), self._ping, seat)

    def _flap(self, seat: Seat) -> None:
        """Follow the timetable of the group, if it has one and the minion is one of its share."""
        flapping = seat.minion.group.flapping
        if flapping and seat.minion.chance("flapping") < flapping.share:
            self._follow(seat, flapping)

    def _follow(self, seat: Seat, flapping: Flapping) -> None:
        assert self._joining
        away = flapping.away(self._engine.now)
        if away and seat.state is not State.AWAY:
            self._joining.leave(seat)
        elif not away and seat.state is State.AWAY and self._has_seat(seat):
            self._joining.come_back(seat)
        then = flapping.next_change(self._engine.now)
        if then is not None:
            self._engine.after(then - self._engine.now + 0.001, self._follow, seat, flapping)

    def _has_seat(self, seat: Seat) -> bool:
        return seat.master.seats.get(seat.minion.id) is seat

    def _mine_again(self, seat: Seat) -> None:
        mine = seat.minion.group.mine
        if mine and self._has_seat(seat):
            self._update_mine(seat)
            self._engine.after(mine.interval, self._mine_again, seat)

    def _periodic(self, seat: Seat, periodic: Periodic, kind: str, number: int) -> None:
        if not self._has_seat(seat):
            return
        if seat.state is State.JOINED:
            scene = seat.minion.scene(lambda purpose: seat.minion.chance(purpose, number), number=number)
            data = periodic.data.make(scene)
            if kind == "beacons" and isinstance(data, Mapping):
                data = {"id": seat.minion.id, **data}
            self._fire(seat, str(periodic.tag.make(scene)), data, kind)
        self._engine.after(periodic.interval, self._periodic, seat, periodic, kind, number + 1)

    def _ping(self, seat: Seat) -> None:
        if self._has_seat(seat):
            if seat.state is State.JOINED:
                self._fire(seat, "minion_ping", "ping", "pings")
            self._engine.after(self._engine.spec.ping_interval, self._ping, seat)

    def _fire(self, seat: Seat, tag: str, data: object, kind: str) -> None:
        self._send(seat, {"cmd": "_minion_event", "tag": tag, "data": data, "pretag": None}, kind)

    def _send_event(self, seat: Seat, call: Call) -> None:
        data = call.kwargs.get("data", call.args[1] if len(call.args) > 1 else {})
        self._fire(seat, str(call.args[0]), data, "events")

    def _send_mine(self, seat: Seat, call: Call) -> None:
        alias, fun = str(call.args[0]), str(call.kwargs.get("mine_function", call.args[0]))
        value = self._value(seat, fun, call.args[1:])
        self._send(seat, {"cmd": "_mine", "data": {alias: value}, "clear": False}, "mines")

    def _delete_mine(self, seat: Seat, call: Call) -> None:
        self._send(seat, {"cmd": "_mine_delete", "fun": str(call.args[0])}, "mines")

    def _update_mine(self, seat: Seat) -> None:
        mine = seat.minion.group.mine
        if mine is None or seat.state is not State.JOINED:
            return
        functions_of_mine = mine.functions

        def load() -> dict[str, Any]:
            data = {alias: self._value(seat, fun, args) for alias, (fun, args) in functions_of_mine.items()}
            return {"cmd": "_mine", "data": data, "clear": False}

        self._engine.ask(seat, load, lambda well, _answer: self._count("mines", well), read_acknowledgement)

    def _value(self, seat: Seat, fun: str, args: tuple[Any, ...]) -> Any:
        minion = seat.minion
        call = Call(fun, args, {}, "", minion.chance)
        return functions.answer(minion, call, list).value

    def _refresh_pillar(self, seat: Seat) -> None:
        assert self._joining
        self._joining.ask_pillar(seat, lambda: None)

    def _send(self, seat: Seat, load: dict[str, Any], kind: str) -> None:
        if seat.state is not State.AWAY:
            self._engine.ask(seat, lambda: load, lambda well, _answer: self._count(kind, well), read_acknowledgement)

    def _count(self, kind: str, well: bool) -> None:
        counts = self._engine.counters.counts
        setattr(counts, kind, getattr(counts, kind) + well)


def _mine_get(tgt: str, fun: str, tgt_type: str = "glob") -> dict[str, Any]:
    return {"cmd": "_mine_get", "tgt": tgt, "fun": fun, "tgt_type": tgt_type}
