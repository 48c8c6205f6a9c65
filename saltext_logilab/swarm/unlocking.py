"""
RSA decryption with the keys of fake minions, each of which is used once: OAEP with SHA-1, as Salt does it.

It asks the same libcrypto that Salt asks for its X9.31 signatures. The package ``cryptography`` checks the primes of a
key, which costs a hundred times a decryption, and prepares it to withstand somebody who measures how long a decryption
takes (blinding), which costs as much as a decryption itself. That pays for a key that is used for years; these protect
nothing but a lab.
"""

from __future__ import annotations

import ctypes

from salt.utils import rsax931

from saltext_logilab.errors import WireError

_OAEP = 4  # RSA_PKCS1_OAEP_PADDING of openssl/rsa.h
_MOST = 2048  # bytes of the longest key that anybody has

_crypto = ctypes.CDLL(rsax931.libcrypto._name)  # a handle of our own: what is declared on it is nobody else's
_crypto.d2i_RSAPrivateKey.argtypes = (ctypes.c_void_p, ctypes.POINTER(ctypes.c_char_p), ctypes.c_long)
_crypto.d2i_RSAPrivateKey.restype = ctypes.c_void_p
_crypto.RSA_blinding_off.argtypes = (ctypes.c_void_p,)
_crypto.RSA_private_decrypt.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int)
_crypto.RSA_free.argtypes = (ctypes.c_void_p,)


def unlock(private: bytes, sealed: bytes) -> bytes:
    """
    Return what somebody has ``sealed`` for the key ``private``, in DER.

    :raises WireError: it is sealed for another key.
    """
    key = _crypto.d2i_RSAPrivateKey(None, ctypes.byref(ctypes.c_char_p(private)), len(private))
    if not key:
        _crypto.ERR_clear_error()
        raise WireError("a minion's private key is malformed")
    try:
        _crypto.RSA_blinding_off(key)
        room = ctypes.create_string_buffer(_MOST)
        length = _crypto.RSA_private_decrypt(len(sealed), sealed, room, key, _OAEP)
    finally:
        _crypto.RSA_free(key)
    if length < 0:
        _crypto.ERR_clear_error()
        raise WireError("the master has sealed something for another key")
    return room.raw[:length]
