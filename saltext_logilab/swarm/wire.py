"""
Salt's minion protocol, version 3, as Salt 3006 to 3008 speak it over ZeroMQ: messages in, facts out; no I/O.

Sources: ``salt/crypt.py`` (AsyncAuth), ``salt/channel/client.py`` and ``salt/channel/server.py`` of Salt 3008. A minion
signs in in clear text and gets, under its RSA key, the AES key of all publications and a session key of its own, under
which each of its requests goes. Requests carry a nonce, which the answer repeats, and the minion's token.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import salt.payload
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from salt.crypt import Crypticle
from salt.exceptions import AuthenticationError, SaltException
from salt.utils.crypt import pem_finger
from salt.utils.rsax931 import RSAX931Verifier

from saltext_logilab.errors import LogilabError, WireError
from saltext_logilab.swarm.keys import Pair

VERSION = 3
_OAEP = padding.OAEP(mgf=padding.MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None)  # noqa: S303  # Salt's own
_ALGORITHMS = {"enc_algo": "OAEP-SHA1", "sig_algo": "PKCS1v15-SHA1"}
_HASHES = {"SHA1": hashes.SHA1(), "SHA224": hashes.SHA224()}  # noqa: S303  # those that Salt knows
_MOST = 64 * 2**20


class RefusedKeyError(LogilabError):
    """The master does not take this minion: ``state`` is ``pending``, ``rejected`` or ``full``."""

    def __init__(self, state: str, text: str) -> None:
        super().__init__(text)
        self.state = state


class StaleKeyError(WireError):
    """A message cannot be read with the key at hand: the master has a new one."""


@dataclass(frozen=True)
class MasterKey:
    """A master's public key: ``pem`` as Salt writes it."""

    pem: str

    @property
    def fingerprint(self) -> str:
        """The fingerprint as ``salt-key -f master`` prints it."""
        body = "".join(f"{line}\n" for line in self.pem.splitlines()[1:-1])
        return str(pem_finger(key=body.encode(), sum_type="sha256"))

    def _key(self) -> rsa.RSAPublicKey:
        try:
            key = load_pem_public_key(self.pem.encode())
        except ValueError as err:
            raise WireError("the master's public key is no key") from err
        if not isinstance(key, rsa.RSAPublicKey):
            raise WireError("the master's public key is no RSA key")
        return key

    def seal(self, secret: bytes) -> bytes:
        """Encrypt ``secret`` so that only the master can read it."""
        return self._key().encrypt(secret, _OAEP)

    def check(self, message: bytes, signature: bytes, algorithm: str) -> None:
        """Verify the master's ``signature`` of ``message``; :raises WireError: it does not hold."""
        scheme, _, name = algorithm.partition("-")
        if scheme != "PKCS1v15" or name not in _HASHES:
            raise WireError(f"the master signs by {algorithm!r}, which no Salt does")
        try:
            self._key().verify(signature, message, padding.PKCS1v15(), _HASHES[name])
        except InvalidSignature as err:
            raise WireError("the master's signature does not hold") from err

    def check_digest(self, message: bytes, signature: bytes) -> None:
        """Verify the X9.31 ``signature`` of the digest of ``message``; :raises WireError: it does not hold."""
        try:
            digest = RSAX931Verifier(self.pem.encode()).verify(signature)
        except ValueError as err:
            raise WireError("the master's signature of its AES key does not hold") from err
        if digest != hashlib.sha256(message).hexdigest().encode():
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

    @classmethod
    def new(cls, minion: str, master: MasterKey | None, *, known: bool) -> SignIn:
        """Return a sign-in of ``minion``; ``known``: it has signed in at this master before."""
        token = base64.b64encode(secrets.token_bytes(18)) if known and master else b""
        return cls(minion, secrets.token_hex(16), token, master)

    def message(self, public: str) -> bytes:
        """Return what is sent; ``public`` is the minion's public key."""
        load = {"cmd": "_auth", "id": self.minion, "nonce": self.nonce, "pub": public, **_ALGORITHMS}
        if self.master and self.token:
            load["token"] = self.master.seal(self.token)  # type: ignore[assignment]
        return bytes(salt.payload.dumps({"enc": "clear", "load": load, "version": VERSION}))


@dataclass(frozen=True)
class Accepted:
    """A minion is signed in: ``aes`` is the key of publications, ``session`` that of its own requests."""

    aes: str
    session: str
    publish_port: int
    master: MasterKey


def read_sign_in(sign_in: SignIn, reply: bytes, pair: Pair) -> Accepted:
    """
    Read the master's ``reply`` to ``sign_in``.

    :raises RefusedKeyError: the master does not take the minion, or not yet.
    :raises WireError: the reply is malformed, or its key, signature, nonce or token is wrong.
    """
    outer = _mapping(reply)
    load = outer.get("load")
    if isinstance(load, Mapping):
        raise WireError(f"the master says {load.get('ret')!r}")
    if not isinstance(load, (bytes, str)):
        raise WireError(f"the master has answered {str(outer)[:80]!r}")
    signed = load if isinstance(load, bytes) else load.encode()
    inner = _mapping(signed)
    master = sign_in.master
    if "pub_key" in inner:
        offered = MasterKey(_clean(str(inner["pub_key"])))
        if master and offered != master:
            raise WireError("the master shows another key than before")
        master = offered
    if master:  # the first refusal of a master whose key nobody knows cannot be verified: Salt does no more
        master.check(signed, _bytes(outer.get("sig")), _ALGORITHMS["sig_algo"])
    if inner.get("nonce") != sign_in.nonce:
        raise WireError("the master has answered another sign-in")
    if "ret" in inner:
        raise _refusal(inner["ret"], sign_in.minion)
    if master is None or "session" not in inner:
        raise WireError("the master does not know version 3 of the protocol: Salt 3006.12 or newer is needed")
    key = pair.key()
    aes = _open_aes(sign_in, inner, key, master)
    session = _unlock(key, _bytes(inner["session"])).decode()
    return Accepted(aes, session, int(inner["publish_port"]), master)


