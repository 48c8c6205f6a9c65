"""The log of this member in a store: what stands in it, and what has to be written."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import msgpack

from saltext_logilab.errors import WireError
from saltext_logilab.masters.journal import Journal
from saltext_logilab.masters.records import Vector, decode, vector
from saltext_logilab.masters.stores.backend import Backend, Word
from saltext_logilab.masters.stores.letters import (
    NAME_SIZE,
    START,
    Dot,
    Pair,
    Place,
    after,
    open_part,
    parts,
    seal_part,
)

FOLD_SIZE = 256 * 1024
PENDING = 64
NOTE = "store log"
_LAST = 2**63 - 1


@dataclass(frozen=True)
class Log:
    """
    A log as it stands in the store.

    ``journal`` is the number of the journal that it tells. ``first`` and ``later`` are the bytes that it began with and
    that came after. ``dots`` are the names of the records in it that were not taken back, by origin; ``hashes`` those
    of its parts.
    """

    end: Place
    journal: bytes
    through: Vector = field(default_factory=dict)
    first: int = 0
    later: int = 0
    dots: dict[bytes, set[int]] = field(default_factory=dict, compare=False)
    hashes: frozenset[bytes] = frozenset()

    @property
    def is_long(self) -> bool:
        """Whether a new one would be shorter: each byte is written three times at most."""
        return self.later > max(FOLD_SIZE, self.first)


@dataclass
class Writer:
    """
    Writes the log of the member with ``journal``.

    ``log`` and ``head`` are what was last written and is known to stand there; ``tried`` what was last tried;
    ``pending`` the heads of which the store has not told yet that they have come to stand there.
    """

    journal: Journal
    group: bytes
    member: bytes
    log: Log = field(init=False)
    head: bytes = b""
    tried: tuple[Log, bytes] | None = None
    pending: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Begin a new log: what stands there is not to be gone on with."""
        self.log, self.head = self.new_log(), b""

    def new_log(self) -> Log:
        """Return an empty log under a new name."""
        return Log(Place(secrets.token_bytes(NAME_SIZE)), self.journal.number)

    def waiting(self) -> int:
        """Return the number of records of this member that are not in the store."""
        origins = [one for one in self.journal.origins() if one.startswith(self.member)]
        return sum(
            self.journal.count_within(one, _LAST) - self.journal.count_within(one, self.log.through.get(one, 0))
            for one in origins
        )

    def extended(self, log: Log, claims: Collection[bytes]) -> tuple[Log, list[tuple[int, bytes]]]:
        """
        Return what ``log`` becomes when it says all that is known of the origins ``claims``, and the parts for that.

        There are none when it says so already.
        """
        frontier = self.journal.frontier()
        through = {origin: frontier[origin] for origin in sorted(claims) if origin in frontier}
        gone = self._gone(log)
        if not gone and all(log.through.get(origin, 0) >= counter for origin, counter in through.items()):
            return log, []
        dots = {origin: set(counters) for origin, counters in log.dots.items()}
        for origin, counter in gone:
            dots[origin].discard(counter)
        made, end, size = [], log.end, 0
        for part in parts(self._beyond(log.through, claims, dots), {**log.through, **through}, gone):
            sealed = seal_part(part, self.group, self.member, end, self.journal.identity)
            end = after(end, sealed)
            size += len(sealed)
            made.append((end.number, sealed))
        is_first = log.end.number == 0
        grown = replace(
            log, end=end, through={**log.through, **through}, dots=dots,
            first=size if is_first else log.first, later=0 if is_first else log.later + size,
            hashes=log.hashes | {sha256(sealed).digest() for _, sealed in made},
        )  # fmt: skip
        return grown, made

    def _beyond(self, through: Vector, claims: Collection[bytes], dots: dict[bytes, set[int]]) -> Iterator[Pair]:
        """Yield the records of ``claims`` beyond ``through``, and add their names to ``dots``."""
        lower = {one: through.get(one, 0) if one in claims else _LAST for one in self.journal.origins()}
        for blob, signature in self.journal.beyond(lower):
            origin, counter = decode(blob).dot
            dots.setdefault(origin, set()).add(counter)
            yield blob, signature

    def _gone(self, log: Log) -> list[Dot]:
        """Return the names of the records in ``log`` that are not in the journal any more."""
        if all(
            len(counters) <= self.journal.count_within(origin, log.through.get(origin, 0))
            for origin, counters in log.dots.items()
        ):
            return []
        present = set(self.journal.dots())
        return [
            (origin, counter)
            for origin, counters in log.dots.items()
            for counter in sorted(counters)
            if (origin, counter) not in present
        ]

    # -- what stands there -----------------------------------------------------------------------------------------

    def trying(self, log: Log, head: bytes) -> None:
        """Note, also for the next run, that this is going to be written; it may or may not come to stand there."""
        self.tried, self.pending = (log, head), [*self.pending[-PENDING:], head]
        hashes = [sha256(one).digest() for one in (self.head, head)]
        self.journal.set_note(NOTE, msgpack.packb([self.group, log.end.log, log.first, self.journal.number, hashes]))

    def wrote(self, log: Log, head: bytes) -> None:
        """Note that this stands there."""
        self.log, self.head, self.tried = log, head, None

    def is_damaged_by(self, word: Word) -> bool:
        """Say whether ``word``, of something under this member's name, tells of a change by somebody else."""
        if not word.log:
            if word.content in self.pending:
                del self.pending[: self.pending.index(word.content) + 1]
                return False
            return word.content != self.head
        if word.log != self.log.end.log.hex():
            return False
        return word.content is None or sha256(word.content).digest() not in self.log.hashes

    def is_noted(self, head: bytes) -> bool:
        """Say whether ``head`` is what this journal has written last: neither it nor the store was set back."""
        noted = self._noted()
        return self.has_written and noted[3] == self.journal.number and sha256(head).digest() in noted[4]

    @property
    def has_written(self) -> bool:
        """Whether this journal has written into a store of this group before."""
        return self._noted()[:1] == [self.group]

    def _noted(self) -> list[Any]:
        packed = self.journal.note(NOTE)
        found: list[Any] = msgpack.unpackb(packed) if packed else []
        return found

    async def read(self, backend: Backend, end: Place) -> Log:
        """
        Return the log of this member that ends at ``end``, as it stands in the store.

        :raises WireError: it does not stand there whole.
        """
        place, dots, hashes, size = Place(end.log), dict[bytes, set[int]](), set[bytes](), 0
        through: Vector = {}
        while place.number < end.number:
            found = await backend.parts(self.member.hex(), end.log.hex(), place.number)
            for _, sealed in found:
                part = open_part(sealed, self.group, self.member, self.journal.identity.public, place)
                place, through, size = after(place, sealed), part.through or through, size + len(sealed)
                for origin, counter in part.gone:
                    dots.get(origin, set()).discard(counter)
                for blob, _ in part.pairs:
                    origin, counter = decode(blob).dot
                    dots.setdefault(origin, set()).add(counter)
                hashes.add(sha256(sealed).digest())
            if not found:
                break
        if place != end or (end.number == 0) != (end.chain == START):
            raise WireError("the log of this member in the store is not whole")
        noted = self._noted()
        first = noted[2] if noted and noted[1] == end.log else size
        return Log(
            end, self.journal.number, vector(dict(through)), first, max(0, size - first), dots, frozenset(hashes)
        )
