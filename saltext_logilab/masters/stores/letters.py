"""
What a member writes into a store: parts of its log, and a head that says how far the log goes and what it knows.

Both are signed by the member and bound to the group, the log and their number in it. A log begins with an empty part's
place, number 0; each part names the hash of the one before it, so that none can be left out, swapped or taken from
another log. A part of a log holds records, and the names of those of earlier parts that its member does not have any
more: whoever takes a log takes what is left of it. ``through`` says up to which counter of which origins all is known
to who has taken the log up to here. A log is given up for a new one, under another random name, when it has grown.

A head tells what a ``have`` of a link tells (:mod:`saltext_logilab.masters.exchange`). It names the run of each other
member that it has heard: whoever finds its own run there, a random number, knows that this head is no older than that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import msgpack
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from saltext_logilab.errors import WireError
from saltext_logilab.identity import Identity
from saltext_logilab.masters.records import MEMBER_SIZE, Vector, vector

PART_SIZE = 128 * 1024
PART_LIMIT = 4 * PART_SIZE
GONE_AT_ONCE = 2000
HEAD_LIMIT = 128 * 1024
NAME_SIZE = MEMBER_SIZE
START = bytes(32)

_HEAD, _PART = b"saltext-logilab masters head 1\0", b"saltext-logilab masters part 1\0"

Pair = tuple[bytes, bytes]
"""A record's blob and signature."""

Dot = tuple[bytes, int]
"""A record's name: its origin and counter."""


@dataclass(frozen=True)
class Place:
    """A place in the log ``log``: after the part ``number``, whose hash (of all before it, too) is ``chain``."""

    log: bytes
    number: int = 0
    chain: bytes = START


@dataclass(frozen=True)
class Head:
    """
    What a member says of itself: its ``number``-th word of this ``run``.

    ``end`` is where its log ends, and ``through`` what is known to who has taken it; ``journal``, ``frontier`` and
    ``digest`` are those of its journal. ``heard`` names the runs of others; ``knew`` what others have acknowledged,
    with the journals that did; ``broken`` the logs of others that it cannot read. A member that
    is ``new`` asks for everything.
    """

    group: bytes
    member: bytes
    run: bytes
    number: int
    end: Place
    through: Vector
    journal: bytes
    frontier: Vector
    digest: bytes
    heard: Mapping[bytes, bytes] = field(default_factory=dict)
    knew: Mapping[bytes, tuple[bytes, Vector]] = field(default_factory=dict)
    broken: Mapping[bytes, bytes] = field(default_factory=dict)
    new: bool = False
    about: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """Some records of a log."""

    pairs: Sequence[Pair]
    through: Vector | None
    gone: Sequence[Dot] = ()


def seal_head(head: Head, identity: Identity) -> bytes:
    """Return ``head`` as it lies in the store."""
    end = [head.end.log, head.end.number, head.end.chain]
    knew: dict[bytes, list[Any]] = {member: [journal, {**known}] for member, (journal, known) in head.knew.items()}
    fields: list[Any] = [
        head.group, head.member, head.run, head.number, end, dict(head.through), head.journal, dict(head.frontier),
        head.digest, dict(head.heard), knew, dict(head.broken), head.new, dict(head.about),
    ]  # fmt: skip
    return _seal(_HEAD, fields, identity)


def open_head(sealed: bytes, group: bytes, member: bytes, public: bytes) -> Head:
    """
    Return the head of ``member``, whose raw public key is ``public``.

    :raises WireError: it is malformed, of another group or member, or not signed by it.
    """
    fields = _open(_HEAD, sealed, public, HEAD_LIMIT)
    try:
        of, who, run, number, end, through, journal, frontier, digest, heard, knew, broken, new, about = fields
        head = Head(
            of, who, _name(run), _count(number), Place(_name(end[0]), _count(end[1]), _bytes(end[2])),
            vector(through), _bytes(journal), vector(frontier), _bytes(digest), _names(heard),
            {_name(one): (_bytes(was), vector(known)) for one, (was, known) in knew.items()},
            _names(broken), new is True,
            {str(key)[:32]: str(value)[:128] for key, value in list(about.items())[:16]},
        )  # fmt: skip
    except (ValueError, TypeError, AttributeError, IndexError) as err:
        raise WireError("what a member says of itself in the store is malformed") from err
    if (head.group, head.member) != (group, member):
        raise WireError("what a member says of itself in the store is of another group or member")
    return head


