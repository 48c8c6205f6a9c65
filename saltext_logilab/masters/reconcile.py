"""
The decisions of a member, as pure functions: what was changed here by hand, and what is to be done to the key store.

It is a three-way difference between what was last applied here, what the key store holds, and what the records mean.
A key in the store that differs from what was last applied is a decision of this master's operator, made knowing just
what was applied: that is its context. A store that agrees with what was applied follows the records.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from saltext_logilab.masters import keys
from saltext_logilab.masters.keydirs import Held
from saltext_logilab.masters.keys import Effect, Key, effect
from saltext_logilab.masters.records import Record, State, Vector, covers, join

Decision = tuple[State, str]
"""A state and the fingerprint of the key that is in it."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What was last applied to the key store under an id, and the version vector of the records behind it."""

    state: State
    fingerprint: str
    context: Vector = field(hash=False)

    def __post_init__(self) -> None:
        """Share the text of the fingerprint with the key: there may be many thousands."""
        object.__setattr__(self, "fingerprint", sys.intern(self.fingerprint))

    @property
    def decision(self) -> Decision:
        """The state and fingerprint."""
        return (self.state, self.fingerprint)


class Standing(dict[str, Applied]):
    """What was last applied, by id; which of it are accepted keys is gathered once until something is changed."""

    def __init__(self, applied: Mapping[str, Applied]) -> None:
        """Take what was ``applied``."""
        super().__init__(applied)
        self._accepted: dict[str, str] | None = None

    def note(self, applied: Mapping[str, Applied]) -> None:
        """Take what was ``applied`` since."""
        self._accepted = None
        self.update(applied)

    def forget(self, subjects: Iterable[str]) -> None:
        """Know nothing of ``subjects``."""
        self._accepted = None
        for one in subjects:
            del self[one]

    def of(self, subjects: Iterable[str]) -> dict[str, Applied]:
        """Return what was applied for ``subjects``."""
        return {one: self[one] for one in subjects if one in self}

    def accepted(self) -> Mapping[str, str]:
        """Return the fingerprints of the accepted keys, by minion: not to be changed."""
        if self._accepted is None:
            self._accepted = {one: was.fingerprint for one, was in self.items() if was.state is State.ACCEPTED}
        return self._accepted


@dataclass(frozen=True)
class Change:
    """
    A decision that was made on this master, to become a record: see :class:`Record`.

    ``lost``: the key is absent, and nothing else stands in its place.
    """

    subject: str
    state: State
    fingerprint: str
    value: str
    context: Vector = field(hash=False)
    kind: str = keys.KIND
    settles: bool = False
    actor: str = ""
    lost: bool = False


@dataclass(frozen=True)
class Step:
    """
    What is to be done about one id.

    ``put`` (a state and a key) or ``remove`` (a fingerprint) is done to the store, if given; then ``applied`` is noted.
    """

    subject: str
    applied: Applied
    put: tuple[State, Key] | None = None
    remove: str = ""


def decided(held: Held | None) -> tuple[State, Key] | None:
    """Return the decision that the store shows; None when the key is pending, absent or damaged."""
    if held is None or held.key is None or held.state not in ("accepted", "rejected"):
        return None
    return State(held.state), held.key


def is_settled(held: Held | None, applied: Applied | None) -> bool:
    """Say whether the store shows what was last applied, in one place: there is nothing to do about it."""
    if held and held.key and applied and held.state == applied.state:  # nearly all
        return not held.doubled and held.key.fingerprint == applied.fingerprint
    return not (held and held.doubled) and _is_unchanged(held, applied)


def _is_unchanged(held: Held | None, applied: Applied | None) -> bool:
    """Say whether the store shows what was last applied: nobody has decided anything here since."""
    shown = decided(held)
    if shown is None:
        return applied is None or applied.state is State.DELETED
    return applied is not None and applied.decision == (shown[0], shown[1].fingerprint)


def vanished(store: Mapping[str, Held], applied: Mapping[str, Applied]) -> set[str]:
    """Return the ids whose key was applied and is now absent or pending again: deleted, if a second reading agrees."""
    return {
        subject
        for subject, was in applied.items()
        if was.state is not State.DELETED and decided(store.get(subject)) is None and not _damaged(store.get(subject))
    }


def local_changes(
    store: Mapping[str, Held], applied: Mapping[str, Applied], records: Mapping[str, Iterable[Record]]
) -> list[Change]:
    """
    Return the decisions made in this key store since it was last applied, in the order of their ids.

    What the store shows and the records already mean (a write that was cut off before it was noted, or the same
    decision made on two masters) is no change. A damaged file is none either.
    """
    changes = []
    for subject in sorted({*store, *applied}):
        held, was = store.get(subject), applied.get(subject)
        if _damaged(held) or _is_unchanged(held, was):
            continue
        means = _meaning(records.get(subject, ()))
        changes += [one for one in _changes(subject, held, was) if means != (one.state, one.fingerprint)]
    return changes


