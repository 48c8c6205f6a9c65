"""Journals that are one group from the start, without a link between them."""

from __future__ import annotations

from collections.abc import Sequence

from saltext_logilab.identity import Identity
from saltext_logilab.masters import group
from saltext_logilab.masters.group import Facts
from saltext_logilab.masters.journal import Journal
from saltext_logilab.masters.kinds import chain
from saltext_logilab.masters.reconcile import Change
from saltext_logilab.masters.records import State

NAMES = ("paris", "nantes", "lyon")


def joined(identity: Identity, name: str, address: str = "127.0.0.1:1") -> Change:
    """Return the decision by which the master with ``identity`` becomes a member."""
    told = Facts(identity.public, name, address)
    subject, digest = group.subject(identity.public), group.digest(identity.public)
    return Change(subject, State.JOINED, digest, told.encode(), {}, kind=group.KIND)


def unite(journals: Sequence[Journal], addresses: Sequence[str] = (), names: Sequence[str] = NAMES) -> None:
    """Make the members with ``journals`` a group; the first has founded it and let in the others."""
    first, *others = journals
    places = addresses or ["127.0.0.1:1"] * len(journals)
    first.enter(first.identity.public)
    known = zip(journals, names, places, strict=False)
    first.originate([joined(one.identity, name, place) for one, name, place in known], at=1, shown=False)
    for other in others:
        other.enter(first.identity.public)
        other.merge(chain(first.identity.public, first.beyond({})), first.frontier())
