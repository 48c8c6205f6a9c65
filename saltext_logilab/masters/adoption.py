"""What a master with keys of its own would bring into a group and what it would take over: told before it joins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from saltext_logilab.masters.keys import effect
from saltext_logilab.masters.records import Record, State

SHOWN = 200


class Row(NamedTuple):
    """One decision about a key."""

    subject: str
    state: str
    fingerprint: str


def table(records: Mapping[str, Iterable[Record]]) -> Iterator[Row]:
    """Yield what the group means about each key: one row for each key of an id that stands, or was deleted."""
    for subject, known in sorted(records.items()):
        listed = list(known)
        means = effect(listed)
        rivals = [Row(subject, one.state.value, one.fingerprint) for one in means.rivals]
        standing = [Row(subject, means.state.value, means.fingerprint)] if means.state else rivals
        deleted = {one.fingerprint for one in listed if one.state is State.DELETED}
        yield from standing
        yield from (
            Row(subject, State.DELETED.value, one) for one in sorted(deleted - {row.fingerprint for row in standing})
        )


@dataclass(frozen=True)
class Adoption:
    """
    What joining would change, each a sorted list of ids.

    ``come``: keys of the group that this master would get. ``go_out``: keys of this master that the group would get.
    ``conflicts``: different keys on both sides; each side keeps its own. ``restricted``: the same key is accepted on
    one side and rejected or deleted on the other, the restrictive side wins. ``same`` counts what is the same.
    """

    come: list[str]
    go_out: list[str]
    conflicts: list[str]
    restricted: list[str]
    same: int

    @property
    def differs(self) -> bool:
        """Whether something of this master would change or go out; that keys come is why one joins."""
        return bool(self.go_out or self.conflicts or self.restricted)

    def sentence(self) -> str:
        """Return the numbers as text."""
        told = {
            "only here": self.go_out,
            "different on both sides": self.conflicts,
            "decided otherwise": self.restricted,
        }
        return ", ".join(f"{len(ids)} {what}" for what, ids in told.items() if ids)

    def data(self) -> dict[str, Any]:
        """Return it as plain data; of each list no more than :data:`SHOWN` ids, with the number of the others."""
        shown: dict[str, Any] = {}
        for name, value in asdict(self).items():
            many = isinstance(value, list) and len(value) > SHOWN
            shown[name] = [*value[:SHOWN], f"and {len(value) - SHOWN} more"] if many else value
        return shown


def compare(held: Mapping[str, tuple[str, str]], theirs: Iterable[Row]) -> Adoption:
    """Return what joining changes for the key store ``held`` (id → state, fingerprint); the group has ``theirs``."""
    by_id: dict[str, list[Row]] = {}
    for row in theirs:
        by_id.setdefault(row.subject, []).append(row)
    found: dict[str, list[str]] = {"come": [], "go_out": [], "conflicts": [], "restricted": [], "same": []}
    for subject in sorted({*held, *by_id}):
        found[_kind(held.get(subject), by_id.get(subject, []))].append(subject)
    return Adoption(found["come"], found["go_out"], found["conflicts"], found["restricted"], len(found["same"]))


def _kind(own: tuple[str, str] | None, rows: list[Row]) -> str:
    standing = [row for row in rows if row.state != State.DELETED.value]
    if own is None:
        return "come" if standing else "same"
    state, fingerprint = own
    twin = next((row for row in rows if row.fingerprint == fingerprint), None)
    if twin:
        return "same" if twin.state == state else "restricted"
    return "conflicts" if standing else "go_out"
