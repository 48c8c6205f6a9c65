"""
The identity of a daemon: an Ed25519 key pair (RFC 8032) in one file that only its owner can read.

A fingerprint is written as OpenSSH writes it: ``SHA256:`` and the unpadded base64 of the SHA-256 of the raw public key.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from saltext_logilab.errors import ConfigurationError, UnavailableError

_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


@dataclass(frozen=True)
class Identity:
    """A private key, with what others may know of it."""

    key: Ed25519PrivateKey

    @property
    def public(self) -> bytes:
        """The raw public key: 32 bytes."""
        return self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    @property
    def fingerprint(self) -> str:
        """The public key's fingerprint, ``SHA256:…``."""
        return fingerprint(self.public)

    @property
    def pem(self) -> bytes:
        """The private key as PKCS#8 PEM."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def fingerprint(public: bytes) -> str:
    """Return the fingerprint of the raw public key ``public``."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(public).digest()).decode().rstrip("=")


def is_fingerprint(text: str) -> bool:
    """Say whether ``text`` is written as a fingerprint."""
    return _FINGERPRINT.fullmatch(text) is not None


def load(path: Path) -> Identity:
    """
    Read the identity in ``path``.

    :raises UnavailableError: the file cannot be read.
    :raises ConfigurationError: it holds no Ed25519 private key, or others than its owner can read it.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            pem = file.read()
    except OSError as err:
        raise UnavailableError(f"the identity {path} cannot be read: {err.strerror}") from err
    if mode & 0o077:
        raise ConfigurationError(f"the identity {path} can be read by others (mode {mode & 0o777:o}): chmod 600 it")
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as err:
        raise ConfigurationError(f"the identity {path} holds no unencrypted private key") from err
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError(f"the identity {path} is no Ed25519 key")
    return Identity(key)


def load_or_create(path: Path) -> Identity:
    """
    Read the identity in ``path``; make a new one, with its folder, when there is none.

    The file appears whole and with mode 0600 or not at all; of two processes that create it at once, both get the
    one that stays.

    :raises UnavailableError: it can be neither read nor written.
    :raises ConfigurationError: as :func:`load`.
    """
    if not path.exists():
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _create(path)
        except OSError as err:
            raise UnavailableError(f"the identity {path} cannot be made: {err.strerror}") from err
    return load(path)


def _create(path: Path) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".identity-")  # mkstemp gives mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(Identity(Ed25519PrivateKey.generate()).pem)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(name, path)  # unlike a rename, it fails where another process was quicker
        except FileExistsError:
            return
    finally:
        Path(name).unlink(missing_ok=True)