def yielding(change: Change, records: Iterable[Record], *, fresh: bool) -> bool:
    """
    Say whether ``change`` gives way to what is known of its key already: nothing is proposed over it.

    It gives way to a delete that was not known when it was made: the delete would win anyway, and its tombstone is
    dropped once all have it. In a journal that is new (``fresh``) it gives way to every record.
    """
    if change.state is State.DELETED:
        return False
    unknown = [
        one
        for one in records
        if one.fingerprint == change.fingerprint and change.context.get(one.origin, 0) < one.counter
    ]
    return any(fresh or one.state is State.DELETED for one in unknown)


def steps(
    subjects: Iterable[str],
    store: Mapping[str, Held],
    applied: Mapping[str, Applied],
    records: Mapping[str, Iterable[Record]],
) -> list[Step]:
    """
    Return what is to be done so that the store shows what the records mean, for ``subjects``, sorted.

    An id whose store shows a decision that is no record yet is left for the next round.
    """
    planned = []
    for subject in sorted(subjects):
        known = list(records.get(subject, ()))
        if known:
            step = _step(subject, known, store.get(subject), applied.get(subject))
            if step:
                planned.append(step)
    return planned


def orphans(
    subjects: Iterable[str], applied: Mapping[str, Applied], known: Vector, permits: Callable[[bytes, int], bool]
) -> tuple[list[Step], set[str]]:
    """
    Judge ``subjects`` that were applied and of which no record is left, though all peers were asked.

    Returns the steps that remove what was deleted meanwhile (all behind it is ``known``, and the tombstone was dropped)
    or what a member had decided whose records do not count; and the ids of which the group has never known.
    """
    gone, unheard = [], set()
    for subject in sorted(subjects):
        was = applied.get(subject)
        if was is None or was.state is State.DELETED:
            continue
        if covers(known, was.context) or not all(permits(*dot) for dot in was.context.items()):
            after = Applied(State.DELETED, was.fingerprint, was.context)
            gone.append(Step(subject, after, remove=was.fingerprint))
        else:
            unheard.add(subject)
    return gone, unheard


def _damaged(held: Held | None) -> bool:
    return held is not None and held.state == "damaged"


def _changes(subject: str, held: Held | None, was: Applied | None) -> Iterator[Change]:
    """Yield what was decided: of a key that has another one in its place, that it was deleted, too."""
    context = was.context if was else {}
    shown = decided(held)
    if was and was.state is not State.DELETED and (shown is None or shown[1].fingerprint != was.fingerprint):
        yield Change(subject, State.DELETED, was.fingerprint, "", context, lost=shown is None)
    if shown:
        yield Change(subject, shown[0], shown[1].fingerprint, shown[1].pem, context)


def _meaning(records: Iterable[Record]) -> Decision | None:
    known = list(records)
    means = effect(known) if known else None
    return (means.state, means.fingerprint) if means and means.state else None


def _step(subject: str, records: list[Record], held: Held | None, was: Applied | None) -> Step | None:
    means = effect(records)
    shown = decided(held)
    here = (shown[0], shown[1].fingerprint) if shown else None
    context = join(*(one.vector for one in records))
    if means.state is None:
        return _keep(subject, means, context, held, was) if _is_unchanged(held, was) else None
    target = Applied(means.state, means.fingerprint, context)
    done = here is None if means.state is State.DELETED else here == target.decision
    if done and shown and held and held.doubled:
        return Step(subject, target, put=shown)
    if done:
        return None if was == target else Step(subject, target)
    if not _is_unchanged(held, was) and not _damaged(held):
        return None
    if means.state is State.DELETED:
        return Step(subject, target, remove=here[1]) if here else Step(subject, target)
    return Step(subject, target, put=(means.state, Key(means.pem)))


def _keep(subject: str, means: Effect, context: Vector, held: Held | None, was: Applied | None) -> Step | None:
    """In a conflict this member keeps the key that it has, follows what was decided about it, and takes no other."""
    shown = decided(held)
    if shown is None:
        return None
    key = shown[1]
    standing = next((one for one in means.rivals if one.fingerprint == key.fingerprint), None)
    if standing is None:
        return Step(subject, Applied(State.DELETED, key.fingerprint, context), remove=key.fingerprint)
    target = Applied(standing.state, key.fingerprint, context)
    if shown[0] is standing.state:
        return None if was == target else Step(subject, target)
    return Step(subject, target, put=(standing.state, key))
