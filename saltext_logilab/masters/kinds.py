"""The kinds of subjects that records are about, and the door through which records of others come in."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from saltext_logilab.errors import WireError
from saltext_logilab.masters import group, keys
from saltext_logilab.masters.records import DOMAIN, MEMBER_SIZE, Record, Signed, decode, member_id

KINDS: Mapping[str, Callable[[Record], None]] = {keys.KIND: keys.check, group.KIND: group.check}
"""Of each kind, what refuses a record of it that is malformed. Who adds a kind adds a line."""

FEW = 50  # records for which a thread is not worth while
PROCESSORS = min(os.cpu_count() or 1, 4)


def verify(blob: bytes, signature: bytes, members: Mapping[bytes, bytes]) -> Signed | None:
    """
    Check and decode a record that came from outside; None when its origin is no member, or its kind unknown here.

    :param members: the raw public keys of the members, by :func:`~saltext_logilab.masters.records.member_id`.
    :raises WireError: it is malformed or not signed by its origin.
    """
    record = decode(blob)
    check = KINDS.get(record.kind)
    public = members.get(record.origin[:MEMBER_SIZE])
    if check is None or public is None:
        return None
    check(record)
    try:
        _key(public).verify(signature, DOMAIN + blob)
    except InvalidSignature as err:
        raise WireError(f"a record about {record.subject!r} has a wrong signature") from err
    return Signed(record, blob, signature)


def verify_all(pairs: Sequence[tuple[bytes, bytes]], members: Mapping[bytes, bytes]) -> list[Signed | None]:
    """
    Check and decode records as :func:`verify` does; many on all processors, for signatures take most of the time.

    :raises WireError: one is malformed or not signed by its origin.
    """
    size = max(FEW, -(-len(pairs) // PROCESSORS))
    parts = [pairs[begin : begin + size] for begin in range(0, len(pairs), size)]

    def check(part: Sequence[tuple[bytes, bytes]]) -> list[Signed | None]:
        return [verify(blob, signature, members) for blob, signature in part]

    checked = _crew().map(check, parts) if len(parts) > 1 else map(check, parts)
    return [one for part in checked for one in part]


@lru_cache(maxsize=1)
def _crew() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(PROCESSORS, thread_name_prefix="verify")


@lru_cache(maxsize=64)
def _key(public: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(public)


def chain(founder: bytes, pairs: Iterable[tuple[bytes, bytes]]) -> list[Signed]:
    """
    Return the records about members in ``pairs``, each signed by the founder or by somebody whom another one names.

    :raises WireError: one is malformed, or of somebody whom nobody has let in.
    """
    publics = {member_id(founder): founder}
    records: list[Signed] = []
    waiting = [(blob, signature) for blob, signature in pairs]
    while waiting:
        left = []
        for blob, signature in waiting:
            one = verify(blob, signature, publics)
            if one is None or one.record.kind != group.KIND:
                left.append((blob, signature))
                continue
            public = group.facts(one.record).public
            publics.setdefault(member_id(public), public)
            records.append(one)
        if len(left) == len(waiting):
            raise WireError("there are records of a member that nobody has let in")
        waiting = left
    return records
