"""
What is not taken for a decision by itself: many keys that vanish at once, and keys that a new journal cannot explain.

Both wait for an operator. A lost disk or a wrong ``rm`` must not delete the keys of all masters; and a member whose
journal was lost may hold keys that the others have deleted since.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from saltext_logilab.masters.reconcile import Change

FEW = 10
SHARE = 0.05
WINDOW = 10.0
_NAMED = 5


@dataclass
class Caution:
    """
    The changes of this key store that wait for an operator, by id.

    :param clock: seconds that only go forward.
    """

    clock: Callable[[], float] = time.monotonic
    absent: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    _confirmed: set[str] = field(default_factory=set)
    _recent: list[tuple[float, int]] = field(default_factory=list)

    def sift(self, changes: Iterable[Change], looked_at: Collection[str], keys: int, *, fresh: bool) -> list[Change]:
        """
        Return those of ``changes`` that are decisions.

        :param looked_at: the ids that this round is about: what waits among them and is no change any more is dropped.
        :param keys: how many keys are accepted or rejected here.
        :param fresh: the journal is new: what it shows that the group does not know is no decision.
        """
        listed = list(changes)
        lost = {one.subject for one in listed if one.lost}
        new = {one.subject for one in listed} - lost if fresh else set()
        self.absent = self._absent(lost, looked_at, keys)
        self.unknown = ((self.unknown - set(looked_at)) | new) - self._confirmed
        self._confirmed -= set(looked_at)
        return [one for one in listed if one.subject not in self.absent | self.unknown]

    def _absent(self, lost: set[str], looked_at: Collection[str], keys: int) -> set[str]:
        now = self.clock()
        self._recent = [(at, count) for at, count in self._recent if now - at < WINDOW]
        waiting = (self.absent - set(looked_at)) | (self.absent & lost)
        fresh = lost - waiting - self._confirmed
        passed = sum(count for _, count in self._recent)
        if len(fresh) + passed > max(FEW, SHARE * (keys + passed)):
            return (waiting | fresh) - self._confirmed
        if fresh:
            self._recent.append((now, len(fresh)))
        return waiting - self._confirmed

    def confirm(self) -> int:
        """Take all that waits for decisions; return its number."""
        waiting = self.absent | self.unknown
        self._confirmed |= waiting
        return len(waiting)

    def vanished(self) -> str:
        """Return which keys have vanished, as text."""
        return f"{len(self.absent)} keys have vanished here at once ({_named(self.absent)})"

    def sentence(self) -> str:
        """Return what waits, as text; empty when nothing does."""
        told = []
        if self.absent:
            told.append(self.vanished())
        if self.unknown:
            told.append(f"{len(self.unknown)} keys are known to this master alone ({_named(self.unknown)})")
        if not told:
            return ""
        undo = "; `salt-run masters.confirm undo=True` puts the vanished keys back" if self.absent else ""
        return f"{' and '.join(told)}: nothing was shared; `salt-run masters.confirm` shares it{undo}"


def _named(subjects: set[str]) -> str:
    first = sorted(subjects)[:_NAMED]
    return ", ".join(first) + (", …" if len(subjects) > _NAMED else "")
