"""
The job cache of the group in PostgreSQL: one partition a day, which is dropped whole when its jobs are old.

Writing is idempotent, so that a spool can be replayed: what is there already stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from saltext_logilab.errors import RefusedError, UnavailableError
from saltext_logilab.masters.jobs.entries import Entry, Job, Kind

try:
    import psycopg
except ImportError:  # the extra [postgresql] is not installed
    psycopg = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from psycopg import Connection

MISSING = "the job cache needs psycopg: pip install 'saltext-logilab[postgresql]'"
CONNECT = 5  # seconds
STATEMENT = 30  # seconds
_LOCK = 0x6C6F67696C6162  # the name of our advisory lock: one member at a time changes tables
_TABLES = ("jobs", "returns")

# Each step leads from the version of its place to the next one.
MIGRATIONS = (
    """
    CREATE TABLE logilab.jobs (
        at timestamptz NOT NULL, jid text NOT NULL, master text NOT NULL, function text NOT NULL DEFAULT '',
        username text NOT NULL DEFAULT '', target text NOT NULL DEFAULT '', minions text[] NOT NULL DEFAULT '{}',
        load bytea, PRIMARY KEY (at, jid)
    ) PARTITION BY RANGE (at);
    CREATE INDEX ON logilab.jobs (jid);
    CREATE TABLE logilab.returns (
        at timestamptz NOT NULL, jid text NOT NULL, minion text NOT NULL, function text NOT NULL,
        retcode integer, received timestamptz NOT NULL DEFAULT now(), full_return bytea NOT NULL,
        PRIMARY KEY (at, jid, minion)
    ) PARTITION BY RANGE (at);
    CREATE INDEX ON logilab.returns (jid);
    CREATE INDEX ON logilab.returns (minion, at DESC)
    """,
)

_JOB = """
INSERT INTO logilab.jobs (at, jid, master, function, username, target, load) VALUES (%s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (at, jid) DO UPDATE SET load = excluded.load, function = excluded.function,
    username = excluded.username, target = excluded.target WHERE jobs.load IS NULL
"""
_MINIONS = """
INSERT INTO logilab.jobs (at, jid, master, minions) VALUES (%s, %s, %s, %s) ON CONFLICT (at, jid) DO UPDATE
SET minions = (SELECT coalesce(array_agg(DISTINCT one), '{}') FROM unnest(jobs.minions || excluded.minions) AS one)
"""
_RETURN = """
INSERT INTO logilab.returns (at, jid, minion, function, retcode, full_return) VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT DO NOTHING
"""


class Database:
    """The PostgreSQL of the group, by its connection string; connected when it is needed, kept while it works."""

    def __init__(self, dsn: str, master: str) -> None:
        """Name the database; ``master`` is who writes."""
        self._dsn, self.master = dsn, master
        self._connection: Connection[Any] | None = None
        self._days: set[date] = set()

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def prepare(self) -> None:
        """Make the tables, or bring them to this program's version; :raises UnavailableError: it cannot be done."""
        with self._working() as connection, connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            connection.execute("CREATE SCHEMA IF NOT EXISTS logilab")
            connection.execute("CREATE TABLE IF NOT EXISTS logilab.jobs_version (version integer NOT NULL)")
            found = connection.execute("SELECT version FROM logilab.jobs_version").fetchone()
            version = found[0] if found else 0
            if version > len(MIGRATIONS):
                raise UnavailableError(
                    f"the tables of jobs have version {version}, this program knows {len(MIGRATIONS)}"
                )
            for step in MIGRATIONS[version:]:
                connection.execute(step)
            connection.execute("DELETE FROM logilab.jobs_version")
            connection.execute("INSERT INTO logilab.jobs_version VALUES (%s)", (len(MIGRATIONS),))

    def write(self, entries: Iterable[Entry]) -> None:
        """
        Write ``entries``, all or none.

        :raises UnavailableError: they were not written.
        :raises RefusedError: there is something in them that PostgreSQL does not take, such as a NUL in a name.
        """
        wanted = list(entries)
        with self._working() as connection, connection.transaction(), connection.cursor() as cursor:
            self._have_partitions(connection, {entry.at.astimezone(timezone.utc).date() for entry in wanted})
            for kind, statement, row in ((Kind.LOAD, _JOB, self._load), (Kind.MINIONS, _MINIONS, self._minions),
                                         (Kind.RETURN, _RETURN, self._return)):  # fmt: skip
                cursor.executemany(statement, [row(entry) for entry in wanted if entry.kind is kind])

    def _load(self, entry: Entry) -> tuple[object, ...]:
        return entry.at, entry.jid, self.master, entry.function, entry.user, entry.target, entry.blob

    def _minions(self, entry: Entry) -> tuple[object, ...]:
        return entry.at, entry.jid, self.master, list(entry.minions)

    def _return(self, entry: Entry) -> tuple[object, ...]:
        return entry.at, entry.jid, entry.minion, entry.function, entry.retcode, entry.blob

    def _have_partitions(self, connection: Connection[Any], days: set[date]) -> None:
        if missing := days - self._days:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            for day in sorted(missing):
                for table in _TABLES:
                    connection.execute(
                        f"CREATE TABLE IF NOT EXISTS logilab.{table}_{day:%Y%m%d} PARTITION OF logilab.{table}"
                        f" FOR VALUES FROM ('{day} 00:00+00') TO ('{day + timedelta(days=1)} 00:00+00')"
                    )
            self._days |= missing

    def prune(self, before: datetime) -> list[str]:
        """Drop the days that ended before ``before``; return the names of what was dropped."""
        with self._working() as connection, connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            rows = connection.execute(
                "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
                " JOIN pg_class p ON p.oid = i.inhparent JOIN pg_namespace n ON n.oid = p.relnamespace"
                " WHERE n.nspname = 'logilab' AND p.relname = ANY(%s) AND right(c.relname, 8) < %s ORDER BY 1",
                (list(_TABLES), f"{before.astimezone(timezone.utc):%Y%m%d}"),
            )
            old = [row[0] for row in rows]
            for table in old:
                connection.execute(f"DROP TABLE logilab.{table}")
        self._days.clear()
        return old

    def job(self, jid: str) -> Job:
        """Return what is known of the job ``jid``."""
        found = Job()
        with self._working() as connection:
            rows = connection.execute("SELECT load, minions, master FROM logilab.jobs WHERE jid = %s", (jid,))
            for load, minions, master in rows:
                found.load, found.master = found.load or load, master
                found.minions |= set(minions)
            returned = connection.execute("SELECT minion, full_return FROM logilab.returns WHERE jid = %s", (jid,))
            found.returns = {minion: bytes(blob) for minion, blob in returned}
        return found

    def loads(self, count: int | None = None) -> dict[str, tuple[str, bytes]]:
        """Return the master and the packed load of the newest jobs, all or so many, by jid."""
        with self._working() as connection:
            rows = connection.execute(
                "SELECT jid, master, load FROM logilab.jobs WHERE load IS NOT NULL ORDER BY at DESC LIMIT %s", (count,)
            )
            return {jid: (master, bytes(load)) for jid, master, load in rows}

    def masters(self, jids: list[str]) -> dict[str, str]:
        """Return the master that has started each of the jobs ``jids``."""
        with self._working() as connection:
            rows = connection.execute("SELECT jid, master FROM logilab.jobs WHERE jid = ANY(%s)", (jids,))
            return dict(rows.fetchall())

    def last_returns(self, function: str) -> dict[str, str]:
        """Return for each minion the jid of its last return of ``function``."""
        with self._working() as connection:
            rows = connection.execute(
                "SELECT DISTINCT ON (minion) minion, jid FROM logilab.returns WHERE function = %s"
                " ORDER BY minion, at DESC",
                (function,),
            )
            return dict(rows.fetchall())

    def minions(self) -> list[str]:
        """Return the ids of all minions that have returned something."""
        with self._working() as connection:
            return [row[0] for row in connection.execute("SELECT DISTINCT minion FROM logilab.returns ORDER BY 1")]

    @contextmanager
    def _working(self) -> Iterator[Connection[Any]]:
        if psycopg is None:
            raise UnavailableError(MISSING)
        try:
            if self._connection is None or self._connection.closed:
                self._connection = psycopg.connect(
                    self._dsn, autocommit=True, connect_timeout=CONNECT, application_name="saltext-logilab jobs",
                    options=f"-c statement_timeout={STATEMENT}s",
                )  # fmt: skip
            yield self._connection
        except (psycopg.DataError, UnicodeError) as err:
            self._days.clear()  # partitions that were made just now are rolled back
            raise RefusedError(f"PostgreSQL: {str(err).strip().splitlines()[0]}") from err
        except psycopg.Error as err:
            self.close()
            self._days.clear()  # another member may have dropped a day
            raise UnavailableError(f"PostgreSQL: {str(err).strip().splitlines()[0]}") from err
