"""
Records: what the members of a group tell each other about keys, signed by the member that decided it.

A record says what was decided about one subject (a minion's id): its key was accepted, rejected or deleted. It has an
origin (a member and an incarnation of its journal) with a counter, and a context: the version vector of what the
member had applied when it decided. A record that another one about the same key has in its context is superseded; what
remains is a set of concurrent records, and :func:`effect` is a pure function of that set. Merging originates nothing;
it is commutative, associative and idempotent. No clock takes part: ``at`` is for showing only.

On version vectors: Parker et al., "Detection of Mutual Inconsistency in Distributed Systems" (1983); a counter apart
from the context is a "dotted" one: Preguiça et al., https://arxiv.org/abs/1011.5808.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from hashlib import sha256

import msgpack
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from saltext_logilab.errors import WireError
from saltext_logilab.identity import Identity

MEMBER_SIZE = 8
ORIGIN_SIZE = 12
PEM_LIMIT = 16 * 1024
BLOB_LIMIT = PEM_LIMIT + 8 * 1024

_DOMAIN = b"saltext-logilab masters record 1\0"
_FORMAT = 1
_PEM = re.compile(r"-----BEGIN ((?:RSA )?PUBLIC KEY)-----\n(?:[A-Za-z0-9+/=]{1,128}\n){1,400}-----END \1-----\n")
_TEMPORARY = re.compile(r"tmp[a-z0-9_]{8}")

Vector = Mapping[bytes, int]
"""A version vector: origin → the highest counter known of it."""


class State(str, Enum):
    """What was decided about a key."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    DELETED = "deleted"


@dataclass(frozen=True)
class Key:
    """A minion's public key in one spelling: ``pem`` with Unix line ends, ``fingerprint`` as :func:`fingerprint`."""

    pem: str

    @cached_property
    def fingerprint(self) -> str:
        """What ``salt-key -f`` shows (with hash_type sha256): 32 bytes in hexadecimal, with colons."""
        body = "".join(self.pem.splitlines(keepends=True)[1:-1])
        return sha256(body.encode()).digest().hex(":")


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


def member_id(public: bytes) -> bytes:
    """Return the short name, 8 bytes, of the member with the raw public key ``public``."""
    return sha256(public).digest()[:MEMBER_SIZE]


@dataclass(frozen=True)
class Record:
    """One decision about one subject. ``pem`` is empty in a tombstone; ``fingerprint`` is always the key's."""

    subject: str
    state: State
    fingerprint: str
    pem: str
    origin: bytes
    counter: int
    context: Vector = field(hash=False)
    at: int = field(compare=False)

    @property
    def vector(self) -> dict[bytes, int]:
        """The record's whole version: its context and itself."""
        return join(self.context, {self.origin: self.counter})

    def supersedes(self, other: Record) -> bool:
        """
        Say whether ``other`` is about the same key and was known, directly or not, when this record was made.

        A decision about another key does not touch it: a key that was deleted stays so, whatever keys came after it.
        """
        return self.fingerprint == other.fingerprint and self.context.get(other.origin, 0) >= other.counter


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


def sign(record: Record, identity: Identity) -> Signed:
    """Encode ``record`` and sign it with its origin's ``identity``."""
    fields = [
        _FORMAT,
        record.subject,
        record.state.value,
        bytes.fromhex(record.fingerprint.replace(":", "")),
        record.pem,
        record.origin,
        record.counter,
        dict(sorted(record.context.items())),
        record.at,
    ]
    blob = msgpack.packb(fields)
    return Signed(record, blob, identity.key.sign(_DOMAIN + blob))


def verify(blob: bytes, signature: bytes, members: Mapping[bytes, bytes]) -> Signed | None:
    """
    Check and decode a record that came from outside; None when its origin is no member.

    :param members: the raw public keys of the members, by :func:`member_id`.
    :raises WireError: it is malformed or not signed by its origin.
    """
    record = decode(blob)
    public = members.get(record.origin[:MEMBER_SIZE])
    if public is None:
        return None
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _DOMAIN + blob)
    except InvalidSignature as err:
        raise WireError(f"a record about {record.subject!r} has a wrong signature") from err
    return Signed(record, blob, signature)