def request(session: str, pair: Pair, minion: str, load: Mapping[str, Any], nonce: str) -> bytes:
    """Return the request ``load`` of ``minion`` as it is sent."""
    full = {**load, "id": minion, "nonce": nonce, "ts": int(time.time()), "tok": pair.token}
    sealed = Crypticle({}, session).dumps(full)
    return bytes(
        salt.payload.dumps({"enc": "aes", "load": sealed, "version": VERSION, "id": minion, **_ALGORITHMS})
    )


def read_reply(session: str, reply: bytes, nonce: str) -> Any:
    """
    Return what the master has answered to a request with ``nonce``.

    :raises StaleKeyError: it cannot be read with ``session``, or the master could not read the request.
    """
    try:
        return Crypticle({}, session).loads(_loads(reply), nonce=nonce)
    except (AuthenticationError, TypeError, ValueError) as err:
        raise StaleKeyError("the master does not know this session any more") from err
    except SaltException as err:
        raise WireError("the master has answered another request") from err


def read_pillar(reply: bytes, nonce: str, pair: Pair, master: MasterKey) -> dict[str, Any]:
    """
    Return the pillar out of the master's ``reply``.

    :raises StaleKeyError: the master could not read the request.
    :raises WireError: the reply is malformed or not signed by ``master``.
    """
    outer = _loads(reply)
    if not isinstance(outer, dict) or "key" not in outer or "pillar" not in outer:
        raise StaleKeyError("the master gives no pillar")
    secret = _unlock(pair.key(), _bytes(outer["key"])).decode()
    try:
        signed = Crypticle({}, secret).loads(outer["pillar"])
    except (AuthenticationError, ValueError) as err:
        raise WireError("the pillar cannot be read") from err
    data = _bytes(signed.get("data"))
    master.check(data, _bytes(signed.get("sig")), _ALGORITHMS["sig_algo"])
    inner = _mapping(data)
    if inner.get("nonce") != nonce or _bytes(inner.get("key")) != _bytes(outer["key"]):
        raise WireError("the pillar is the answer to another request")
    pillar = inner.get("pillar")
    return pillar if isinstance(pillar, dict) else {}


def read_publication(frame: bytes, aes: str, master: MasterKey | None) -> dict[str, Any]:
    """
    Return what a master has published, with its ``serial``.

    :raises StaleKeyError: it cannot be read with ``aes``.
    :raises WireError: it is malformed, or its signature does not hold.
    """
    outer = _mapping(frame)
    sealed = _bytes(outer.get("load"))
    if "sig" in outer and master:
        master.check(sealed, _bytes(outer["sig"]), str(outer.get("sig_algo", _ALGORITHMS["sig_algo"])))
    try:
        load = _Serials({}, aes).loads(sealed)
    except (AuthenticationError, ValueError) as err:
        raise StaleKeyError("the publication is under a key that is not known") from err
    if not isinstance(load, dict) or not {"tgt", "jid", "fun", "arg"} <= set(load):
        raise WireError("a publication is no job")
    return load


class _Serials(Crypticle):  # type: ignore[misc]  # Salt has no types
    """A Crypticle that leaves the serial in: who reads publications judges it."""

    def loads(self, data: bytes) -> Any:
        """Return what ``data`` holds."""
        clear = self.decrypt(data)
        if not clear.startswith(self.PICKLE_PAD):
            raise WireError("a publication is malformed")
        return salt.payload.loads(clear[len(self.PICKLE_PAD) :])


def _open_aes(sign_in: SignIn, inner: Mapping[str, Any], key: rsa.RSAPrivateKey, master: MasterKey) -> str:
    clear = _unlock(key, _bytes(inner.get("aes")))
    master.check_digest(clear, _bytes(inner.get("sig")))
    aes, mark, token = clear.partition(b"_|-")
    if not mark and "token" in inner:  # auth_mode 1, the default; in auth_mode 2 the token stands behind the key
        token = _unlock(key, _bytes(inner["token"]))
    if token != sign_in.token:
        raise WireError("the master could not read the token: it has not the private key that it shows")
    return aes.decode()


def _refusal(verdict: object, minion: str) -> RefusedKeyError:
    if verdict == "full":
        return RefusedKeyError("full", "the master has as many minions as it takes")
    if verdict:
        return RefusedKeyError("pending", f"the key waits to be accepted: salt-key -a {minion}")
    return RefusedKeyError("rejected", "the master rejects the key, or has accepted another one under this id")


def _unlock(key: rsa.RSAPrivateKey, sealed: bytes) -> bytes:
    try:
        return key.decrypt(sealed, _OAEP)
    except ValueError as err:
        raise WireError("the master has sealed something for another key") from err


def _loads(message: bytes) -> Any:
    if len(message) > _MOST:
        raise WireError(f"a message of {len(message)} bytes is too large")
    try:
        return salt.payload.loads(message)
    except (SaltException, ValueError) as err:
        raise WireError("a message is no msgpack") from err


def _mapping(message: bytes) -> dict[str, Any]:
    found = _loads(message)
    if not isinstance(found, dict):
        raise WireError(f"the master has answered {str(found)[:80]!r}")
    return found


def _bytes(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode()
    return value if isinstance(value, bytes) else b""


def _clean(pem: str) -> str:
    return "\n".join(line.strip() for line in pem.strip().splitlines())
