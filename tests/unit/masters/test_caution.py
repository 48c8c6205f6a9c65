"""What waits for an operator: many keys that vanish at once, and keys that a new journal cannot explain."""

from dataclasses import dataclass

import pytest

from saltext_logilab.masters.caution import WINDOW, Caution
from saltext_logilab.masters.reconcile import Change, yielding
from saltext_logilab.masters.records import State
from tests.support.minion_keys import KEYS, record

ORIGIN = b"x" * 12


@dataclass
class Clock:
    """Seconds that a test sets."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def lost(count: int, begin: int = 0) -> list[Change]:
    """Keys that are absent."""
    names = [f"web{number}" for number in range(begin, begin + count)]
    return [Change(name, State.DELETED, KEYS[0].fingerprint, "", {}, lost=True) for name in names]


def sift(caution: Caution, changes: list[Change], keys: int = 100, *, fresh: bool = False) -> int:
    """Return how many of ``changes`` pass."""
    return len(caution.sift(changes, {one.subject for one in changes}, keys, fresh=fresh))


@pytest.mark.parametrize(("keys", "count", "passes"), [(20, 10, 10), (20, 11, 0), (1000, 50, 50), (1000, 51, 0)])
def test_more_than_ten_or_five_percent_wait(keys: int, count: int, passes: int) -> None:
    """The larger of both is the bound."""
    assert sift(Caution(), lost(count), keys) == passes


def test_keys_that_vanish_one_after_another_are_counted_together() -> None:
    """A loop of deletes is held as one command is; after a while it counts anew."""
    clock = Clock()
    caution = Caution(clock)
    assert [sift(caution, lost(1, number)) for number in range(12)] == [1] * 10 + [0] * 2
    clock.now += WINDOW + 1
    assert sift(caution, lost(1, 20)) == 1
    assert caution.absent == {"web10", "web11"}


def test_what_waits_goes_on_waiting_until_it_is_confirmed() -> None:
    """Time alone shares nothing."""
    clock = Clock()
    caution = Caution(clock)
    assert sift(caution, lost(15), 20) == 0
    clock.now += 10 * WINDOW
    assert sift(caution, lost(15), 20) == 0
    assert "15 keys have vanished" in caution.sentence()
    assert caution.confirm() == 15
    assert sift(caution, lost(15), 20) == 15
    assert caution.sentence() == ""


def test_keys_that_are_back_wait_no_more() -> None:
    """A disk that is mounted again ends it."""
    caution = Caution()
    sift(caution, lost(15), 20)
    assert caution.sift([], {f"web{number}" for number in range(15)}, 20, fresh=False) == []
    assert caution.sentence() == ""


def test_a_reinstalled_minion_is_no_absence() -> None:
    """Its old key is gone, and another one stands in its place."""
    replaced = [Change(f"web{n}", State.DELETED, KEYS[0].fingerprint, "", {}) for n in range(30)]
    assert sift(Caution(), replaced, 30) == 30


def test_what_a_new_journal_cannot_explain_waits() -> None:
    """A key that was perhaps deleted while the journal was lost."""
    caution = Caution()
    change = Change("web1", State.ACCEPTED, KEYS[0].fingerprint, KEYS[0].pem, {})
    assert sift(caution, [change], fresh=True) == 0
    assert "known to this master alone" in caution.sentence()
    caution.confirm()
    assert sift(caution, [change], fresh=False) == 1


@pytest.mark.parametrize(
    ("known", "fresh", "gives_way"),
    [
        (State.DELETED, False, True),
        (State.REJECTED, False, False),
        (State.REJECTED, True, True),
        (State.ACCEPTED, True, True),
    ],
)
def test_nothing_is_proposed_over_what_is_known(known: State, fresh: bool, gives_way: bool) -> None:
    """An accept gives way to a delete that was not known; in a new journal to every record of its key."""
    accept = Change("web1", State.ACCEPTED, KEYS[0].fingerprint, KEYS[0].pem, {})
    assert yielding(accept, [record(known, KEYS[0], ORIGIN, 1)], fresh=fresh) is gives_way
    knowing = Change("web1", State.ACCEPTED, KEYS[0].fingerprint, KEYS[0].pem, {ORIGIN: 1})
    assert not yielding(knowing, [record(known, KEYS[0], ORIGIN, 1)], fresh=fresh)
    other = Change("web1", State.ACCEPTED, KEYS[1].fingerprint, KEYS[1].pem, {})
    assert not yielding(other, [record(known, KEYS[0], ORIGIN, 1)], fresh=fresh)