def decode(blob: bytes) -> Record:
    """
    Decode the signed bytes ``blob`` without looking at the signature.

    :raises WireError: they are no record.
    """
    if len(blob) > BLOB_LIMIT:
        raise WireError(f"a record has {len(blob)} bytes, more than {BLOB_LIMIT}")
    try:
        fields = msgpack.unpackb(blob, strict_map_key=False)
        form, subject, state, fingerprint, pem, origin, counter, context, at = fields
        if form != _FORMAT:
            raise WireError(f"a record has the unknown format {form!r}")
        record = Record(subject, State(state), fingerprint.hex(":"), pem, origin, counter, context, at)
    except WireError:
        raise
    except (ValueError, TypeError, AttributeError, msgpack.UnpackException) as err:
        raise WireError("a record cannot be decoded") from err
    _check(record)
    return record


def _check(record: Record) -> None:
    if not isinstance(record.subject, str) or not is_minion_id(record.subject):
        raise WireError(f"a record's subject {record.subject!r} is no minion id")
    if not _is_dot(record.origin, record.counter) or not isinstance(record.at, int):
        raise WireError(f"a record about {record.subject!r} has a malformed origin, counter or time")
    if not isinstance(record.context, dict) or not all(_is_dot(*entry) for entry in record.context.items()):
        raise WireError(f"a record about {record.subject!r} has a malformed context")
    if record.context.get(record.origin, 0) >= record.counter:
        raise WireError(f"a record about {record.subject!r} supersedes itself")
    key = parse_key(record.pem) if isinstance(record.pem, str) and record.pem else None
    whole = not record.pem if record.state is State.DELETED else key is not None and key.pem == record.pem
    if not whole or (key and key.fingerprint != record.fingerprint) or len(record.fingerprint) != 95:
        raise WireError(f"a record about {record.subject!r} has no well-formed key of its fingerprint")


def _is_dot(origin: object, counter: object) -> bool:
    return isinstance(origin, bytes) and len(origin) == ORIGIN_SIZE and type(counter) is int and 0 < counter < 2**63


def concurrent(records: Iterable[Record]) -> list[Record]:
    """Return the ``records`` of one subject that none of them supersedes, in a fixed order."""
    records = list({(one.origin, one.counter): one for one in records}.values())
    kept = [one for one in records if not any(other.supersedes(one) for other in records)]
    return sorted(kept, key=lambda one: (one.origin, one.counter))


@dataclass(frozen=True)
class Effect:
    """
    What a set of concurrent records means.

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
    Return what the concurrent ``records`` of one subject mean together.

    Of concurrent decisions about one key the restrictive side wins: delete over reject over accept. Decisions about
    different keys do not touch each other; when one key remains it stands, and when several remain it is a conflict.

    :raises ValueError: there are no records.
    """
    by_key: dict[str, list[Record]] = {}
    for record in concurrent(records):
        by_key.setdefault(record.fingerprint, []).append(record)
    if not by_key:
        raise ValueError("no records, no effect")
    rank = list(State)
    winners = [max(group, key=lambda one: rank.index(one.state)) for _, group in sorted(by_key.items())]
    overruled = tuple(
        loser
        for winner in winners
        for loser in by_key[winner.fingerprint]
        if rank.index(loser.state) < rank.index(winner.state)
    )
    standing = [one for one in winners if one.state is not State.DELETED]
    if len(standing) > 1:
        return Effect(None, rivals=tuple(standing), overruled=overruled)
    winner = standing[0] if standing else winners[0]
    return Effect(winner.state, winner.fingerprint, winner.pem, overruled=overruled)
