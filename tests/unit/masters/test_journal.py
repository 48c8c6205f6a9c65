"""The journal: nothing lost, no counter twice, damage told."""

import sqlite3
import subprocess
import sys

import pytest

from saltext_logilab.errors import UnavailableError
from saltext_logilab.masters.journal import VERSION, Journal
from saltext_logilab.masters.reconcile import Applied, Change
from saltext_logilab.masters.records import State, verify
from tests.support.minion_keys import IDENTITIES, KEYS, record


@pytest.fixture
def journal(tmp_path):
    """An empty journal of the first member."""
    made = Journal(tmp_path / "state" / "journal.db", IDENTITIES[0])
    made.add_members([one.public for one in IDENTITIES])
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
    assert again.frontier() == {again.origin: 2}
    assert again.digest() == journal_digest(again)
    assert again.applied()["web1"] == Applied(State.ACCEPTED, KEYS[0].fingerprint, {again.origin: 1})
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
    shown = journal.originate([accept("web1")], at=1)
    journal.originate([Change("web1", State.DELETED, KEYS[0].fingerprint, "", shown["web1"].context)], at=1)
    assert journal.counts() == {"accepted": 0, "rejected": 0, "deleted": 1}
    assert len(list(journal.beyond({}))) == 1
    assert journal.digest() == journal_digest(journal)


def test_only_what_is_missing_is_sent(journal):
    """A peer that has everything up to a counter gets only what is beyond it."""
    journal.originate([accept("web1"), accept("web2"), accept("web3")], at=1)
    assert len(list(journal.beyond({}))) == 3
    assert len(list(journal.beyond({journal.origin: 2}))) == 1
    assert list(journal.beyond(journal.frontier())) == []


def test_what_comes_twice_changes_nothing(journal, tmp_path):
    """A replayed record is no change."""
    other = Journal(tmp_path / "other.db", IDENTITIES[1])
    other.originate([accept("web1")], at=1)
    (pair,) = other.beyond({})
    received = verify(*pair, journal.members())
    assert journal.merge([received], other.frontier(), journal.members()) == {"web1"}
    assert journal.merge([received], other.frontier(), journal.members()) == set()
    assert journal.digest() == other.digest()
    other.close()


def test_an_origin_that_is_no_member_is_not_noted(journal):
    """A frontier says nothing about strangers: their records would be missed for ever."""
    journal.originate([accept("web1")], at=1)
    refused = {member: public for member, public in journal.members().items() if member != journal.origin[:8]}
    other = Journal(journal.path.with_name("other.db"), IDENTITIES[1])
    other.merge([], journal.frontier(), refused)
    other.merge(
        [one for pair in journal.beyond({}) if (one := verify(*pair, journal.members()))], {}, journal.members()
    )
    assert other.frontier() == {}
    assert other.count_beyond({}) == 1
    other.close()


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


def test_an_error_takes_everything_back(journal):
    """What was rolled back is not in the digest."""
    before = journal.digest()
    with pytest.raises(AttributeError):
        journal.originate([accept("web1"), None], at=1)
    assert journal.records() == {}
    assert journal.digest() == before == journal_digest(journal)
    journal.originate([accept("web1")], at=1)
    assert journal.digest() == journal_digest(journal)


def test_two_contents_under_one_counter_end_the_same_everywhere(journal, tmp_path):
    """Of two records under one counter the restrictive one stays, whatever the order of their arrival."""
    from saltext_logilab.masters.records import member_id, sign  # noqa: PLC0415

    origin = member_id(IDENTITIES[1].public) + b"\0\0\0\1"
    pair = [sign(record(state, KEYS[0], origin, 1), IDENTITIES[1]) for state in (State.ACCEPTED, State.REJECTED)]
    other = Journal(tmp_path / "other.db", IDENTITIES[2])
    for one in pair:
        journal.merge([one], {}, ())
    for one in reversed(pair):
        other.merge([one], {}, ())
    assert journal.records()["web1"][0].state is State.REJECTED
    assert journal.digest() == other.digest() == journal_digest(journal)
    other.close()


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


def test_the_journal_is_its_owners_alone(journal):
    """Nobody else can read what is in it."""
    assert journal.path.stat().st_mode & 0o077 == 0
    assert journal.path.parent.stat().st_mode & 0o077 == 0