def seal_part(part: Part, group: bytes, member: bytes, before: Place, identity: Identity) -> bytes:
    """Return ``part`` as it lies in the store, after ``before``."""
    through = None if part.through is None else {**part.through}
    pairs = [list(pair) for pair in part.pairs]
    gone = [list(dot) for dot in part.gone]
    return _seal(_PART, [group, member, before.log, before.number, before.chain, through, gone, pairs], identity)


def open_part(sealed: bytes, group: bytes, member: bytes, public: bytes, before: Place) -> Part:
    """
    Return the part of the log of ``member`` that follows ``before``.

    :raises WireError: it is malformed, not signed by the member, or of another place.
    """
    fields = _open(_PART, sealed, public, PART_LIMIT)
    try:
        of, who, log, number, chain, through, gone, pairs = fields
        part = Part(
            [(_bytes(blob), _bytes(one)) for blob, one in pairs],
            None if through is None else vector(through),
            [(_bytes(origin), _count(counter)) for origin, counter in gone],
        )
    except (ValueError, TypeError) as err:
        raise WireError("a part of a log in the store is malformed") from err
    if (of, who, Place(log, number, chain)) != (group, member, before):
        raise WireError("a part of a log in the store is not the one that should stand there")
    return part


def after(before: Place, sealed: bytes) -> Place:
    """Return the place after the part ``sealed``, which follows ``before``."""
    return Place(before.log, before.number + 1, sha256(sealed).digest())


def parts(pairs: Iterable[Pair], through: Vector, gone: Iterable[Dot]) -> Iterator[Part]:
    """Cut ``pairs`` and ``gone`` into parts that are not too large; the last one, perhaps empty, says ``through``."""
    left = list(gone)
    while len(left) > GONE_AT_ONCE:
        yield Part((), None, left[:GONE_AT_ONCE])
        left = left[GONE_AT_ONCE:]
    some: list[Pair] = []
    size = 0
    for blob, signature in pairs:
        if some and size + len(blob) > PART_SIZE:
            yield Part(some, None)
            some, size = [], 0
        some.append((blob, signature))
        size += len(blob)
    yield Part(some, through, left)


def _seal(domain: bytes, fields: list[Any], identity: Identity) -> bytes:
    blob = msgpack.packb(fields)
    packed: bytes = msgpack.packb([blob, identity.key.sign(domain + blob)])
    return packed


def _open(domain: bytes, sealed: bytes, public: bytes, limit: int) -> list[Any]:
    if len(sealed) > limit:
        raise WireError(f"something of {len(sealed)} bytes lies in the store, more than {limit}")
    try:
        blob, signature = msgpack.unpackb(sealed)
        Ed25519PublicKey.from_public_bytes(public).verify(signature, domain + blob)
        fields = msgpack.unpackb(blob, strict_map_key=False)
    except InvalidSignature as err:
        raise WireError("something in the store has a wrong signature") from err
    except (ValueError, TypeError, msgpack.UnpackException) as err:
        raise WireError("something in the store cannot be decoded") from err
    if not isinstance(fields, list):
        raise WireError("something in the store is no list")
    return fields


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError
    return value


def _name(value: Any) -> bytes:
    if not isinstance(value, bytes) or len(value) != NAME_SIZE:
        raise TypeError
    return value


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError
    return value


def _names(value: Any) -> dict[bytes, bytes]:
    return {_name(key): _name(one) for key, one in value.items()}
