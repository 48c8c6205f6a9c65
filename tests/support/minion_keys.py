"""Keys of minions and identities of members for tests, made once per run."""

from __future__ import annotations

from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from saltext_logilab.identity import Identity
from saltext_logilab.masters.keys import KIND, Key
from saltext_logilab.masters.records import Record, State


def new_minion_key() -> Key:
    """Return the RSA public key of a minion that nobody has seen yet."""
    public = generate_private_key(65537, 2048).public_key()
    return Key(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


KEYS = [new_minion_key() for _ in range(3)]
IDENTITIES = [Identity(Ed25519PrivateKey.generate()) for _ in range(3)]


def record(state: State, key: Key, origin: bytes, counter: int, context: Mapping[bytes, int] | None = None) -> Record:
    """Return a record about the minion web1."""
    pem = "" if state is State.DELETED else key.pem
    return Record(KIND, "web1", state, key.fingerprint, pem, origin, counter, context or {}, at=1)
