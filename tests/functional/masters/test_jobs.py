"""The job cache in a real PostgreSQL: replayed without doubles, pruned by the day, and away without loss."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path

import psycopg
import pytest

from saltext_logilab.errors import UnavailableError
from saltext_logilab.masters.jobs.cache import JobCache
from saltext_logilab.masters.jobs.clerk import Clerk
from saltext_logilab.masters.jobs.database import MIGRATIONS, Database
from saltext_logilab.masters.jobs.entries import Entry, Kind
from saltext_logilab.masters.jobs.spool import Spool
from tests.support.postgresql import PostgresqlServer

NOW = datetime.now(tz=timezone.utc)
JID = f"{NOW:%Y%m%d%H%M%S%f}"


@pytest.fixture
def dsn(postgresql_server: PostgresqlServer) -> str:
    """An empty database of its own."""
    name = f"jobs_{secrets.token_hex(4)}"
    with psycopg.connect(postgresql_server.dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{postgresql_server.dsn} dbname={name}"


@pytest.fixture
def database(dsn: str) -> Iterator[Database]:
    """The group's database as paris writes it."""
    made = Database(dsn, "paris")
    made.prepare()
    yield made
    made.close()


def a_job(jid: str = JID, at: datetime = NOW) -> list[Entry]:
    """Return what a master keeps of one job."""
    return [
        Entry(Kind.LOAD, jid, at, b"load", function="test.ping", user="root", target="*"),
        Entry(Kind.MINIONS, jid, at, minions=("m1", "m2")),
        Entry(Kind.RETURN, jid, at, b"\x00one", minion="m1", function="test.ping", retcode=0),
    ]


def test_a_replay_changes_nothing(database: Database) -> None:
    """What is written twice, in parts or by two masters, is there once, and the first stays."""
    database.write(a_job())
    database.write(a_job())
    database.write([Entry(Kind.RETURN, JID, NOW, b"two", minion="m1"), Entry(Kind.MINIONS, JID, NOW, minions=("m3",))])
    job = database.job(JID)
    assert (job.load, job.returns, job.minions) == (b"load", {"m1": b"\x00one"}, {"m1", "m2", "m3"})
    assert job.master == "paris"


def test_a_job_for_nobody(database: Database) -> None:
    """A target that matches no minion is kept like any other, also when it is written again."""
    for _ in range(2):
        database.write([Entry(Kind.LOAD, JID, NOW, b"load"), Entry(Kind.MINIONS, JID, NOW, minions=())])
    assert database.job(JID).minions == set()


def test_what_the_database_does_not_take_does_not_hold_up_the_rest(database: Database, tmp_path: Path) -> None:
    """It is left out and told in the log; what came with it is filed."""
    spool = Spool(tmp_path / "jobs.db")
    spool.append([*a_job()[:2], Entry(Kind.RETURN, JID, NOW, b"bad", minion="m\0"), *a_job()[2:]])
    Clerk(spool, database, keep_days=30).file()
    assert database.job(JID).returns == {"m1": b"\x00one"}
    assert spool.standing().waiting == 0


def test_a_name_that_a_minion_made_up_is_kept_without_what_hurts(database: Database, tmp_path: Path) -> None:
    """A function's name with a NUL or half a character is filed without them."""
    spool = Spool(tmp_path / "jobs.db")
    JobCache(spool, database).save_return(JID, "m1", b"one", function="te\0st.\udc80", retcode=1)
    Clerk(spool, database, keep_days=30).file()
    assert database.last_returns("test.?") == {"m1": JID}


def test_a_day_that_another_member_dropped_is_made_again(dsn: str, database: Database) -> None:
    """Writing fails once, for another try, and nothing is lost."""
    other = Database(dsn, "nantes")
    database.write(a_job())
    other.prune(NOW + timedelta(days=2))
    with pytest.raises(UnavailableError, match="no partition"):
        database.write(a_job())
    database.write(a_job())
    assert database.job(JID).load == b"load"
    other.close()


