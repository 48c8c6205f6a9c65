"""
Salt's minion protocol, version 3, as Salt 3006 to 3008 speak it over ZeroMQ: messages in, facts out; no I/O.

Sources: ``salt/crypt.py`` (AsyncAuth), ``salt/channel/client.py`` and ``salt/channel/server.py`` of Salt 3008. A minion
signs in in clear text and gets, under its RSA key, the AES key of all publications and a session key of its own, under
which each of its requests goes. Requests carry a nonce, which the answer repeats, and the minion's token.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgpack
import salt.payload
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from salt.exceptions import SaltDeserializationError
from salt.utils.crypt import pem_finger
from salt.utils.rsax931 import RSAX931Verifier

from saltext_logilab.errors import LogilabError, WireError
from saltext_logilab.swarm.keys import Pair
from saltext_logilab.swarm.sealing import StaleKeyError, parse_key, seal, unseal
from saltext_logilab.swarm.unlocking import unlock

VERSION = 3
_OAEP = padding.OAEP(mgf=padding.MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None)  # noqa: S303  # Salt's own
_ALGORITHMS = {"enc_algo": "OAEP-SHA1", "sig_algo": "PKCS1v15-SHA1"}
_HASHES = {"SHA1": hashes.SHA1(), "SHA224": hashes.SHA224()}  # noqa: S303  # those that Salt knows
_MOST = 64 * 2**20
_NONCE = 32
_MOST_OPENED = 64


# What has this signature of a master: one AES key has one for all its minions, and each decryption takes 0.3 ms of CPU.
_opened: dict[tuple[str, bytes], bytes] = {}


class RefusedKeyError(LogilabError):
    """The master does not take this minion: ``state`` is ``pending``, ``rejected`` or ``full``."""

    def __init__(self, state: str, text: str) -> None:
        """Say ``text``."""
        super().__init__(text)
        self.state = state


@dataclass(frozen=True)
class MasterKey:
    """A master's public key: ``pem`` as Salt writes it."""

    pem: str

    @property
    def fingerprint(self) -> str:
        """The fingerprint, as a minion takes it for ``master_finger``."""
        body = "".join(f"{line}\n" for line in self.pem.splitlines()[1:-1])
        return str(pem_finger(key=body.encode(), sum_type="sha256"))

    def seal(self, secret: bytes) -> bytes:
        """Encrypt ``secret`` so that only the master can read it."""
        return _public_key(self.pem).encrypt(secret, _OAEP)

    def check(self, message: bytes, signature: bytes, algorithm: str) -> None:
        """Verify the master's ``signature`` of ``message``; :raises WireError: it does not hold."""
        scheme, _, name = algorithm.partition("-")
        if scheme != "PKCS1v15" or name not in _HASHES:
            raise WireError(f"the master signs by {algorithm!r}, which no Salt does")
        try:
            _public_key(self.pem).verify(signature, message, padding.PKCS1v15(), _HASHES[name])
        except InvalidSignature as err:
            raise WireError("the master's signature does not hold") from err

    def check_digest(self, message: bytes, signature: bytes) -> None:
        """Verify the X9.31 ``signature`` of the digest of ``message``; :raises WireError: it does not hold."""
        if _signed_digest(self.pem, signature) != hashlib.sha256(message).hexdigest().encode():
            raise WireError("the master's signature of its AES key does not hold")


