"""The protocol: what a master may say, and what a minion does not believe."""

import base64
import datetime
import functools
import hashlib
import secrets
from typing import Any

import pytest
import salt.payload
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from hypothesis import example, given
from hypothesis import strategies as st
from salt.crypt import Crypticle
from salt.utils.rsax931 import RSAX931Signer

from saltext_logilab.errors import LogilabError, WireError
from saltext_logilab.swarm import keys, sealing, wire
from saltext_logilab.swarm.sealing import StaleKeyError
from saltext_logilab.swarm.unlocking import unlock
from saltext_logilab.swarm.wire import MasterKey, RefusedKeyError, SignIn

NONCE = "0" * 32


@functools.cache
def pair(number: int = 0) -> keys.Pair:
    return keys.generate(number)


def private(pair: keys.Pair) -> rsa.RSAPrivateKey:
    key = load_der_private_key(pair.private, password=None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


class Answers:
    """What a master answers, made as ``salt.master`` makes it, with parts that a test may change."""

    def __init__(self, master: keys.Pair | None = None) -> None:
        self.pair = master or pair(100)
        self.aes = Crypticle.generate_key_string()
        self.session = Crypticle.generate_key_string()

    @property
    def key(self) -> MasterKey:
        return MasterKey(self.pair.public)

    def sign(self, message: bytes) -> bytes:
        return private(self.pair).sign(message, padding.PKCS1v15(), hashes.SHA1())

    def accept(self, sign_in: SignIn, **changes: Any) -> bytes:
        public = private(pair()).public_key()
        pem = private(self.pair).private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        digest = hashlib.sha256(self.aes.encode()).hexdigest().encode()
        load: dict[str, Any] = {
            "enc": "pub",
            "pub_key": self.pair.public,
            "publish_port": 4505,
            "aes": seal(public, self.aes.encode()),
            "session": seal(public, self.session.encode()),
            "sig": RSAX931Signer(pem).sign(digest),
            "nonce": sign_in.nonce,
        }
        if sign_in.token:
            load["token"] = seal(public, sign_in.token)
        return self.signed({**load, **changes})

    def signed(self, load: dict[str, Any]) -> bytes:
        packed = salt.payload.dumps({key: value for key, value in load.items() if value is not None})
        return salt.payload.dumps({"enc": "clear", "load": packed, "sig": self.sign(packed)})


def seal(public: rsa.RSAPublicKey, secret: bytes) -> bytes:
    return public.encrypt(secret, padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None))


@pytest.mark.parametrize("known", [False, True])
def test_a_minion_signs_in(known: bool) -> None:
    """Both keys are taken out of an answer whose signatures, nonce and token hold."""
    master = Answers()
    sign_in = SignIn.new("web1", master.key, known=known)
    accepted = wire.read_sign_in(sign_in, master.accept(sign_in), pair())
    assert accepted.aes == sealing.parse_key(master.aes.encode())
    assert accepted.session == sealing.parse_key(master.session.encode())
    assert (accepted.publish_port, accepted.master) == (4505, master.key)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"nonce": "f" * 32}, "another sign-in"),
        ({"session": None}, "version 3"),
        ({"sig": b"x" * 256}, "signature of its AES key"),
        ({"aes": b"x" * 256}, "for another key"),
        ({"aes": None}, "has no aes"),
        ({"token": None}, "could not read the token"),
        ({"publish_port": 0}, "no port"),
    ],
)
def test_a_wrong_answer_is_not_believed(changes: dict[str, Any], said: str) -> None:
    """Each part of the answer is checked."""
    master = Answers()
    sign_in = SignIn.new("web1", master.key, known=True)
    with pytest.raises(WireError, match=said):
        wire.read_sign_in(sign_in, master.accept(sign_in, **changes), pair())


def test_a_signed_master_may_change_its_key() -> None:
    """By the signature of its key, a master is believed with a new key too; without it, or with another one, not."""
    old, new, signer = Answers(), Answers(pair(101)), Answers(pair(102))
    sign_in = SignIn.new("web1", old.key, known=False, signer=signer.key)
    signature = base64.b64encode(signer.sign(new.pair.public.encode()))
    assert wire.read_sign_in(sign_in, new.accept(sign_in, pub_sig=signature), pair()).master == new.key
    with pytest.raises(WireError, match="is not signed"):
        wire.read_sign_in(sign_in, old.accept(sign_in), pair())
    for wrong in (base64.b64encode(new.sign(new.pair.public.encode())), b"no base64"):
        with pytest.raises(WireError, match="signed by another key"):
            wire.read_sign_in(sign_in, new.accept(sign_in, pub_sig=wrong), pair())


def test_another_master_is_not_believed() -> None:
    """A master with another key than before is refused, and so is one that only shows the old key."""
    old, other = Answers(), Answers(pair(101))
    sign_in = SignIn.new("web1", old.key, known=True)
    with pytest.raises(WireError, match="another key than before"):
        wire.read_sign_in(sign_in, other.accept(sign_in), pair())
    with pytest.raises(WireError, match="signature does not hold"):
        wire.read_sign_in(sign_in, other.accept(sign_in, pub_key=old.pair.public), pair())


