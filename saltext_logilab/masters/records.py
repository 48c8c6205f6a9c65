"""
Records: what the members of a group tell each other, signed by the member that decided it.

A record says what was decided about one subject of a kind: a minion's key was accepted, rejected or deleted, a master
has joined or was evicted. It has an origin (a member and an incarnation of its journal) with a counter, and a context:
the version vector of what the member had applied when it decided. A record that another one about the same thing has in
its context is superseded; what remains is a set of concurrent records, and what it means is a pure function of that
set, one for each kind. Merging originates nothing; it is commutative, associative and idempotent. No clock takes part:
``at`` is for showing only.

What a kind adds (which states, which values, what they mean) stands in a module of its own; the table of them is
:data:`saltext_logilab.masters.kinds.KINDS`.

On version vectors: Parker et al., "Detection of Mutual Inconsistency in Distributed Systems" (1983); a counter apart
from the context is a "dotted" one: Preguiça et al., https://arxiv.org/abs/1011.5808.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property, lru_cache
from hashlib import sha256
from typing import Any

import msgpack

from saltext_logilab.errors import WireError
from saltext_logilab.identity import Identity

MEMBER_SIZE = 8
ORIGIN_SIZE = 12
VALUE_LIMIT = 16 * 1024
BLOB_LIMIT = VALUE_LIMIT + 8 * 1024
ACTOR_LIMIT = 64
AGAINST_LIMIT = 64
DECODED = 512

DOMAIN = b"saltext-logilab masters record 2\0"
_FORMAT = 2
_OTHERS = 7  # fields from the value to the actor

Vector = Mapping[bytes, int]
"""A version vector: origin → the highest counter known of it."""


class State(str, Enum):
    """What was decided, for each kind from the least restrictive to the most restrictive."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    DELETED = "deleted"
    JOINED = "joined"
    LEFT = "left"
    EVICTED = "evicted"
    PROPOSED = "proposed"


def member_id(public: bytes) -> bytes:
    """Return the short name, 8 bytes, of the member with the raw public key ``public``."""
    return sha256(public).digest()[:MEMBER_SIZE]


@dataclass(frozen=True)
class Record:
    """
    One decision about one subject.

    ``fingerprint`` is that of the key that it is about; ``value`` is what its kind keeps (a key's PEM; empty in a
    tombstone). One that ``settles`` supersedes what was known about other keys, too, and denies those keys: ``against``
    holds their fingerprints, sorted. ``actor`` is who decided, where that is known.
    """

    kind: str
    subject: str
    state: State
    fingerprint: str
    value: str
    origin: bytes
    counter: int
    context: Vector = field(hash=False)
    at: int = field(compare=False)
    settles: bool = False
    actor: str = ""
    against: tuple[str, ...] = ()

    @property
    def vector(self) -> dict[bytes, int]:
        """The record's whole version: its context and itself."""
        return join(self.context, {self.origin: self.counter})

    @property
    def dot(self) -> tuple[bytes, int]:
        """The record's name: its origin and counter."""
        return (self.origin, self.counter)

    def knows(self, other: Record) -> bool:
        """Say whether ``other`` was known, directly or not, when this record was made."""
        return self.context.get(other.origin, 0) >= other.counter

    def supersedes(self, other: Record) -> bool:
        """
        Say whether ``other`` is about the same key and was known when this record was made.

        A decision about another key does not touch it: a key that was deleted stays so, whatever keys came after it.
        Only what settles a conflict goes beyond its own key, and gives way to nothing but what settles it anew: so the
        relation is transitive, and the order of merging does not matter. What was decided about members is never
        superseded: who may decide is told from all of it.
        """
        if self.state in (State.JOINED, State.LEFT, State.EVICTED, State.PROPOSED):
            return False
        return (self.settles or (self.follows(other) and not other.settles)) and self.knows(other)

    def follows(self, other: Record) -> bool:
        """Say whether this was decided about the same key, knowing of ``other``."""
        return self.fingerprint == other.fingerprint and self.knows(other)


@dataclass(frozen=True)
class Signed:
    """A record with the bytes that were signed, as they travel and are kept."""

    record: Record
    blob: bytes
    signature: bytes

    @cached_property
    def digest(self) -> bytes:
        """The SHA-256 of the signed bytes."""
        return sha256(self.blob).digest()


def join(*vectors: Vector) -> dict[bytes, int]:
    """Return the smallest version vector that covers all ``vectors``."""
    joined: dict[bytes, int] = {}
    for vector in vectors:
        for origin, counter in vector.items():
            joined[origin] = max(counter, joined.get(origin, 0))
    return joined


