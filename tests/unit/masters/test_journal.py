"""The journal: nothing lost, no counter twice, damage told."""

import sqlite3
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from saltext_logilab.errors import UnavailableError
from saltext_logilab.identity import Identity
from saltext_logilab.masters.group import KIND
from saltext_logilab.masters.journal import VERSION, Journal
from saltext_logilab.masters.kinds import chain, verify
from saltext_logilab.masters.reconcile import Applied, Change
from saltext_logilab.masters.records import State, member_id, sign
from tests.support.groups import NAMES, joined
from tests.support.minion_keys import IDENTITIES, KEYS, record


@pytest.fixture
def journal(tmp_path):
    """An empty journal of the first member."""
    made = Journal(tmp_path / "state" / "journal.db", IDENTITIES[0])
    made.enter(IDENTITIES[0].public)
    made.originate([joined(one, name) for one, name in zip(IDENTITIES, NAMES, strict=True)], at=1, shown=False)
    yield made
    made.close()


MEMBER_IDS = [member_id(one.public) for one in IDENTITIES]
MEMBERS = len(NAMES)
"""The records by which the members have joined."""


@pytest.fixture
def other(journal, tmp_path):
    """The journal of the second member."""
    made = Journal(tmp_path / "other.db", IDENTITIES[1])
    made.enter(journal.founder)
    made.merge(chain(journal.founder, journal.beyond({}, KIND)), journal.frontier())
    yield made
    made.close()


def accept(subject, key=KEYS[0], context=None):
    """A change: ``subject``'s key was accepted."""
    return Change(subject, State.ACCEPTED, key.fingerprint, key.pem, context or {})


def test_records_survive_a_restart(journal):
    """What was originated and applied is there again, and the counter goes on."""
    journal.originate([accept("web1"), accept("web2")], at=1)
    journal.close()
    again = Journal(journal.path, IDENTITIES[0])
    assert set(again.records()) == {"web1", "web2"}
    assert again.frontier() == {again.origin: MEMBERS + 2}
    assert again.digest() == journal_digest(again)
    assert again.applied()["web1"] == Applied(State.ACCEPTED, KEYS[0].fingerprint, {again.origin: MEMBERS + 1})
    again.originate([accept("web3")], at=1)
    assert set(again.records()) == {"web1", "web2", "web3"}
    again.close()


def journal_digest(journal):
    """The digest of the same records, counted anew."""
    fresh = Journal(journal.path)
    try:
        return fresh.digest()
    finally:
        fresh.close()


def test_a_record_that_is_superseded_goes(journal):
    """A delete leaves its tombstone alone, and the counts say so."""
    members = journal.frontier()
    shown = journal.originate([accept("web1")], at=1)
    journal.originate([Change("web1", State.DELETED, KEYS[0].fingerprint, "", shown["web1"].context)], at=1)
    assert journal.counts() == {"accepted": 0, "rejected": 0, "deleted": 1}
    assert len(list(journal.beyond(members))) == 1
    assert journal.digest() == journal_digest(journal)


def test_only_what_is_missing_is_sent(journal):
    """A peer that has everything up to a counter gets only what is beyond it."""
    members = journal.frontier()
    journal.originate([accept("web1"), accept("web2"), accept("web3")], at=1)
    assert len(list(journal.beyond(members))) == 3
    assert len(list(journal.beyond({journal.origin: MEMBERS + 2}))) == 1
    assert list(journal.beyond(journal.frontier())) == []


def received(journal, other):
    """What ``other`` would send to ``journal``, verified."""
    pairs = other.beyond(journal.frontier())
    return [one for pair in pairs if (one := verify(*pair, journal.group().publics()))]


