"""Entries of the job cache, and the spool that keeps them while there is no database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from saltext_logilab.errors import ConfigurationError
from saltext_logilab.masters.jobs import clerk
from saltext_logilab.masters.jobs import spool as spools
from saltext_logilab.masters.jobs.cache import JobCache
from saltext_logilab.masters.jobs.database import Database
from saltext_logilab.masters.jobs.entries import Entry, Kind, published
from saltext_logilab.masters.jobs.spool import Spool

NOW = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)
JID = "20261123110000000001"
NOWHERE = "host=127.0.0.1 port=1 dbname=none"


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    """An empty spool."""
    made = Spool(tmp_path / "jobs.db")
    yield made
    made.close()


@pytest.mark.parametrize(
    ("jid", "at"),
    [
        (JID, NOW - timedelta(hours=1, microseconds=-1)),
        (f"{JID}_4711", NOW - timedelta(hours=1, microseconds=-1)),
        ("99991231235959999999", NOW),
        ("00010101000000000000", NOW),
        ("20261399000000000000", NOW),
        ("req", NOW),
        ("", NOW),
    ],
    ids=["plain", "unique", "far ahead", "long ago", "no date", "standalone", "empty"],
)
def test_when_a_job_was_published(jid: str, at: datetime) -> None:
    """Its id tells, where it can be believed."""
    assert published(jid, NOW) == at


def test_the_spool_gives_back_what_it_got(spool: Spool) -> None:
    """In the order in which it came, bytes as they were, until it is stored."""
    entries = [
        Entry(Kind.LOAD, JID, NOW, b"\x00\xff", function="test.ping", user="root", target="*"),
        Entry(Kind.MINIONS, JID, NOW, minions=("m1", "m2")),
        Entry(Kind.RETURN, JID, NOW, b"\x80", minion="m1", function="test.ping", retcode=0),
    ]
    spool.append(entries)
    waiting = spool.waiting(10)
    assert [entry for _, entry in waiting] == entries
    spool.stored(number for number, _ in waiting[:2])
    assert [entry for _, entry in spool.waiting(10)] == entries[2:]
    assert spool.standing().waiting == 1


def test_what_is_stored_can_be_told_for_an_hour_more(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A master knows its latest jobs alone; later they are the database's only."""
    spool.append([Entry(Kind.LOAD, JID, NOW, b"load")])
    spool.stored(number for number, _ in spool.waiting(1))
    assert spool.job(JID).load == b"load"
    monkeypatch.setattr(spools, "KEPT", -1)
    spool.stored([])
    assert spool.job(JID).load is None


def test_the_first_load_and_the_first_return_stay(spool: Spool) -> None:
    """A second return of one minion changes nothing, as in Salt's own cache."""
    cache = JobCache(spool, Database(NOWHERE, "paris"))
    for blob in (b"1", b"2"):
        cache.save_load(JID, blob, function="f", user="u", target="*")
        cache.save_return(JID, "m1", blob, function="f", retcode=0)
        cache.save_minions(JID, [f"m{blob.decode()}"])
    job = cache.job(JID)
    assert (job.load, job.returns, job.minions) == (b"1", {"m1": b"1"}, {"m1", "m2"})
    assert cache.loads() == {JID: b"1"}


def test_a_problem_is_told_since_it_began(spool: Spool) -> None:
    """The standing tells why nothing is filed and since when; a success ends it."""
    spool.fail("down")
    first = spool.standing()
    spool.fail("still down")
    assert (spool.standing().problem, spool.standing().since) == ("still down", first.since)
    spool.stored([])
    assert (spool.standing().problem, spool.standing().since) == (None, None)


@pytest.mark.parametrize(
    ("jobs", "sentence"),
    [
        ({}, "logilab:masters:jobs:dsn is missing"),
        ({"dsn": 5}, "logilab:masters:jobs:dsn must be a text, not 5"),
        ({"dns": "x"}, r"logilab:masters:jobs:dns is not a known setting \(did you mean 'dsn'\?\)"),
        ({"dsn": "x", "keep_days": 0}, "logilab:masters:jobs:keep_days must be at least 1, not 0"),
    ],
    ids=["missing", "type", "unknown", "never"],
)
def test_wrong_settings_are_one_sentence(jobs: dict[str, object], sentence: str) -> None:
    """Each error names its whole path."""
    with pytest.raises(ConfigurationError, match=sentence):
        clerk.read({"logilab": {"masters": {"jobs": jobs}}, "pki_dir": "/etc/salt/pki/master"})