@dataclass(frozen=True)
class SignIn:
    """
    A minion's wish to sign in at a master whose key is ``master``, or is not known yet.

    ``token`` is a secret that the master has to give back; as with a real minion, none goes to a master at the first
    time.
    """

    minion: str
    nonce: str
    token: bytes
    master: MasterKey | None
    signer: MasterKey | None = None

    @classmethod
    def new(cls, minion: str, master: MasterKey | None, *, known: bool, signer: MasterKey | None = None) -> SignIn:
        """
        Return a sign-in of ``minion``; ``known``: it has signed in at this master before.

        :param signer: who has to have signed the master's key, as with ``verify_master_pubkey_sign`` of a minion; by
            default a master is believed at the first time, and has to keep its key.
        """
        token = base64.b64encode(secrets.token_bytes(18)) if known and master else b""
        return cls(minion, secrets.token_hex(_NONCE // 2), token, master, signer)

    def message(self, public: str) -> bytes:
        """Return what is sent; ``public`` is the minion's public key."""
        load: dict[str, Any] = {"cmd": "_auth", "id": self.minion, "nonce": self.nonce, "pub": public, **_ALGORITHMS}
        if self.master and self.token:
            load["token"] = self.master.seal(self.token)
        return _packed({"enc": "clear", "load": load, "version": VERSION})


@dataclass(frozen=True)
class Accepted:
    """
    A minion is signed in: ``aes`` is the key of publications, ``session`` that of its own requests.

    ``token`` is what goes with each of these, to show that they come from the minion.
    """

    aes: bytes
    session: bytes
    token: bytes
    publish_port: int
    master: MasterKey


def read_sign_in(sign_in: SignIn, reply: bytes, pair: Pair) -> Accepted:
    """
    Read the master's ``reply`` to ``sign_in``.

    :raises RefusedKeyError: the master does not take the minion, or not yet.
    :raises WireError: the reply is malformed, or its key, signature, nonce or token is wrong.
    """
    outer = _mapping(reply)
    signed = outer.get(b"load")
    if isinstance(signed, Mapping):
        raise WireError(f"the master says {_text(signed.get(b'ret'))!r}")
    if not isinstance(signed, bytes):
        raise WireError("the master's answer holds nothing")
    inner = _mapping(signed)
    master = _master_of(sign_in, inner)
    if master:  # the first refusal of a master whose key nobody knows cannot be verified: Salt does no more
        master.check(signed, _bytes(outer, b"sig"), _ALGORITHMS["sig_algo"])
    if _text(inner.get(b"nonce")) != sign_in.nonce:
        raise WireError("the master has answered another sign-in")
    if b"ret" in inner:
        raise _refusal(inner[b"ret"], sign_in.minion)
    if master is None or b"session" not in inner:
        raise WireError("the master does not know version 3 of the protocol: a newer Salt is needed")
    session = unlock(pair.private, _bytes(inner, b"session"))
    aes = _open_aes(sign_in, inner, pair, master)
    port = inner.get(b"publish_port")
    if not isinstance(port, int) or not 0 < port < 65536:
        raise WireError(f"the master publishes on no port: {port!r}")
    return Accepted(parse_key(aes), parse_key(session), pair.token, port, master)


def request(session: bytes, token: bytes, minion: str, load: Mapping[str, Any], nonce: str) -> bytes:
    """Return the request ``load`` of ``minion`` as it is sent."""
    full = {**load, "id": minion, "nonce": nonce, "ts": int(time.time()), "tok": token}
    sealed = seal(session, _dumped(full))
    return _packed({"enc": "aes", "load": sealed, "version": VERSION, "id": minion, **_ALGORITHMS})


def read_reply(session: bytes, reply: bytes, nonce: str) -> Any:
    """
    Return what the master has answered to a request with ``nonce``.

    :raises StaleKeyError: it cannot be read with ``session``, or the master could not read the request.
    :raises WireError: it is the answer to another request.
    """
    return _loaded(check_reply(session, reply, nonce))


def check_reply(session: bytes, reply: bytes, nonce: str) -> bytes:
    """Return what the master has answered to a request with ``nonce``, packed; raises as :func:`read_reply`."""
    sealed = _unpacked(reply)
    if not isinstance(sealed, bytes):
        raise StaleKeyError("the master does not know this session any more")
    clear = unseal(session, sealed)
    if clear[:_NONCE] != nonce.encode():
        raise WireError("the master has answered another request")
    return clear[_NONCE:]


def read_pillar(reply: bytes, nonce: str, pair: Pair, master: MasterKey) -> dict[str, Any]:
    """
    Return the pillar out of the master's ``reply``.

    :raises StaleKeyError: the master could not read the request.
    :raises WireError: the reply is malformed or not signed by ``master``.
    """
    outer = _unpacked(reply)
    if not isinstance(outer, dict) or b"key" not in outer or b"pillar" not in outer:
        raise StaleKeyError("the master gives no pillar")
    locked = _bytes(outer, b"key")
    secret = parse_key(unlock(pair.private, locked))
    signed = _mapping(unseal(secret, _bytes(outer, b"pillar")))
    data = _bytes(signed, b"data")
    master.check(data, _bytes(signed, b"sig"), _ALGORITHMS["sig_algo"])
    inner = _mapping(data)
    if _text(inner.get(b"nonce")) != nonce or inner.get(b"key") != locked:
        raise WireError("the pillar is the answer to another request")
    pillar = _loaded(data).get("pillar")
    return pillar if isinstance(pillar, dict) else {}


def read_publication(frame: bytes, aes: bytes, master: MasterKey | None) -> dict[str, Any]:
    """
    Return what a master has published, with its ``serial``.

    :raises StaleKeyError: it cannot be read with ``aes``.
    :raises WireError: it is malformed, or its signature does not hold.
    """
    outer = _mapping(frame)
    sealed = _bytes(outer, b"load")
    if b"sig" in outer and master:
        algorithm = _text(outer.get(b"sig_algo", _ALGORITHMS["sig_algo"].encode()))
        master.check(sealed, _bytes(outer, b"sig"), algorithm)
    load = _loaded(unseal(aes, sealed))
    if not isinstance(load, dict) or not {"tgt", "jid", "fun", "arg"} <= set(load):
        raise WireError("a publication is no job")
    return load


@functools.lru_cache(maxsize=64)
def _public_key(pem: str) -> rsa.RSAPublicKey:
    try:
        key = load_pem_public_key(pem.encode())
    except ValueError as err:
        raise WireError("the master's public key is no key") from err
    if not isinstance(key, rsa.RSAPublicKey):
        raise WireError("the master's public key is no RSA key")
    return key


@functools.lru_cache(maxsize=64)  # a master signs one AES key alike for all its minions
def _signed_digest(pem: str, signature: bytes) -> bytes:
    try:
        return bytes(RSAX931Verifier(pem.encode()).verify(signature))
    except ValueError as err:
        raise WireError("the master's signature of its AES key does not hold") from err


def _master_of(sign_in: SignIn, inner: Mapping[bytes, Any]) -> MasterKey | None:
    if b"pub_key" not in inner:
        return sign_in.master
    offered = MasterKey(_clean(_text(inner[b"pub_key"])))
    if (
        sign_in.signer
    ):  # whose signature holds may have a new key: such as the next of several masters, or a new machine
        _check_signer(sign_in.signer, inner)
    elif sign_in.master and offered != sign_in.master:
        raise WireError("the master shows another key than before")
    return offered


def _check_signer(signer: MasterKey, inner: Mapping[bytes, Any]) -> None:
    if b"pub_sig" not in inner:
        raise WireError("the master's key is not signed: set master_sign_pubkey there, or leave out master_sign_key")
    try:
        signature = binascii.a2b_base64(_bytes(inner, b"pub_sig"))
        signer.check(_bytes(inner, b"pub_key"), signature, _ALGORITHMS["sig_algo"])
    except (WireError, binascii.Error) as err:
        raise WireError("the master's key is signed by another key than master_sign_key") from err


def _open_aes(sign_in: SignIn, inner: Mapping[bytes, Any], pair: Pair, master: MasterKey) -> bytes:
    sealed, signature = _bytes(inner, b"aes"), _bytes(inner, b"sig")
    clear = _opened.get((master.pem, signature))
    if clear is None:
        clear = unlock(pair.private, sealed)
        master.check_digest(clear, signature)
        if len(_opened) >= _MOST_OPENED:
            _opened.clear()
        _opened[master.pem, signature] = clear
    aes, mark, token = clear.partition(b"_|-")
    if not mark and b"token" in inner:  # auth_mode 1, the default; in auth_mode 2 the token stands behind the key
        token = unlock(pair.private, _bytes(inner, b"token"))
    if token != sign_in.token:
        raise WireError("the master could not read the token: it has not the private key that it shows")
    return aes


def _refusal(verdict: object, minion: str) -> RefusedKeyError:
    if verdict == b"full":
        return RefusedKeyError("full", "the master has as many minions as it takes")
    if verdict:
        return RefusedKeyError("pending", f"the key waits to be accepted: salt-key -a {minion}")
    return RefusedKeyError("rejected", "the master rejects the key, or has accepted another one under this id")


class _Packing(threading.local):
    """A packer for each thread: a new one for each message costs more than what it packs."""

    def __init__(self) -> None:
        self.packer = msgpack.Packer(use_bin_type=False)


_packing = _Packing()


def _packed(message: Mapping[str, Any]) -> bytes:
    return bytes(_packing.packer.pack(message))


def _dumped(message: dict[str, Any]) -> bytes:
    """Return ``message`` as Salt packs it: dates, sets and very large numbers in its own way."""
    try:
        return _packed(message)
    except (TypeError, ValueError, OverflowError):
        return bytes(salt.payload.dumps(message))


def _unpacked(message: bytes) -> Any:
    """Return what ``message`` holds, all texts as bytes: what is sealed is none."""
    if len(message) > _MOST:
        raise WireError(f"a message of {len(message)} bytes is too large")
    try:
        return msgpack.unpackb(message, raw=True, strict_map_key=False)
    except (TypeError, ValueError, msgpack.UnpackException) as err:  # TypeError: a mapping stands as a key
        raise WireError("a message is no msgpack") from err


def _loaded(message: bytes) -> Any:
    """Return what ``message`` holds, as Salt reads it: texts are texts where they can be."""
    try:
        return salt.payload.loads(message)
    except SaltDeserializationError as err:
        raise WireError("a message is no msgpack") from err


def _mapping(message: bytes) -> dict[bytes, Any]:
    found = _unpacked(message)
    if not isinstance(found, dict):
        raise WireError(f"the master has answered {str(found)[:80]!r}")
    return found


def _bytes(mapping: Mapping[bytes, Any], key: bytes) -> bytes:
    value = mapping.get(key)
    if not isinstance(value, bytes):
        raise WireError(f"the master's answer has no {key.decode()}")
    return value


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _clean(pem: str) -> str:
    return "\n".join(line.strip() for line in pem.strip().splitlines())