def test_a_load_may_come_after_its_minions(database: Database) -> None:
    """The order of entries does not matter."""
    for entry in reversed(a_job()):
        database.write([entry])
    job = database.job(JID)
    assert (job.load, job.minions, set(job.returns)) == (b"load", {"m1", "m2"}, {"m1"})


def test_each_master_sees_the_jobs_of_all(dsn: str, database: Database, tmp_path: Path) -> None:
    """What paris files, nantes reads; its own waiting entries come on top."""
    database.write(a_job())
    nantes = JobCache(Spool(tmp_path / "jobs.db"), Database(dsn, "nantes"))
    later = f"{NOW + timedelta(seconds=1):%Y%m%d%H%M%S%f}"
    nantes.save_load(later, b"mine", function="f", user="u", target="*")
    nantes.save_return(JID, "m2", b"late", function="test.ping", retcode=0)
    assert nantes.loads() == {later: b"mine", JID: b"load"}
    assert nantes.loads(1) == {later: b"mine"}
    assert nantes.job(JID).returns == {"m1": b"\x00one", "m2": b"late"}
    assert (nantes.minions(), nantes.last_returns("test.ping")) == (["m1"], {"m1": JID})


def test_two_masters_may_prepare_and_write_at_once(dsn: str) -> None:
    """Tables and partitions are made once, whoever comes first."""

    def work(master: str) -> None:
        one = Database(dsn, master)
        one.prepare()
        for number in range(20):
            one.write(a_job(f"{JID}_{number}", NOW - timedelta(days=number % 7)))
        one.close()

    with ThreadPoolExecutor() as pool:
        list(pool.map(work, ("paris", "nantes", "brest")))
    assert len(Database(dsn, "any").loads()) == 20


def test_old_days_are_dropped_whole(database: Database) -> None:
    """Days before the bound go, with their returns; the day of the bound itself stays."""
    for days in (0, 2, 3):
        database.write(a_job(f"old{days}", NOW - timedelta(days=days)))
    dropped = database.prune(NOW - timedelta(days=2))
    day = NOW - timedelta(days=3)
    assert dropped == [f"jobs_{day:%Y%m%d}", f"returns_{day:%Y%m%d}"]
    assert set(database.loads()) == {"old0", "old2"}
    database.write(a_job("again", NOW - timedelta(days=3)))
    assert "again" in database.loads()


def test_newer_tables_are_refused(dsn: str, database: Database) -> None:
    """A member with an older program writes nothing into what it does not know."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("UPDATE logilab.jobs_version SET version = 99")
    with pytest.raises(UnavailableError, match=f"version 99, this program knows {len(MIGRATIONS)}"):
        database.prepare()


def test_nothing_is_lost_while_the_database_is_away(
    new_postgresql_server: Callable[[], PostgresqlServer], tmp_path: Path
) -> None:
    """With PostgreSQL killed, jobs are kept and told by the spool; they are filed, once, when it is back."""
    server = new_postgresql_server()
    spool = Spool(tmp_path / "jobs.db")
    clerk = Clerk(spool, Database(server.dsn, "paris"), keep_days=30)
    cache = JobCache(Spool(tmp_path / "jobs.db"), Database(server.dsn, "paris"))
    clerk.file()
    server.kill()
    cache.save_load(JID, b"load", function="test.ping", user="root", target="*")
    cache.save_return(JID, "m1", b"one", function="test.ping", retcode=0)
    with pytest.raises(UnavailableError, match="PostgreSQL: "):
        clerk.file()
    assert cache.job(JID).returns == {"m1": b"one"}
    assert spool.standing().waiting == 2
    server.restart()
    clerk.file()
    assert spool.standing().waiting == 0
    assert Database(server.dsn, "nantes").job(JID).returns == {"m1": b"one"}
