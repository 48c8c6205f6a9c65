"""
Salt's symmetric encryption, as ``salt.crypt.Crypticle`` does it: AES-CBC with 192 bits, then HMAC-SHA256.

It is done anew here because it is most of the work of a fake minion: Salt's class takes twice the time and the memory
of the rest of a minion. A test holds the two against each other.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from saltext_logilab.errors import WireError

_AES, _HMAC, _BLOCK = 24, 32, 16
_PAD = b"pickle::"


class StaleKeyError(WireError):
    """A message cannot be read with the key at hand: the master has a new one."""


def parse_key(text: bytes) -> bytes:
    """Return the key in ``text``, as a master sends it; :raises WireError: it is none."""
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error as err:
        raise WireError("a key of the master is malformed") from err
    if len(key) != _AES + _HMAC:
        raise WireError("a key of the master has a wrong length")
    return key


def seal(key: bytes, content: bytes) -> bytes:
    """Encrypt ``content`` under ``key``."""
    clear = _PAD + content
    count = _BLOCK - len(clear) % _BLOCK
    vector = os.urandom(_BLOCK)
    encryptor = Cipher(AES(key[:_AES]), CBC(vector)).encryptor()
    sealed = vector + encryptor.update(clear + bytes([count]) * count) + encryptor.finalize()
    return sealed + hmac.digest(key[_AES:], sealed, "sha256")


def unseal(key: bytes, message: bytes) -> bytes:
    """
    Return what ``message`` holds under ``key``.

    :raises StaleKeyError: it is not authentic under this key.
    :raises WireError: it is, and malformed.
    """
    sealed, mark = message[:-_HMAC], message[-_HMAC:]
    if len(sealed) < 2 * _BLOCK or not hmac.compare_digest(hmac.digest(key[_AES:], sealed, "sha256"), mark):
        raise StaleKeyError("a message is under another key")
    decryptor = Cipher(AES(key[:_AES]), CBC(sealed[:_BLOCK])).decryptor()
    clear = decryptor.update(sealed[_BLOCK:]) + decryptor.finalize()
    if not clear.startswith(_PAD):
        raise WireError("a message is malformed")
    return clear[len(_PAD) : -clear[-1]]