@pytest.mark.parametrize(("verdict", "state"), [(True, "pending"), (False, "rejected"), ("full", "full")])
def test_a_refusal_is_told(verdict: object, state: str) -> None:
    """A key that is pending or rejected, or a master that is full, is said in a sentence of its own."""
    master = Answers()
    sign_in = SignIn.new("web1", None, known=False)
    with pytest.raises(RefusedKeyError) as caught:
        wire.read_sign_in(sign_in, master.signed({"ret": verdict, "nonce": sign_in.nonce}), pair())
    assert caught.value.state == state


def test_a_request_can_be_read_by_salt() -> None:
    """What a minion seals, Salt's own class opens, with nonce and token; and the other way round."""
    session = Crypticle.generate_key_string()
    key = sealing.parse_key(session.encode())
    sent = salt.payload.loads(
        wire.request(key, pair().token, "web1", {"cmd": "_return", "return": {"a": [1, "é"]}}, NONCE)
    )
    load = Crypticle({}, session).loads(sent["load"])
    assert (load["cmd"], load["return"], load["id"], load["nonce"]) == ("_return", {"a": [1, "é"]}, "web1", NONCE)
    answer = salt.payload.dumps(Crypticle({}, session).dumps({"ok": True}, NONCE))
    assert wire.read_reply(key, answer, NONCE) == {"ok": True}
    with pytest.raises(WireError, match="another request"):
        wire.read_reply(key, answer, "f" * 32)
    with pytest.raises(StaleKeyError):
        wire.read_reply(secrets.token_bytes(56), answer, NONCE)
    with pytest.raises(StaleKeyError):
        wire.read_reply(key, salt.payload.dumps("bad load"), NONCE)


@pytest.mark.parametrize(
    "value", [datetime.datetime(2026, 1, 2, 3, 4, 5, 6), {1, 2}, 2**70, [{"a": 2**70}], b"\xff", "é", None, 1.5]
)
def test_a_return_is_packed_as_by_salt(value: object) -> None:
    """Whatever a callable answers reaches the master as a real minion would send it."""
    key = secrets.token_bytes(56)
    sent = salt.payload.loads(wire.request(key, b"", "web1", {"return": value}, NONCE))
    seen = salt.payload.loads(sealing.unseal(key, sent["load"]))["return"]
    assert seen == salt.payload.loads(salt.payload.dumps({"return": value}))["return"]


def test_a_key_opens_what_was_sealed_for_it_and_nothing_else() -> None:
    """A key of another minion, a malformed one and a cut message are errors of ours."""
    sealed = seal(private(pair()).public_key(), b"secret")
    assert unlock(pair().private, sealed) == b"secret"
    for key, message in ((pair(100).private, sealed), (b"no key", sealed), (pair().private, sealed[:-1])):
        with pytest.raises(WireError):
            unlock(key, message)


def test_a_publication_is_checked() -> None:
    """A job is read when its key and its signature hold, and no other."""
    master = Answers()
    key = sealing.parse_key(master.aes.encode())
    job = {"tgt": "*", "jid": "1", "fun": "test.ping", "arg": [], "serial": 3}
    sealed = Crypticle({}, master.aes).dumps(job)
    frame = {"enc": "aes", "load": sealed, "sig_algo": "PKCS1v15-SHA1", "sig": master.sign(sealed)}
    assert wire.read_publication(salt.payload.dumps(frame), key, master.key) == job
    with pytest.raises(StaleKeyError):
        wire.read_publication(salt.payload.dumps(frame), secrets.token_bytes(56), master.key)
    for change in ({"sig": b"x" * 256}, {"sig_algo": "none"}, {"load": sealed[:-1] + b"x"}):
        with pytest.raises(WireError):
            wire.read_publication(salt.payload.dumps({**frame, **change}), key, master.key)
    no_job = Crypticle({}, master.aes).dumps({"tgt": "*"})
    with pytest.raises(WireError, match="no job"):
        wire.read_publication(salt.payload.dumps({"enc": "aes", "load": no_job}), key, master.key)


@given(st.binary(max_size=300))
@example(b"\x81\x80\x00")
def test_any_bytes_give_an_error_of_ours(message: bytes) -> None:
    """Whatever comes over the wire: nothing but our own errors."""
    sign_in = SignIn("web1", NONCE, b"", None)
    key = bytes(56)
    for read in (
        lambda: wire.read_sign_in(sign_in, message, pair()),
        lambda: wire.read_reply(key, message, NONCE),
        lambda: wire.read_publication(message, key, None),
        lambda: wire.read_pillar(message, NONCE, pair(), MasterKey(pair().public)),
    ):
        with pytest.raises(LogilabError):
            read()


@given(st.binary(max_size=200))
def test_sealing_is_that_of_salt(content: bytes) -> None:
    """What one seals the other opens, whatever it is."""
    text = Crypticle.generate_key_string()
    key = sealing.parse_key(text.encode())
    assert Crypticle({}, text).decrypt(sealing.seal(key, content)) == b"pickle::" + content
    assert sealing.unseal(key, Crypticle({}, text).encrypt(b"pickle::" + content)) == content
