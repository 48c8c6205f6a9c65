"""
Versions of what a minion has told its masters, as pure functions.

The data of a minion is kept in parts that are replaced one by one: each function of a mine, the grains as a whole; a
mine that comes through an outbox (:mod:`saltext_logilab.masters.mine`) is one part, because an outbox numbers all its
changes. A part has a version:

- ``epoch`` counts the changes that a master has seen itself: one more than what it knew;
- ``tie`` decides between two of one epoch: the number of the outbox, or, where there is none, the digest of the value;
- ``counter`` is that of the outbox: it alone counts as long as the outbox is the same.

The larger version stands, on every member: a maximum is commutative, associative and idempotent. A value that is gone
is a part with an empty digest: a tombstone. No clock takes part; ``at`` is for showing the age only. All of it holds
for one key of the minion: data of another key is no older or newer, it is another minion's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, NamedTuple

import msgpack

from saltext_logilab.errors import WireError
from saltext_logilab.masters.keys import is_minion_id

MINE, GRAINS, PILLAR = "mine", "grains", "pillar"
KINDS = (MINE, GRAINS, PILLAR)
WHOLE = ""
OUTBOX = "logilab_outbox"
"""The entry of a mine that tells its outbox: ``incarnation`` and ``counter``."""
OWN = ("master", "pid")
"""The grains that tell of one connection: those of each master stay its own."""
PARTS_LIMIT = 500
_HIGHEST = 2**63


class Version(NamedTuple):
    """How new a part is; compared as a tuple."""

    epoch: int
    tie: bytes
    counter: int


class Part(NamedTuple):
    """A part: its version, the digest of its value (empty: it is gone), and when and on which member it was seen."""

    version: Version
    digest: bytes
    at: float
    by: bytes


@dataclass(frozen=True)
class Bank:
    """What is known of one kind of data of one minion with the key ``fingerprint``; ``stamp`` is that of the file."""

    fingerprint: str
    parts: Mapping[str, Part] = field(default_factory=dict, hash=False)
    stamp: bytes = b""

    def mark(self, name: str) -> int:
        """Return a number that is the same on two members when they have the same versions of ``name``."""
        told = [self.fingerprint, sorted((part, *one.version) for part, one in self.parts.items())]
        return int.from_bytes(sha256(msgpack.packb([name, told])).digest()[:8], "big")


def split(kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of ``data`` by part."""
    if not data:
        return {}
    if kind == GRAINS:
        return {WHOLE: {name: value for name, value in data.items() if name not in OWN}}
    if kind == PILLAR or outbox(data):
        return {WHOLE: dict(data)}
    return {str(name): value for name, value in data.items() if name != WHOLE}


def put(kind: str, data: Mapping[str, Any], part: str, value: Any | None) -> dict[str, Any]:
    """Return ``data`` with ``value`` as its ``part``; with None without that part."""
    if part == WHOLE:
        own = {name: data[name] for name in OWN if name in data} if kind == GRAINS and value is not None else {}
        return {**(value or {}), **own}
    rest = {name: one for name, one in data.items() if name != part}
    return rest if value is None else {**rest, part: value}


def outbox(data: Mapping[str, Any]) -> tuple[bytes, int] | None:
    """Return the number of the outbox and the counter that a mine names; None when it names none that can be."""
    told = data.get(OUTBOX)
    try:
        number, counter = bytes.fromhex(told["incarnation"]), told["counter"]  # type: ignore[index]
    except (TypeError, KeyError, ValueError):
        return None
    return (number, counter) if len(number) == 8 and type(counter) is int and 0 < counter < _HIGHEST else None


def digest(value: Any) -> bytes:
    """Return 16 bytes that are the same for the same ``value``, whatever the order of its mappings."""
    return sha256(msgpack.packb(_ordered(value), default=repr)).digest()[:16]


def _ordered(value: Any) -> Any:
    if isinstance(value, Mapping):
        return sorted(([repr(key), _ordered(one)] for key, one in value.items()), key=lambda pair: str(pair[0]))
    return [_ordered(one) for one in value] if isinstance(value, (list, tuple)) else value


