"""
Key pairs of guests that are to be, as Salt keeps them (RSA in PEM), and the word of a hypervisor for a public key.

A hypervisor signs with the key by which the masters know its minion (RSASSA-PKCS1-v1_5 with SHA-256, RFC 8017).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from saltext_logilab.errors import ConfigurationError, WireError

EXPONENT = 65537
BITS = 2048
LONGEST = 4096  # characters of a public key that came over a wire


@dataclass(frozen=True)
class Pair:
    """A private key and its public key, both PEM."""

    private: str
    public: str

    def __repr__(self) -> str:
        """Show the public key only."""
        return f"Pair(public={self.public!r})"


def make_pair(bits: int = BITS) -> Pair:
    """Return a new key pair of ``bits``."""
    key = generate_private_key(EXPONENT, bits)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return Pair(private.decode(), public.decode().strip())


def fingerprint(public: str) -> str:
    """Return the fingerprint of a public key in PEM, as ``salt-key -F`` shows it (SHA-256)."""
    lines = [line for line in public.splitlines(keepends=True) if line.strip()][1:-1]
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))


def same(one: str, other: str) -> bool:
    """Say whether two public keys in PEM are the same, whatever their line ends."""
    return one.split() == other.split()


def check_public(public: str) -> str:
    """
    Return a public key that came over a wire, in the one way in which it is written.

    :raises WireError: it is none, or a weak one.
    """
    key = _public(public)
    if key.key_size < BITS:
        raise WireError(f"the public key has {key.key_size} bits, fewer than {BITS}")
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode().strip()


def sign(private: bytes, message: bytes) -> str:
    """
    Return the signature of ``message`` in hexadecimal.

    :raises ConfigurationError: ``private`` is no private key in PEM that could sign.
    """
    try:
        key = load_pem_private_key(private, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as err:
        raise ConfigurationError(f"the key of this minion cannot sign: {err}") from err
    if not isinstance(key, RSAPrivateKey):
        raise ConfigurationError("the key of this minion cannot sign: it is no RSA key")
    return key.sign(message, PKCS1v15(), SHA256()).hex()


def verify(public: str, message: bytes, signature: str) -> None:
    """:raises WireError: ``signature`` is not the one of ``message`` by the owner of ``public``."""
    try:
        _public(public).verify(bytes.fromhex(signature), message, PKCS1v15(), SHA256())
    except (InvalidSignature, ValueError) as err:
        raise WireError("the signature is not that of the hypervisor's minion") from err


def _public(text: str) -> RSAPublicKey:
    """Return the key; :raises WireError: it is none."""
    try:
        key = load_pem_public_key(text[:LONGEST].encode("ascii"))
    except (ValueError, UnsupportedAlgorithm) as err:
        raise WireError("what should be a public key is none") from err
    if not isinstance(key, RSAPublicKey):
        raise WireError("the public key is no RSA key")
    return key
