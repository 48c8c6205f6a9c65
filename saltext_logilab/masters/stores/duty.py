"""
Which records this member writes into a store.

Its own, and those of which not all that is known here is there, because their member has no store, is away or gone. Of
the members that could write those, the one with the smallest name does it at once, the others only when that has not
happened after a while. A member whose records differ from those of another one, though both know equally much, writes
all that it knows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from saltext_logilab.masters.journal import Journal
from saltext_logilab.masters.records import MEMBER_SIZE, Vector
from saltext_logilab.masters.stores.letters import Head
from saltext_logilab.masters.stores.reader import Reader

HEARTBEAT = 60.0
SILENCE = 2.5 * HEARTBEAT
GRACE = 2.0


@dataclass
class Duty:
    """
    What the member ``own`` writes.

    ``lacking`` are the origins of which something is not in the store, and since when.
    """

    journal: Journal
    own: bytes
    lacking: dict[bytes, float] = field(default_factory=dict)

    def claims(self, mine: Vector, reader: Reader, now: float) -> set[bytes]:
        """
        Return the origins of which this member writes all that is known here.

        :param mine: what its log says already.
        """
        if reader.at_odds():  # whoever lacks something finds all of it in one log
            return set(self.journal.frontier())
        live = reader.live(SILENCE)
        heads = list(self._readable(reader, live))
        claims, lacking = set(), {}
        for origin, counter in self.journal.frontier().items():
            short = origin[:MEMBER_SIZE]
            if short == self.own:
                claims.add(origin)
            elif all(head.through.get(origin, 0) < counter for head in heads):
                since = self.lacking.get(origin, now)
                patience = GRACE * (self.rank(reader) + (short in live))
                if origin in mine and short not in live:
                    patience = 0.0
                if mine.get(origin, 0) >= counter or now - since >= patience:
                    claims.add(origin)
                else:
                    lacking[origin] = since
        self.lacking = lacking
        return claims

    def _readable(self, reader: Reader, live: set[bytes]) -> Iterable[Head]:
        """
        Return the heads of other members whose logs can be taken by all that need them.

        A new member takes only what somebody has written who has heard it: nothing of one that is away.
        """
        active = self.journal.group().active()
        shown = {short: one.shown for short, one in reader.seen.items() if one.shown and short in active}
        broken = reader.broken.keys() | {each for short in live & shown.keys() for each in shown[short].broken}
        new = {short: shown[short].run for short in live & shown.keys() if shown[short].new}
        for short, head in shown.items():
            if short not in broken and all(short == one or head.heard.get(one) == run for one, run in new.items()):
                yield head

    def rank(self, reader: Reader) -> int:
        """Return how many members that are here now come before this one."""
        active = self.journal.group().active()
        return sum(short < self.own and short in active for short in reader.live(SILENCE))
