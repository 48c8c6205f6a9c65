"""Records: what survives a merge, what a set of them means, what is refused."""

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saltext_logilab.errors import WireError
from saltext_logilab.identity import fingerprint
from saltext_logilab.masters import keys, kinds, records
from saltext_logilab.masters.records import Record, State
from tests.support import minion_keys
from tests.support.minion_keys import IDENTITIES, KEYS, record

ORIGINS = [records.member_id(one.public) + b"\0\0\0\1" for one in IDENTITIES]


@st.composite
def histories(draw: st.DrawFn) -> list[Record]:
    """Some decisions about one id by three members, each made with some of the earlier ones known."""
    made: list[Record] = []
    for _ in range(draw(st.integers(1, 7))):
        origin = draw(st.sampled_from(ORIGINS))
        known = [one for one in made if one.origin == origin or draw(st.booleans())]
        counter = 1 + max((one.counter for one in made if one.origin == origin), default=0)
        state, key = draw(st.sampled_from(keys.STATES)), draw(st.sampled_from(KEYS))
        one = record(state, key, origin, counter, records.join(*(one.vector for one in known)))
        if draw(st.booleans()) and state is State.ACCEPTED:
            against = {print_ for each in known for print_ in (each.fingerprint, *each.against)} - {key.fingerprint}
            one = dataclasses.replace(one, settles=True, against=tuple(sorted(against)))
        made.append(one)
    return made


@given(histories(), st.randoms())
def test_the_order_in_which_records_come_does_not_matter(history, random):
    """Merging is commutative, associative and idempotent: any order, any grouping, any repetition."""
    shuffled = [*history, *random.choices(history, k=3)]
    random.shuffle(shuffled)
    cut = random.randrange(len(shuffled) + 1)
    parts = [*records.concurrent(shuffled[:cut]), *records.concurrent(shuffled[cut:])]
    assert records.concurrent(parts) == records.concurrent(history)
    assert keys.effect(parts) == keys.effect(history)


@given(histories())
def test_what_remains_knows_nothing_of_each_other(history):
    """Of the remaining records none supersedes another, and each that is gone was superseded."""
    kept = records.concurrent(history)
    assert not any(a.supersedes(b) for a, b in itertools.permutations(kept, 2))
    assert all(any(other.supersedes(one) for other in history) for one in history if one not in kept)


@pytest.mark.parametrize(
    ("first", "second", "wins"),
    [
        (State.ACCEPTED, State.REJECTED, State.REJECTED),
        (State.ACCEPTED, State.DELETED, State.DELETED),
        (State.REJECTED, State.DELETED, State.DELETED),
        (State.ACCEPTED, State.ACCEPTED, State.ACCEPTED),
    ],
)
def test_the_restrictive_side_wins(first, second, wins):
    """Of concurrent decisions about one key the restrictive one stands, and the other one is told as overruled."""
    pair = [record(first, KEYS[0], ORIGINS[0], 1), record(second, KEYS[0], ORIGINS[1], 1)]
    means = keys.effect(pair)
    assert means.state is wins
    assert [one.state for one in means.overruled] == [one.state for one in pair if one.state is not wins]


def test_two_accepted_keys_are_a_conflict():
    """Two keys that were accepted at once under one id: none of them stands."""
    pair = [record(State.ACCEPTED, key, origin, 1) for key, origin in zip(KEYS[:2], ORIGINS[:2], strict=True)]
    means = keys.effect(pair)
    assert means.state is None
    assert {one.fingerprint for one in means.rivals} == {KEYS[0].fingerprint, KEYS[1].fingerprint}


def test_a_reinstalled_minion_is_no_conflict():
    """A key that was deleted at the same time as a new one was accepted does not touch the new one."""
    old = record(State.ACCEPTED, KEYS[0], ORIGINS[0], 1)
    deleted_here = record(State.DELETED, KEYS[0], ORIGINS[0], 2, old.vector)
    deleted_there = record(State.DELETED, KEYS[0], ORIGINS[1], 1, old.vector)
    new = record(State.ACCEPTED, KEYS[1], ORIGINS[1], 2, deleted_there.vector)
    means = keys.effect([old, deleted_here, deleted_there, new])
    assert (means.state, means.fingerprint, means.rivals) == (State.ACCEPTED, KEYS[1].fingerprint, ())