def test_what_comes_twice_changes_nothing(journal, other):
    """A replayed record is no change, and neither is one that was superseded since."""
    shown = other.originate([accept("web1")], at=1)
    first = received(journal, other)
    assert journal.merge(first, other.frontier()) == {"web1"}
    assert journal.merge(first, other.frontier()) == set()
    assert journal.digest() == other.digest()
    other.originate([Change("web1", State.DELETED, KEYS[0].fingerprint, "", shown["web1"].context)], at=1)
    journal.merge(received(journal, other), other.frontier())
    for one in (journal, other):
        one.acknowledge(MEMBER_IDS[1 if one is journal else 0], b"n", journal.frontier(), 1)
        one.acknowledge(MEMBER_IDS[2], b"n", journal.frontier(), 1)
        assert one.collect() == 1
    assert journal.merge(first, other.frontier()) == set()
    assert journal.records() == {}


def test_an_origin_that_is_no_member_is_not_noted(other):
    """A frontier says nothing about strangers: their records would be missed for ever."""
    stranger = member_id(Identity(Ed25519PrivateKey.generate()).public) + bytes(4)
    before = other.frontier()
    other.merge([], {stranger: 5})
    assert other.frontier() == before


def test_each_run_has_its_own_counters(journal):
    """A journal that was set back cannot know it: each run uses counters of its own, from its first decision on."""
    journal.originate([accept("web1")], at=1)
    first = journal.origin
    journal.originate([accept("web2")], at=1)
    assert journal.origin == first
    journal.close()
    again = Journal(journal.path, IDENTITIES[0])
    assert again.origin == first
    again.originate([accept("web3")], at=1)
    assert again.origin != first
    assert again.origin[:8] == first[:8]
    assert again.records()["web3"][0].origin == again.origin
    again.close()


def test_a_peer_confirms_the_highest_counter(journal):
    """Then a new run goes on with the counters of the former one."""
    journal.originate([accept("web1")], at=1)
    first = journal.origin
    journal.close()
    again = Journal(journal.path, IDENTITIES[0])
    again.confirm()
    again.originate([accept("web2")], at=1)
    assert again.origin == first
    again.close()


def test_a_tombstone_is_dropped_when_all_have_it(journal, other):
    """Not before each member has acknowledged it, nor before all is here that they had decided until then."""
    shown = journal.originate([accept("web1")], at=1)
    journal.originate([Change("web1", State.DELETED, KEYS[0].fingerprint, "", shown["web1"].context)], at=1)
    (tombstone,) = (pair for pair in journal.beyond({}) if b"deleted" in pair[0])
    assert len(tombstone[0]) + len(tombstone[1]) <= 200
    assert journal.collect() == 0
    journal.acknowledge(MEMBER_IDS[1], b"n", journal.frontier(), 1)
    assert journal.collect() == 0
    other.originate([accept("web2")], at=1)
    journal.acknowledge(MEMBER_IDS[2], b"n", {**other.frontier(), **journal.frontier()}, 1)
    assert journal.collect() == 0
    journal.merge(received(journal, other), other.frontier())
    assert journal.collect() == 1
    assert set(journal.records()) == {"web2"}


def test_a_tombstone_beside_a_concurrent_accept_is_kept(journal, other):
    """Else the accept, which it has overruled, would count again."""
    other.originate([accept("web1")], at=1)
    journal.originate([Change("web1", State.DELETED, KEYS[0].fingerprint, "", {})], at=1)
    journal.merge(received(journal, other), other.frontier())
    for member in MEMBER_IDS[1:]:
        journal.acknowledge(member, b"n", journal.frontier(), 1)
    assert journal.collect() == 0


def test_a_member_that_knew_more_before_was_set_back(journal):
    """What it says is not taken for an acknowledgement; of a new journal it is."""
    known = {journal.origin: 9}
    assert journal.acknowledge(MEMBER_IDS[1], b"n", known, 1)
    assert not journal.acknowledge(MEMBER_IDS[1], b"n", {journal.origin: 8}, 2)
    assert journal.acknowledge(MEMBER_IDS[1], b"other", {journal.origin: 1}, 3)
    assert journal.acknowledged()[MEMBER_IDS[1]].frontier == {journal.origin: 1}


