"""Versions of minion data: whoever hears of them in whatever order ends with the same, and with nothing older."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saltext_logilab.errors import WireError
from saltext_logilab.masters.data import versions
from saltext_logilab.masters.data.versions import GRAINS, MINE, OUTBOX, WHOLE, Bank, Part, Version

PARIS, NANTES = b"p" * 8, b"n" * 8
FIRST, SECOND = "00" * 8, "11" * 8

PARTS = st.dictionaries(
    st.sampled_from("ab"),
    st.tuples(st.integers(1, 3), st.sampled_from([b"x", b"y"]), st.integers(0, 2)).map(
        lambda one: Part(Version(*one), repr(one).encode()[:16], 0.0, PARIS)
    ),
)
BANKS = st.one_of(PARTS, PARTS.map(lambda parts: dict.fromkeys([WHOLE], max(parts.values())) if parts else {}))


def merged(ours: Bank, theirs: Bank) -> Bank:
    """Return what a member knows after it has heard of ``theirs``."""
    newer = versions.wanted({part: one.version for part, one in theirs.parts.items()}, ours)
    return versions.adopt(ours, {part: theirs.parts[part] for part in newer})


def seen(bank: Bank, mine: dict[str, Any], by: bytes = PARIS) -> Bank:
    """Return what is known after the mine ``mine`` was seen in the cache."""
    return versions.observe(bank, versions.look(MINE, mine), 0.0, by)


def sent(outbox: str, counter: int, **values: Any) -> dict[str, Any]:
    """Return a mine that came through an outbox."""
    return {**values, OUTBOX: {"incarnation": outbox, "counter": counter}}


@given(BANKS, BANKS, BANKS)
def test_the_order_of_hearing_does_not_matter(first: Any, second: Any, third: Any) -> None:
    """Merging is commutative, associative and idempotent, also of a mine in parts with one that is one part."""
    one, two, three = (Bank("key", parts) for parts in (first, second, third))
    assert merged(one, one) == one
    assert marks(merged(one, two)) == marks(merged(two, one))
    assert marks(merged(merged(one, two), three)) == marks(merged(one, merged(two, three)))


def marks(bank: Bank) -> dict[str, Version]:
    """Return the versions alone: the same version is the same value."""
    return {part: one.version for part, one in bank.parts.items()}


def test_what_a_master_missed_is_older_than_what_the_other_has_seen() -> None:
    """Function by function: a new value of one does not take an old one of another with it."""
    both = seen(Bank("key"), {"a": 1, "b": 1})
    here = seen(seen(both, {"a": 2, "b": 1}), {"a": 2, "b": 2})
    back = seen(both, {"a": 1, "b": 2}, NANTES)  # it was away when a was sent
    assert versions.wanted(marks(here), back) == ["a"]
    assert versions.wanted(marks(back), here) == []
    assert merged(back, here).parts["a"].digest == versions.digest(2)


def test_an_outbox_orders_what_was_seen_apart() -> None:
    """Its counter decides, however often each master has seen a change."""
    both = seen(Bank("key"), sent(FIRST, 1, a=1))
    here = both
    for counter in range(2, 6):
        here = seen(here, sent(FIRST, counter, a=counter))
    there = seen(both, sent(FIRST, 9, a=9), NANTES)
    assert versions.wanted(marks(there), here) == [WHOLE]
    assert versions.wanted(marks(here), there) == []


def test_another_outbox_begins_anew() -> None:
    """One that was lost: its successor counts from one, and is newer."""
    old = seen(Bank("key"), sent(FIRST, 80, a=1))
    new = seen(old, sent(SECOND, 1, a=2))
    assert versions.wanted(marks(new), old) == [WHOLE]
    restored = seen(new, sent(SECOND, 1, a=3))
    assert versions.wanted(marks(restored), new) == [WHOLE]


def test_an_outbox_takes_over_a_mine_in_parts() -> None:
    """And is never given up for what was known in parts before."""
    parts = seen(seen(Bank("key"), {"a": 1}), {"a": 2})
    whole = seen(parts, sent(FIRST, 1, a=2))
    assert set(whole.parts) == {WHOLE}
    assert versions.wanted(marks(parts), whole) == []
    assert versions.wanted(marks(whole), parts) == [WHOLE]


def test_what_is_gone_is_a_tombstone_that_is_newer() -> None:
    """A function that was deleted, a mine that was flushed; a value after it is newer still."""
    both = seen(Bank("key"), {"a": 1, "b": 1})
    deleted = seen(both, {"b": 1})
    assert deleted.parts["a"].digest == b""
    assert versions.wanted(marks(deleted), both) == ["a"]
    flushed = seen(seen(Bank("key"), sent(FIRST, 5, a=1)), {})
    assert flushed.parts[WHOLE].digest == b""
    again = seen(flushed, sent(FIRST, 6, a=1))
    assert again.parts[WHOLE].version > flushed.parts[WHOLE].version


def test_grains_of_one_connection_stay_each_masters_own() -> None:
    """The same minion seen by two masters is one version; what is taken over leaves ``master`` alone."""
    here = versions.look(GRAINS, {"os": "Debian", "master": "paris", "pid": 1})
    there = versions.look(GRAINS, {"master": "nantes", "os": "Debian", "pid": 2})
    assert here == there
    held = {"os": "old", "master": "nantes"}
    assert versions.put(GRAINS, held, WHOLE, {"os": "Debian"}) == {"os": "Debian", "master": "nantes"}
    assert versions.put(GRAINS, held, WHOLE, None) == {}


def test_the_highest_epoch_is_no_end() -> None:
    """A member that tells it makes the versions of others no malformed ones."""
    highest = Part(Version(2**63 - 1, b"x", 0), b"x", 0.0, NANTES)
    bank = seen(Bank("key", {"a": highest}), {"a": 1})
    assert versions.unpack(versions.pack(bank.parts["a"], 0.0), 0.0).version == bank.parts["a"].version


@given(st.recursive(st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.binary()), st.lists, max_leaves=5))
def test_a_digest_does_not_depend_on_the_order_of_mappings(value: Any) -> None:
    """And not on whether a sequence came as a tuple; other values have other ones."""
    assert versions.digest({"a": value, "b": 1}) == versions.digest({"b": 1, "a": value})
    assert versions.digest([value]) == versions.digest((value,))
    assert versions.digest({"a": value}) != versions.digest({"b": value})


@pytest.mark.parametrize(
    "told",
    [
        None,
        5,
        [],
        [1, b"", 1, b"", 1.0],
        ["1", b"", 1, b"", 1.0, b""],
        [1, b"", 1, b"", "x", b""],
        [-1, b"", 1, b"", 0, b""],
        [1, b"x" * 17, 1, b"", 0.0, b""],
        [1, b"", 2**63, b"", 0.0, b""],
        [1, b"", 1, b"", float("nan"), b""],
        [1, b"", 1, "", 0, b""],
    ],
)
def test_a_malformed_version_is_refused(told: Any) -> None:
    """Whatever a member sends."""
    with pytest.raises(WireError, match="malformed"):
        versions.unpack(told, 100.0)


@pytest.mark.parametrize("told", [None, 5, {}, {"incarnation": 5, "counter": 1}, {"incarnation": "xx", "counter": 1},
                                  {"incarnation": FIRST, "counter": True}, {"incarnation": FIRST, "counter": -1},
                                  {"incarnation": FIRST + "00", "counter": 1}, {"incarnation": FIRST}])  # fmt: skip
def test_what_is_no_outbox_is_an_entry_like_another(told: Any) -> None:
    """A minion may send anything under that name: its mine is shared in parts then."""
    assert versions.outbox({OUTBOX: told}) is None
    assert set(versions.look(MINE, {"a": 1, OUTBOX: told}).digests) == {"a", OUTBOX}


@pytest.mark.parametrize("minion", ["../x", ".hidden", "", "a\x00b", 5, None, "x" * 300])
def test_a_name_that_is_no_minion_is_refused(minion: Any) -> None:
    """It would become a path."""
    with pytest.raises(WireError, match="no minion id"):
        versions.check_name(minion, [])
