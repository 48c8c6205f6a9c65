"""
What the other members have written into a store: their heads, their logs, and what may be taken of them.

The store may show anything at any time: nothing, something old, something forged. What is taken is signed, whole, and

- of a member that has heard this run (its head names it, a random number): then it is what a link would tell, or
- of any active member, when the journal here is provably neither new nor set back: then its frontier passes over all
  that was superseded since.

Nothing follows from what is not there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import msgpack

from saltext_logilab.errors import WireError
from saltext_logilab.masters import group as groups
from saltext_logilab.masters.journal import FRESH, Journal
from saltext_logilab.masters.kinds import verify
from saltext_logilab.masters.records import Signed, Vector, covers, decode, join, member_id
from saltext_logilab.masters.stores.backend import Backend
from saltext_logilab.masters.stores.letters import Dot, Head, Pair, Place, after, open_head, open_part

log = logging.getLogger(__name__)

NOTE = "store places"
AT_ONCE = 500  # records that are merged in one transaction
RETRY = 60.0
AT_ODDS = 1.5


@dataclass
class Seen:
    """
    What is known of a member by the store.

    ``head`` is its newest one, ``shown`` what lies in the store now (None when nothing does), ``fresh`` whether it has
    heard this run, ``at`` when it last said something then; ``past`` are other runs, and the last number of each.
    """

    head: Head
    shown: Head | None
    fresh: bool = False
    at: float = 0.0
    is_heard: bool = False
    past: dict[bytes, int] = field(default_factory=dict)

    def is_newer(self, head: Head) -> bool:
        """
        Say whether ``head`` is none that was written before: which of two runs is the later one nobody can tell, but
        only one that still goes on counts further.
        """
        if head.run == self.head.run:
            return head.number >= self.head.number
        return head.number > self.past.get(head.run, -1)


@dataclass
class Reader:
    """
    Reads what others have written for ``group`` into a store.

    ``knew`` is what each member that was heard has acknowledged, and in which journal; ``doubted`` are those that know
    less now; ``differs`` those that know as much as this one, and hold other records, and since when.

    :param run: the random number of this run.
    :param heard: called with a member and its fresh head.
    :param has_link: says whether there is a link with a member.
    """

    journal: Journal
    group: bytes
    run: bytes
    heard: Callable[[bytes, Head], None]
    seen: dict[bytes, Seen] = field(default_factory=dict)
    intact: bool = False
    complete: bool = False
    differs: dict[bytes, float] = field(default_factory=dict)
    troubles: dict[bytes, str] = field(default_factory=dict)
    broken: dict[bytes, bytes] = field(default_factory=dict)
    knew: dict[bytes, tuple[bytes, Vector]] = field(default_factory=dict)
    doubted: set[bytes] = field(default_factory=set)
    set_back: bool = False
    was_reset: bool = False
    _sealed: dict[str, bytes] = field(default_factory=dict)
    _places: dict[bytes, Place] = field(default_factory=dict)
    _limited: dict[bytes, Place] = field(default_factory=dict)
    _number: bytes = b""
    _tried: dict[bytes, float] = field(default_factory=dict)
    _strangers: dict[bytes, int] = field(default_factory=dict)
    _repaired: dict[bytes, float] = field(default_factory=dict)
    _saved: float = 0.0

    @property
    def own(self) -> bytes:
        """The short name of this member."""
        return member_id(self.journal.identity.public)

    # -- heads -----------------------------------------------------------------------------------------------------

    def show(self, member: str, sealed: bytes | None) -> None:
        """Take note of the head ``sealed`` of ``member`` (None: it has none) as it lies in the store now."""
        short = _short(member)
        if short is None or short == self.own:
            return
        if sealed is None:
            self._sealed.pop(member, None)
            if short in self.seen:
                self.seen[short].shown = None
            return
        self._sealed[member] = sealed
        self._examine(member)

    def show_all(self, heads: dict[str, bytes]) -> None:
        """Take note of all heads that lie in the store now."""
        for member in [*self._sealed.keys() - heads.keys()]:
            self.show(member, None)
        for member, sealed in heads.items():
            self.show(member, sealed)

    def look_again(self) -> None:
        """Examine those heads of which the members were not known before."""
        for member in list(self._sealed):
            if _short(member) not in self.seen:
                self._examine(member)

    def _examine(self, member: str) -> None:
        short = _short(member)
        known = self.journal.group().members.get(short or b"")
        if short is None or known is None:
            return
        try:
            head = open_head(self._sealed[member], self.group, short, known.public)
        except WireError as err:
            self._trouble(short, f"what {known.name} says of itself in the store is not taken: {err}")
            if short in self.seen:
                self.seen[short].shown = None
            return
        if short not in self.broken:  # its log still cannot be read, though its head can
            self.troubles.pop(short, None)
        seen = self.seen.get(short)
        if seen is None:
            seen = self.seen[short] = Seen(head, head)
        is_same = (head.run, head.number) == (seen.head.run, seen.head.number)
        seen.shown = seen.head if head == seen.head else head
        if is_same and seen.is_heard:
            return  # nothing new was said
        seen.is_heard = True
        if not seen.is_newer(head):
            self.set_back = True  # it was newer: nothing is undone by that
            return
        if head.run != seen.head.run:
            seen.past[seen.head.run] = seen.head.number
        seen.head = seen.shown = head
        seen.fresh = head.heard.get(self.own) == self.run
        if seen.fresh:
            self._hear(short, seen)

    def _hear(self, short: bytes, seen: Seen) -> None:
        """Take what a member says now, as a link does."""
        head, journal, group = seen.head, self.journal, self.journal.group()
        if not {short, self.own} <= group.active().keys():
            return
        seen.at = time.time()
        if journal.acknowledge(short, head.journal, head.frontier, int(seen.at)):
            self.doubted.discard(short)
        else:
            self.doubted.add(short)
        self.knew[short] = (head.journal, journal.acknowledged()[short].frontier)
        number, frontier = head.knew.get(self.own, (b"", {}))
        if number == journal.number:
            if covers(journal.frontier(), frontier):
                self.intact = True
            else:
                self.reset()
        own = journal.origin
        if head.frontier.get(own, 0) == journal.frontier().get(own, 0):
            journal.confirm()
        self._compare(short, seen)
        self.heard(short, head)

    def _compare(self, short: bytes, seen: Seen) -> None:
        frontier = self.journal.frontier()
        if seen.fresh and covers(frontier, seen.head.frontier):
            self.complete = True
        equal = seen.head.frontier == frontier
        if equal and seen.head.digest != self.journal.digest():
            self.differs.setdefault(short, time.monotonic())
        else:
            self.differs.pop(short, None)

    def reset(self) -> None:
        """Begin anew: the journal was set back."""
        log.warning("This master's journal was set back: it takes everything anew")
        self.journal.reset()
        self.intact = self.complete = False
        self.was_reset = True

    def at_odds(self) -> set[bytes]:
        """Return the members whose records are others than the ones here, for longer than a merge takes."""
        now = time.monotonic()
        return {short for short, since in self.differs.items() if now - since > AT_ODDS}

    def live(self, silence: float) -> set[bytes]:
        """Return the members that have said something within ``silence`` seconds, in this run."""
        now = time.time()
        return {short for short, seen in self.seen.items() if seen.fresh and now - seen.at < silence}

    # -- logs ------------------------------------------------------------------------------------------------------

    async def take(self, backend: Backend) -> set[str]:
        """Take what is new in all logs; return the subjects that have changed."""
        self._forget_places()
        changed: set[str] = set()
        for short in list(self.seen):
            seen = self.seen[short]
            group = self.journal.group()
            if seen.shown is not seen.head or short not in group.members:
                continue
            full = {short, self.own} <= group.active().keys()
            if full and not (seen.fresh or (self.intact and not self.journal.note(FRESH))):
                continue
            changed |= await self._take(backend, short, seen, full=full)
            if full:
                self._compare(short, seen)
        self._save_places()
        return changed

    async def _take(self, backend: Backend, short: bytes, seen: Seen, *, full: bool) -> set[str]:
        head = seen.head
        places = self._places if full else self._limited
        place = places.get(short, Place(head.end.log))
        if self._is_to_repair(short, head):
            place = Place(head.end.log)
        elif full and covers(self.journal.frontier(), head.through) and place.number < head.end.number:
            places[short] = head.end
            return set()
        if place.log != head.end.log or place.number > head.end.number:
            place = Place(head.end.log)
        if place == head.end or not self._is_to_try(short, head):
            return set()
        try:
            changed, end, unknown = await self._read(backend, short, place, head.end, full=full)
        except WireError as err:
            self._tried[short] = time.monotonic()
            self.broken[short] = head.end.log
            name = self.journal.group().members[short].name
            self._trouble(short, f"the records of {name} in the store are not taken: {err}")
            return set()
        self.broken.pop(short, None)
        self.troubles.pop(short, None)
        self._strangers.pop(short, None)
        if unknown:
            self._strangers[short], self._tried[short] = len(self.journal.group().members), time.monotonic()
        else:
            places[short] = end
        return changed

    def _is_to_try(self, short: bytes, head: Head) -> bool:
        """Say whether to read a log that could not be read before, or was by somebody whom nobody knew here."""
        waits = self.broken.get(short) == head.end.log or self._strangers.get(short) == len(
            self.journal.group().members
        )
        return not waits or time.monotonic() - self._tried.get(short, 0.0) > RETRY

    def _is_to_repair(self, short: bytes, head: Head) -> bool:
        """
        Say whether to read all that a member knows once more, because its records are others than the ones here.

        Only when all stands in its log, and it knows all that is known here: so nothing comes back that was dropped.
        """
        due = time.monotonic() - self._repaired.get(short, float("-inf")) > RETRY
        if short not in self.at_odds() or not due or not covers(head.through, self.journal.frontier()):
            return False
        self._repaired[short] = time.monotonic()
        return True

    async def _read(
        self, backend: Backend, short: bytes, place: Place, end: Place, *, full: bool
    ) -> tuple[set[str], Place, bool]:
        """
        Read a log from ``place`` on, at least to ``end``, and merge what is left of it.

        Returns the subjects that have changed, the place up to which it was read, and whether some of it was signed by
        somebody who is not known here: that is read again.
        """
        public = self.journal.group().members[short].public
        number, through = self.journal.number, dict[bytes, int]()
        kept: dict[Dot, Pair] = {}
        while True:
            found = await backend.parts(short.hex(), end.log.hex(), place.number)
            for _, sealed in found:
                part = open_part(sealed, self.group, short, public, place)
                place = after(place, sealed)
                if place.number == end.number and place != end:
                    raise WireError("a log is another one than its member says")
                for dot in part.gone:
                    kept.pop(dot, None)
                kept.update((decode(blob).dot, (blob, signature)) for blob, signature in part.pairs)
                through = join(through, part.through or {})
            if not found or place.number >= end.number:
                break
        if place.number < end.number:
            raise WireError(f"the store lacks parts of a log: it ends at {place.number}, not at {end.number}")
        if number != self.journal.number:
            raise WireError("the journal here was set back meanwhile")
        changed, unknown = self._merge(list(kept.values()), through, full=full, repair=short in self.differs)
        return changed, place, unknown

    def _merge(self, pairs: list[Pair], through: Vector, *, full: bool, repair: bool) -> tuple[set[str], bool]:
        """Verify and merge, those about members first; only the last step says ``through``."""
        about = [pair for pair in pairs if decode(pair[0]).kind == groups.KIND]
        found, unknown = self._verified(about)
        changed = self.journal.merge(found, {})
        rest = [pair for pair in pairs if decode(pair[0]).kind != groups.KIND] if full else []
        for begin in range(0, len(rest), AT_ONCE):
            found, strangers = self._verified(rest[begin : begin + AT_ONCE])
            changed |= self.journal.merge(found, {}, repair=repair)
            unknown |= strangers
        if full:
            self.journal.merge([], {origin: counter for origin, counter in through.items() if origin not in unknown})
        return changed, bool(unknown)

    def _verified(self, pairs: list[Pair]) -> tuple[list[Signed], set[bytes]]:
        """
        Return the records that members have signed, and the origins of the others.

        Each record about a member may name the signer of the next one.
        """
        publics = self.journal.group().publics()
        found: list[Signed] = []
        unknown: set[bytes] = set()
        for blob, signature in pairs:
            if self.journal.holds(blob, signature):
                continue
            one = verify(blob, signature, publics)
            if one is None:
                unknown.add(decode(blob).origin)
                continue
            if one.record.kind == groups.KIND:
                public = groups.facts(one.record).public
                publics.setdefault(member_id(public), public)
            found.append(one)
        return found, unknown

    # -- places ----------------------------------------------------------------------------------------------------

    def _forget_places(self) -> None:
        """What was read for another journal, one that was set back since, is read again."""
        if self._number == self.journal.number:
            return
        begins = not self._number
        self._number, self._places, self._limited = self.journal.number, {}, {}
        packed = self.journal.note(NOTE)
        if begins and packed:
            number, places = msgpack.unpackb(packed, strict_map_key=False)
            if number == self._number:
                self._places = {short: Place(*place) for short, place in places.items()}

    def _save_places(self) -> None:
        now = time.monotonic()
        if now - self._saved > RETRY:
            self._saved = now
            places = {short: [one.log, one.number, one.chain] for short, one in self._places.items()}
            self.journal.set_note(NOTE, msgpack.packb([self._number, places]))

    def _trouble(self, short: bytes, told: str) -> None:
        if self.troubles.get(short) != told:
            log.warning("%s", told)
            self.troubles[short] = told


def _short(member: str) -> bytes | None:
    try:
        short = bytes.fromhex(member)
    except ValueError:
        return None
    return short if len(short) == 8 else None