def test_the_history_of_an_id_is_kept_and_bounded(journal):
    """Who did what, the oldest first, and no more than the last fifty."""
    context = {}
    for number in range(60):
        state = State.ACCEPTED if number % 2 else State.REJECTED
        change = Change("web1", state, KEYS[0].fingerprint, KEYS[0].pem, context, actor=f"op{number}")
        context = journal.originate([change], at=number)["web1"].context
    past = journal.history("web1")
    assert [one.actor for one in past] == [f"op{number}" for number in range(10, 60)]
    assert [one.at for one in journal.history_of(MEMBER_IDS[0], 2)] == [59, 58]


def test_an_error_takes_everything_back(journal):
    """What was rolled back is not in the digest."""
    before = journal.digest()
    with pytest.raises(AttributeError):
        journal.originate([accept("web1"), None], at=1)
    assert journal.records() == {}
    assert journal.digest() == before == journal_digest(journal)
    journal.originate([accept("web1")], at=1)
    assert journal.digest() == journal_digest(journal)


def test_two_contents_under_one_counter_end_the_same_everywhere(journal, other):
    """Of two records under one counter the restrictive one stays, whatever the order of their arrival; it is told."""
    origin = member_id(IDENTITIES[2].public) + b"\0\0\0\1"
    pair = [sign(record(state, KEYS[0], origin, 1), IDENTITIES[2]) for state in (State.ACCEPTED, State.REJECTED)]
    for one in pair:
        journal.merge([one], {origin: 1})
    for one in reversed(pair):
        other.merge([one], {origin: 1})
    assert journal.records()["web1"][0].state is State.REJECTED
    assert journal.digest() == other.digest() == journal_digest(journal)
    for one in (journal, other):
        (told,) = one.reports()
        assert (told.kind, "lyon has made two decisions" in told.detail) == ("double", True)


def test_reports_are_told_once_and_taken_back(journal):
    """The same report is new once; a settled one is gone."""
    assert journal.report("web1", "conflict", "a and b", 1)
    assert not journal.report("web1", "conflict", "a and b", 2)
    assert [one.at for one in journal.reports()] == [1]
    journal.settle("web1", "conflict")
    assert journal.reports() == []


def test_a_damaged_journal_is_told(tmp_path):
    """A file that is no database, and one of a newer version, are refused in a sentence."""
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(b"no database at all" * 100)
    with pytest.raises(UnavailableError, match="cannot be opened"):
        Journal(damaged, IDENTITIES[0])
    newer = tmp_path / "newer.db"
    with sqlite3.connect(newer) as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(UnavailableError, match="version"):
        Journal(newer, IDENTITIES[0])
    with pytest.raises(UnavailableError, match="cannot be opened"):
        Journal(tmp_path / "absent.db")


def test_a_killed_writer_leaves_old_or_new(journal):
    """kill -9 in the middle of a transaction: the journal opens, with all of it or nothing."""
    journal.originate([accept("web1")], at=1)
    program = (
        "import os, sys\n"
        "import sqlite3\n"
        "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.execute('BEGIN IMMEDIATE')\n"
        "db.execute('DELETE FROM records')\n"
        "os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", program, str(journal.path)], check=False).returncode == -9
    journal.close()
    again = Journal(journal.path, IDENTITIES[0])
    assert set(again.records()) == {"web1"}
    again.close()


def test_a_full_disk_takes_nothing_away(small_disk):
    """What does not fit is refused in a sentence, as a whole; with room again it goes on, with one digest."""
    made = Journal(small_disk("768k") / "journal.db", IDENTITIES[0])
    made.enter(IDENTITIES[0].public)
    made.originate([joined(IDENTITIES[0], "paris")], at=1, shown=False)
    filler = made.path.with_name("filler")
    filler.write_bytes(bytes(350 * 1024))
    before = made.digest()
    with pytest.raises(UnavailableError, match="cannot be written"):
        made.originate([accept(f"web{number}") for number in range(1000)], at=1)
    assert made.records() == {}
    assert made.digest() == before == journal_digest(made)
    filler.unlink()
    made.originate([accept("web1")], at=1)
    assert set(made.records()) == {"web1"}
    made.close()


def test_the_journal_is_its_owners_alone(journal):
    """Nobody else can read what is in it."""
    assert journal.path.stat().st_mode & 0o077 == 0
    assert journal.path.parent.stat().st_mode & 0o077 == 0
