"""The mine outbox: what a master lacks is told whole, whatever happened while it was away."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saltext_logilab.errors import UnavailableError
from saltext_logilab.masters.data.versions import OUTBOX
from saltext_logilab.masters.delivery import Delivery
from saltext_logilab.masters.mine.courier import RETRY, Courier, Load, loads
from saltext_logilab.masters.mine.outbox import Batch, Outbox


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    """An empty outbox."""
    made = Outbox(tmp_path / "state" / "outbox.db")
    yield made
    made.close()


class Master:
    """The mine of one minion as a master of Salt keeps it: what its three requests do there."""

    def __init__(self) -> None:
        self.mine: dict[str, Any] = {}
        self.outbox: dict[str, Any] = {}
        self.dead = False
        self.requests: list[str] = []

    def take(self, load: Load) -> object:
        """Do a request as ``salt.daemons.masterapi`` does."""
        if self.dead:
            raise UnavailableError("no answer")
        self.requests.append(load["cmd"])
        if load["cmd"] == "_mine_flush":
            self.mine.clear()
        elif load["cmd"] == "_mine":
            self.mine.update({name: value for name, value in load["data"].items() if name != OUTBOX})
            self.outbox = load["data"][OUTBOX]
        else:
            self.mine.pop(load["fun"], None)
        return True


def courier(outbox: Outbox, master: Master, name: str = "paris") -> Delivery:
    """Return the delivery to ``master``; values travel as they are."""
    return Courier(outbox, name, "web1", master.take, bytes).delivery()


def test_a_new_master_gets_everything_and_nothing_else(outbox: Outbox) -> None:
    """What the mine of a new master held before is no longer there."""
    outbox.put({"a": b"1", "b": b"2"})
    master = Master()
    master.mine = {"old": b"0"}
    assert courier(outbox, master).attempt()
    assert master.mine == {"a": b"1", "b": b"2"}


def test_an_empty_outbox_asks_nothing(outbox: Outbox) -> None:
    """Before the first value there is nothing to bring, and no master is emptied."""
    master = Master()
    assert courier(outbox, master).attempt()
    assert master.requests == []


def test_only_the_latest_value_is_sent(outbox: Outbox) -> None:
    """What was replaced while a master was away is not replayed."""
    master = Master()
    for number in range(100):
        outbox.put({"a": str(number).encode()})
    courier(outbox, master).attempt()
    assert (master.mine, master.requests) == ({"a": b"99"}, ["_mine_flush", "_mine"])
    outbox.put({"b": b"1"})
    courier(outbox, master).attempt()
    assert master.requests[2:] == ["_mine"]


def test_a_dead_master_holds_up_nobody(outbox: Outbox) -> None:
    """The other master has each value; the dead one has them, deletes too, when it is back; all is told meanwhile."""
    healthy, dead = Master(), Master()
    couriers = [courier(outbox, healthy), courier(outbox, dead, "nantes")]
    outbox.put({"a": b"1", "b": b"1"})
    assert [one.attempt() for one in couriers] == [True, True]
    dead.dead = True
    outbox.put({"a": b"2"})
    outbox.delete("b")
    assert [one.attempt() for one in couriers] == [True, False]
    assert healthy.mine == {"a": b"2"}
    standings = {one.master: (one.behind, one.problem) for one in outbox.standings()}
    assert standings == {"nantes": (2, "no answer"), "paris": (0, None)}
    dead.dead = False
    assert couriers[1].attempt()
    assert dead.mine == {"a": b"2"}
    assert [one.behind for one in outbox.standings()] == [0, 0]


def test_a_value_is_kept_over_a_restart(outbox: Outbox) -> None:
    """Another process that opens the same file brings what the first could not."""
    outbox.put({"a": b"1"})
    again, master = Outbox(outbox.path), Master()
    assert courier(again, master).attempt()
    again.close()
    assert master.mine == {"a": b"1"}


def test_a_request_without_effect_is_repeated(outbox: Outbox) -> None:
    """A master that answers with nothing has not taken it."""
    outbox.put({"a": b"1"})
    refusing = Courier(outbox, "paris", "web1", lambda _load: {}, bytes).delivery()
    assert not refusing.attempt()
    assert "did not take _mine_flush" in str(outbox.standings()[0].problem)


def test_it_waits_longer_after_each_failure(outbox: Outbox) -> None:
    """The wait doubles up to a bound, and begins anew after a success."""
    master = Master()
    master.dead = True
    outbox.put({"a": b"1"})
    one = courier(outbox, master)
    waits = []
    for _ in range(8):
        one.attempt()
        waits.append(one.delay)
    assert waits == sorted(waits)
    assert waits[-1] == RETRY
    master.dead = False
    one.attempt()
    assert one.delay == 0


def test_a_silent_master_is_forgotten_and_then_a_new_one(outbox: Outbox) -> None:
    """A delete is not kept for a master that never comes back; should it come back, it is emptied first."""
    master = Master()
    outbox.put({"a": b"1"})
    courier(outbox, master).attempt()
    outbox.forget_silent(2**40)
    outbox.delete("a")
    outbox.put({"b": b"2"})
    courier(outbox, master).attempt()
    assert master.mine == {"b": b"2"}


def test_deletes_that_all_masters_have_leave_nothing(outbox: Outbox) -> None:
    """The outbox does not grow with the names that were ever used."""
    masters = {name: Master() for name in ("paris", "nantes")}
    for number in range(50):
        outbox.put({f"f{number}": b"1"})
        outbox.delete(f"f{number}")
    for name, master in masters.items():
        courier(outbox, master, name).attempt()
    assert [one.behind for one in outbox.standings()] == [0, 0]
    left = outbox.after(1)
    assert left == Batch(100, flush=False, values={}, deleted=(), incarnation=left.incarnation)


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.dictionaries(st.sampled_from("abc"), st.binary(max_size=2)), st.booleans()),
        st.tuples(st.just("delete"), st.sampled_from("abc")),
        st.tuples(st.just("flush")),
        st.tuples(st.just("deliver"), st.sampled_from(["paris", "nantes"]), st.booleans()),
    ),
    max_size=30,
)


@settings(max_examples=50)
@given(ACTIONS)
def test_every_master_ends_with_the_latest_values(actions: list[tuple[Any, ...]]) -> None:
    """Whatever is put, deleted and flushed, and whoever is away meanwhile: in the end each master has just that."""
    with tempfile.TemporaryDirectory() as folder, closing(Outbox(Path(folder) / "outbox.db")) as outbox:
        check_history(outbox, actions)


def check_history(outbox: Outbox, actions: list[tuple[Any, ...]]) -> None:
    """Do ``actions``, then let every master have what it lacks, and compare."""
    wanted: dict[str, bytes] = {}
    masters = {name: Master() for name in ("paris", "nantes")}
    couriers = {name: courier(outbox, master, name) for name, master in masters.items()}
    for what, *arguments in actions:
        if what == "put":
            values, clear = arguments
            wanted = values if clear else wanted | values
            outbox.put(values, clear=clear)
        elif what == "delete":
            wanted = {name: value for name, value in wanted.items() if name != arguments[0]}
            outbox.delete(arguments[0])
        elif what == "flush":
            wanted = {}
            outbox.flush()
        else:
            masters[arguments[0]].dead = arguments[1]
            couriers[arguments[0]].attempt()
    for name, master in masters.items():
        master.dead = False
        assert couriers[name].attempt()
        assert master.mine == wanted


def test_the_requests_are_those_of_salt() -> None:
    """A flush, deletes, then values and how far the master is; Salt's own ``clear`` fails there: it is not used."""
    batch = Batch(7, flush=True, values={"a": b"1"}, deleted=("b",), incarnation="00ff")
    values = {"a": b"1", OUTBOX: {"incarnation": "00ff", "counter": 7}}
    assert list(loads(batch, "web1", bytes)) == [
        {"cmd": "_mine_flush", "id": "web1"},
        {"cmd": "_mine_delete", "id": "web1", "fun": "b"},
        {"cmd": "_mine", "id": "web1", "data": values, "clear": False},
    ]


def test_a_damaged_outbox_is_one_sentence(tmp_path: Path) -> None:
    """A file that is no database, or of a newer version, is told by its path."""
    (tmp_path / "outbox.db").write_bytes(b"no database" * 100)
    with pytest.raises(UnavailableError, match=r"outbox\.db cannot be"):
        Outbox(tmp_path / "outbox.db")
    newer = sqlite3.connect(tmp_path / "newer.db")
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(UnavailableError, match="has version 99"):
        Outbox(tmp_path / "newer.db")


def test_the_outbox_is_closed_to_others(outbox: Outbox) -> None:
    """Mine data may be confidential."""
    assert outbox.path.stat().st_mode & 0o077 == 0