def test_a_record_travels_unchanged():
    """What was signed is read back the same, and its origin is proven."""
    made = record(State.ACCEPTED, KEYS[0], ORIGINS[0], 7, {ORIGINS[1]: 3})
    signed = records.sign(made, IDENTITIES[0])
    members = {records.member_id(IDENTITIES[0].public): IDENTITIES[0].public}
    received = kinds.verify(signed.blob, signed.signature, members)
    assert received is not None
    assert received.record == made
    assert received.record.context == made.context


def test_a_record_of_a_stranger_is_passed_over():
    """A record whose origin is no member is no record."""
    signed = records.sign(record(State.ACCEPTED, KEYS[0], ORIGINS[0], 1), IDENTITIES[0])
    assert kinds.verify(signed.blob, signed.signature, {}) is None


def test_a_forged_record_is_refused():
    """A member cannot sign for another one, and nobody can change a byte."""
    signed = records.sign(record(State.ACCEPTED, KEYS[0], ORIGINS[0], 1), IDENTITIES[1])
    members = {records.member_id(one.public): one.public for one in IDENTITIES}
    with pytest.raises(WireError, match="wrong signature"):
        kinds.verify(signed.blob, signed.signature, members)


@given(st.binary(max_size=300))
def test_garbage_is_refused(blob):
    """No bytes make anything but a record or a WireError."""
    with pytest.raises(WireError):
        records.decode(blob)


@given(st.data())
def test_a_damaged_record_is_refused_or_harmless(data):
    """A record with some bytes exchanged never decodes to something that breaks the rules for ids and keys."""
    blob = bytearray(records.sign(record(State.ACCEPTED, KEYS[0], ORIGINS[0], 1), IDENTITIES[0]).blob)
    for _ in range(data.draw(st.integers(1, 4))):
        blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = records.decode(bytes(blob))
        keys.check(decoded)
    except WireError:
        return
    assert keys.is_minion_id(decoded.subject)
    assert decoded.state is State.DELETED or keys.parse_key(decoded.value).fingerprint == decoded.fingerprint


BAD = {
    "path": {"subject": "../x"},
    "hidden file": {"subject": ".hidden"},
    "long id": {"subject": "a" * 256},
    "control character": {"subject": "a\nb"},
    "temporary file": {"subject": "tmpabcd1234"},
    "no key": {"value": ""},
    "no PEM": {"value": "no key"},
    "a state of members": {"state": State.JOINED},
    "an escape sequence for an actor": {"actor": "a\x1b[31m"},
    "long actor": {"actor": "a" * 65},
    "settles": {"settles": 1},
    "against a key without settling": {"against": (KEYS[1].fingerprint,)},
    "against its own key": {"settles": True, "against": (KEYS[0].fingerprint,)},
    "against one key twice": {"settles": True, "against": (KEYS[1].fingerprint, KEYS[1].fingerprint)},
    "against too many keys": {
        "settles": True,
        "against": tuple(f"{one:02x}:" + ":".join(["00"] * 31) for one in range(65)),
    },
    "against no fingerprint": {"settles": True, "against": ("00:11",)},
    "another key": {"fingerprint": KEYS[1].fingerprint},
    "counter too low": {"counter": 0},
    "counter too high": {"counter": 2**63},
    "no origin": {"origin": b"short"},
    "knows itself": {"context": {ORIGINS[0]: 5}},
    "knows no origin": {"context": {b"short": 1}},
}


@pytest.mark.parametrize("wrong", BAD.values(), ids=BAD)
def test_a_malformed_record_is_refused(wrong):
    """Even a member's own signature lets no malformed record in."""
    made = dataclasses.replace(record(State.ACCEPTED, KEYS[0], ORIGINS[0], 5), **wrong)
    members = {records.member_id(one.public): one.public for one in IDENTITIES}

    def travel():
        signed = records.sign(made, IDENTITIES[0])
        return kinds.verify(signed.blob, signed.signature, members)

    with pytest.raises((WireError, OverflowError)):
        travel()