@dataclass(frozen=True)
class Seen:
    """What stands in a master's cache: the digest of each part, and what its mine says of an outbox."""

    digests: Mapping[str, bytes]
    outbox: tuple[bytes, int] | None = None


def look(kind: str, data: Mapping[str, Any]) -> Seen:
    """Return what ``data`` says."""
    digests = {part: digest(value) for part, value in split(kind, data).items()}
    return Seen(digests, outbox(data) if kind == MINE else None)


def observe(bank: Bank, seen: Seen, at: float, by: bytes) -> Bank:
    """
    Return ``bank`` with what was ``seen`` in the cache: what differs from what was known is a newer version.

    A mine that was one part stays one: so what was known in parts is never newer than it.
    """
    digests = seen.digests
    if WHOLE in bank.parts and WHOLE not in digests:
        joined = digest(sorted(digests.items())) if digests else b""
        digests = {WHOLE: joined}
    gone = {} if WHOLE in digests else dict.fromkeys(bank.parts.keys() - digests.keys(), b"")
    kept = {} if WHOLE in digests else bank.parts
    parts = {part: _next(bank.parts.get(part), one, seen.outbox, at, by) for part, one in {**digests, **gone}.items()}
    return replace(bank, parts={**kept, **parts})


def _next(known: Part | None, one: bytes, numbered: tuple[bytes, int] | None, at: float, by: bytes) -> Part:
    if known and known.digest == one:
        return known
    epoch = known.version.epoch if known else 0
    later = min(epoch + 1, _HIGHEST - 1)  # a member that has told the highest one stops nobody else
    if numbered and one:
        number, counter = numbered
        goes_on = known is not None and known.version.tie == number and known.version.counter < counter
        return Part(Version(epoch if goes_on else later, number, counter), one, at, by)
    return Part(Version(later, one, 0), one, at, by)


def wanted(theirs: Mapping[str, Version], ours: Bank | None) -> list[str]:
    """Return the parts of which ``theirs`` are newer than ``ours``."""
    known = ours.parts if ours else {}
    if WHOLE in known or WHOLE in theirs:
        theirs = {WHOLE: theirs[WHOLE]} if WHOLE in theirs else {}
    return [part for part, version in sorted(theirs.items()) if part not in known or version > known[part].version]


def adopt(bank: Bank, parts: Mapping[str, Part]) -> Bank:
    """Return ``bank`` with the newer ``parts`` of another member."""
    return replace(bank, parts=dict(parts) if WHOLE in parts else {**bank.parts, **parts})


# -- as it travels -----------------------------------------------------------------------------------------------------


def pack(part: Part, now: float) -> list[Any]:
    """Return ``part`` for another member: with its age instead of a time, for clocks differ."""
    return [*part.version, part.digest, max(0.0, now - part.at), part.by]


def unpack(told: Any, now: float) -> Part:
    """Return the part that another member has told; :raises WireError: it is none."""
    try:
        epoch, tie, counter, seen, age, by = told
        part = Part(Version(epoch, tie, counter), seen, now - float(age), by)
    except (TypeError, ValueError) as err:
        raise WireError("a version of minion data is malformed") from err
    numbers = all(type(one) is int and 0 <= one < _HIGHEST for one in (epoch, counter))
    texts = all(isinstance(one, bytes) and len(one) <= 16 for one in (tie, seen, by))
    if not numbers or not texts or not 0 <= now - part.at < _HIGHEST:
        raise WireError("a version of minion data is malformed")
    return part


def check_name(minion: Any, parts: Iterable[Any]) -> None:
    """Check what another member names; :raises WireError: it is no minion, or these are no parts of its data."""
    if not isinstance(minion, str) or not is_minion_id(minion):
        raise WireError(f"{str(minion)[:80]!r} is no minion id")
    if not all(isinstance(part, str) and len(part) <= 255 for part in parts):
        raise WireError(f"the data of {minion!r} has malformed parts")
