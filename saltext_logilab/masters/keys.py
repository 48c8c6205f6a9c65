"""
Keys of minions as subjects of records: what a record about one may say, and what several of them mean together.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256

from saltext_logilab.errors import WireError
from saltext_logilab.masters.records import Record, State, concurrent

KIND = "key"
PEM_LIMIT = 16 * 1024
STATES = (State.ACCEPTED, State.REJECTED, State.DELETED)

_PEM = re.compile(r"-----BEGIN ((?:RSA )?PUBLIC KEY)-----\n(?:[A-Za-z0-9+/=]{1,128}\n){1,400}-----END \1-----\n")
_TEMPORARY = re.compile(r"tmp[a-z0-9_]{8}")


@dataclass(frozen=True, slots=True)
class Key:
    """
    A minion's public key in one spelling: ``pem`` with Unix line ends.

    ``fingerprint`` is what ``salt-key -f`` shows (with hash_type sha256): 32 bytes in hexadecimal, with colons.
    """

    pem: str
    fingerprint: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        body = "".join(self.pem.splitlines(keepends=True)[1:-1])
        object.__setattr__(self, "fingerprint", sys.intern(sha256(body.encode()).digest().hex(":")))


def parse_key(text: str) -> Key | None:
    """Return the public key in the PEM ``text``, whatever its line ends; None when it is no PEM of a public key."""
    if len(text) > PEM_LIMIT:
        return None
    pem = "".join(f"{line.strip()}\n" for line in text.splitlines() if line.strip())
    return Key(pem) if _PEM.fullmatch(pem) else None


def is_minion_id(name: str) -> bool:
    """
    Say whether ``name`` can be a minion's id and safely a file's name.

    Refused: path separators, control characters, a leading dot, more than 255 bytes, and the ``tmpXXXXXXXX`` names
    that a write of Salt's key store leaves behind when it is cut off.
    """
    if not name or name.startswith(".") or not name.isprintable() or "/" in name or "\\" in name:
        return False
    return len(name.encode("utf-8", "surrogatepass")) <= 255 and not _TEMPORARY.fullmatch(name)


def check(record: Record) -> None:
    """
    Check what is particular to a record about a key: its subject is a minion's id, its value the key's PEM.

    :raises WireError: it is no such record.
    """
    if not is_minion_id(record.subject):
        raise WireError(f"a record's subject {record.subject!r} is no minion id")
    if record.state not in STATES:
        raise WireError(f"a record about {record.subject!r} has the state {record.state.value!r}")
    key = parse_key(record.value) if record.value else None
    whole = not record.value if record.state is State.DELETED else key is not None and key.pem == record.value
    if not whole or (key and key.fingerprint != record.fingerprint):
        raise WireError(f"a record about {record.subject!r} has no well-formed key of its fingerprint")


@dataclass(frozen=True)
class Effect:
    """
    What a set of concurrent records about one id means.

    ``state`` is None in a conflict: then ``rivals`` holds the decisions, one for each key, that contend for the id, and
    nobody's key is replaced. ``overruled`` holds the records that lost against a concurrent more restrictive one.
    """

    state: State | None
    fingerprint: str = ""
    pem: str = ""
    rivals: tuple[Record, ...] = ()
    overruled: tuple[Record, ...] = ()


def effect(records: Iterable[Record]) -> Effect:
    """
    Return what the concurrent ``records`` of one id mean together.

    Of concurrent decisions about one key the restrictive side wins: delete over reject over accept. Decisions about
    different keys do not touch each other; when one key remains it stands, and when several remain it is a conflict.
    What settles a conflict denies the other keys that it knew: whatever else was decided about them at the same time
    does not count, but for what settles the conflict otherwise.

    :raises ValueError: there are no records.
    """
    by_key: dict[str, list[Record]] = {}
    known = concurrent(records)
    if len(known) == 1:
        return Effect(known[0].state, known[0].fingerprint, known[0].value)
    denied = {one for record in known for one in record.against}
    barred = [one for one in known if not one.settles and one.fingerprint in denied]
    for record in known:
        # what has settled a conflict outlives what follows it
        if record not in barred and not any(other.follows(record) for other in known):
            by_key.setdefault(record.fingerprint, []).append(record)
    if not by_key:
        raise ValueError("no records, no effect")
    rank = STATES.index
    winners = [max(group, key=lambda one: rank(one.state)) for _, group in sorted(by_key.items())]
    overruled = (
        *(one for winner in winners for one in by_key[winner.fingerprint] if rank(one.state) < rank(winner.state)),
        *(one for one in barred if one.state is State.ACCEPTED),
    )
    standing = [one for one in winners if one.state is not State.DELETED]
    if len(standing) > 1:
        return Effect(None, rivals=tuple(standing), overruled=overruled)
    winner = standing[0] if standing else winners[0]
    return Effect(winner.state, winner.fingerprint, winner.value, overruled=overruled)