def covers(vector: Vector, other: Vector) -> bool:
    """Say whether everything that ``other`` knows is known to ``vector``."""
    return all(vector.get(origin, 0) >= counter for origin, counter in other.items())


def vector(value: Any) -> dict[bytes, int]:
    """Return ``value``, which came from outside, as a version vector; :raises WireError: it is none."""
    if not isinstance(value, dict) or not all(
        isinstance(origin, bytes) and len(origin) == ORIGIN_SIZE and type(counter) is int and 0 <= counter < 2**63
        for origin, counter in value.items()
    ):
        raise WireError("a frontier is malformed")
    return dict(value)


def sign(record: Record, identity: Identity) -> Signed:
    """Encode ``record`` and sign it with its origin's ``identity``."""
    fields = [
        _FORMAT,
        record.kind,
        record.subject,
        record.state.value,
        _raw(record.fingerprint),
        record.value,
        record.origin,
        record.counter,
        dict(sorted(record.context.items())),
        record.at,
        record.settles,
        record.actor,
    ]
    if record.against:
        fields.append([_raw(one) for one in record.against])
    blob = msgpack.packb(fields)
    return Signed(record, blob, identity.key.sign(DOMAIN + blob))


def _raw(fingerprint: str) -> bytes:
    return bytes.fromhex(fingerprint.replace(":", ""))


def decode(blob: bytes) -> Record:
    """
    Decode the signed bytes ``blob``, without a look at the signature and at what its kind asks for.

    A record that comes is decoded where it is verified, merged and applied: the last ones are kept.

    :raises WireError: they are no record.
    """
    if not isinstance(blob, bytes) or len(blob) > BLOB_LIMIT:
        raise WireError(f"a record is no bytes, or more than {BLOB_LIMIT}")
    return _decode(blob)


@lru_cache(maxsize=DECODED)
def _decode(blob: bytes) -> Record:
    try:
        form, *fields = msgpack.unpackb(blob, strict_map_key=False)
        if form != _FORMAT:
            raise WireError(f"a record has the unknown format {form!r}")
        kind, subject, state, fingerprint, *others = fields
        others[_OTHERS:] = [tuple(print_.hex(":") for print_ in prints) for prints in others[_OTHERS:]]
        record = Record(kind, subject, State(state), fingerprint.hex(":"), *others)
    except WireError:
        raise
    except (ValueError, TypeError, AttributeError, msgpack.UnpackException) as err:
        raise WireError("a record cannot be decoded") from err
    _check(record)
    return record


def _check(record: Record) -> None:
    if not all(isinstance(one, str) for one in (record.kind, record.subject, record.value, record.actor)):
        raise WireError("a record has a kind, subject, value or actor that is no text")
    if not _is_dot(record.origin, record.counter) or not isinstance(record.at, int) or len(record.fingerprint) != 95:
        raise WireError(f"a record about {record.subject!r} has a malformed origin, counter, time or fingerprint")
    if not isinstance(record.context, dict) or not all(_is_dot(*entry) for entry in record.context.items()):
        raise WireError(f"a record about {record.subject!r} has a malformed context")
    if record.context.get(record.origin, 0) >= record.counter:
        raise WireError(f"a record about {record.subject!r} supersedes itself")
    if len(record.actor) > ACTOR_LIMIT or (record.actor and not record.actor.isprintable()):
        raise WireError(f"a record about {record.subject!r} has a malformed actor")
    if type(record.settles) is not bool:
        raise WireError(f"a record about {record.subject!r} is malformed")
    if record.against and not _is_against(record):
        raise WireError(f"a record about {record.subject!r} is against malformed fingerprints")


def _is_against(record: Record) -> bool:
    against = record.against
    is_whole = all(len(one) == len(record.fingerprint) for one in against) and len(against) <= AGAINST_LIMIT
    return record.settles and is_whole and sorted({*against} - {record.fingerprint}) == list(against)


def _is_dot(origin: object, counter: object) -> bool:
    return isinstance(origin, bytes) and len(origin) == ORIGIN_SIZE and type(counter) is int and 0 < counter < 2**63


def concurrent(records: Iterable[Record]) -> list[Record]:
    """Return the ``records`` of one subject that none of them supersedes, in a fixed order."""
    records = list({one.dot: one for one in records}.values())
    if len(records) == 1:
        return records
    kept = [one for one in records if not any(other.supersedes(one) for other in records)]
    return sorted(kept, key=lambda one: one.dot)