def test_a_key_that_a_settlement_has_denied_does_not_come_back():
    """Rejected here, accepted there, and a conflict settled for another key: when that one goes, neither comes back."""
    first, other = KEYS[:2]
    rejected = record(State.REJECTED, first, ORIGINS[0], 1)
    accepted = record(State.ACCEPTED, first, ORIGINS[1], 1)  # knows nothing of the others
    rival = record(State.ACCEPTED, other, ORIGINS[2], 1)
    settled = record(State.ACCEPTED, other, ORIGINS[2], 2, {ORIGINS[0]: 1, ORIGINS[2]: 1})
    settled = dataclasses.replace(settled, settles=True, against=(first.fingerprint,))
    means = keys.effect([rejected, accepted, rival, settled])
    assert (means.state, means.fingerprint, means.overruled) == (State.ACCEPTED, other.fingerprint, (accepted,))
    deleted = record(State.DELETED, other, ORIGINS[2], 3, settled.vector)
    deleted = dataclasses.replace(deleted, settles=True, against=(first.fingerprint,))
    means = keys.effect([rejected, accepted, rival, settled, deleted])
    assert (means.state, means.fingerprint) == (State.DELETED, other.fingerprint)


def test_two_settlements_against_each_other_leave_the_conflict():
    """Who settles a conflict for one key, and who does so for the other at the same time: it stays."""
    both = [
        dataclasses.replace(
            record(State.ACCEPTED, KEYS[one], ORIGINS[one], 1), settles=True, against=(KEYS[1 - one].fingerprint,)
        )
        for one in (0, 1)
    ]
    assert {one.fingerprint for one in keys.effect(both).rivals} == {one.fingerprint for one in KEYS[:2]}


def test_a_record_of_an_unknown_kind_is_passed_over():
    """A member with a newer version may tell more than this one understands."""
    made = dataclasses.replace(record(State.ACCEPTED, KEYS[0], ORIGINS[0], 5), kind="weather")
    signed = records.sign(made, IDENTITIES[0])
    assert kinds.verify(signed.blob, signed.signature, {ORIGINS[0][:8]: IDENTITIES[0].public}) is None


@pytest.mark.parametrize("name", ["web1", "web-1.example.com", "%2f", "ä", "a b", "x" * 255])
def test_ids_that_salt_allows_are_ids(name):
    """Strange names that are safe file names are ids."""
    assert keys.is_minion_id(name)


@pytest.mark.parametrize("name", ["", ".", "..", "../x", ".hidden", "a/b", "a\\b", "a\0", "\x1b[31m", "x" * 256])
def test_names_that_are_no_ids_are_none(name):
    """What could leave the key directories, hide in them or forge a log line is no id."""
    assert not keys.is_minion_id(name)


def test_one_key_in_two_spellings_is_one_key():
    """Line ends and blank lines do not make another key; a private key and a text are none."""
    pem = KEYS[0].pem
    assert keys.parse_key(pem.replace("\n", "\r\n") + "\n\n") == KEYS[0]
    assert keys.parse_key(IDENTITIES[0].pem.decode()) is None
    assert keys.parse_key("x" * (keys.PEM_LIMIT + 1)) is None


def test_fingerprints_are_those_of_salt_key(tmp_path):
    """What is shown can be compared with ``salt-key -f``."""
    import salt.utils.crypt  # noqa: PLC0415

    path = tmp_path / "minion"
    path.write_text(KEYS[0].pem)
    assert KEYS[0].fingerprint == salt.utils.crypt.pem_finger(str(path), sum_type="sha256")


def test_identities_have_the_fingerprint_of_openssh():
    """The fingerprint is ``SHA256:`` and 43 characters of base64."""
    assert fingerprint(minion_keys.IDENTITIES[0].public) == minion_keys.IDENTITIES[0].fingerprint
    assert len(minion_keys.IDENTITIES[0].fingerprint) == 50
