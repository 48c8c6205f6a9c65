"""
A group's records in PostgreSQL.

A row a head, a row a part. A notification tells which member has changed something; it is a hint only, and what lies
there is compared every few seconds all the same, by digests. No reader trusts that a higher number comes later: the
parts of one log are written by one member and read without a gap, or not at all.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from saltext_logilab.errors import UnavailableError
from saltext_logilab.masters.stores.backend import CALL_TIME, ChangedError, Word, slices
from saltext_logilab.masters.stores.settings import PostgresqlSettings, secret
from saltext_logilab.patience import within

try:
    import psycopg
except ImportError:  # the extra [postgresql] is not installed
    psycopg = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from psycopg import AsyncConnection

MISSING = "PostgreSQL as a store needs psycopg: pip install 'saltext-logilab[postgresql]'"
CHANNEL = "logilab_masters"
POLL = (7.0, 10.0)
AT_ONCE = 8
WRITE_SIZE, WRITE_COUNT = 4 * 1024 * 1024, 512
_LOCK = 0x6C6F67696D6173  # the name of our advisory lock: one member at a time makes tables

_NOTIFIED = ("", -1)  # what no poll finds: the next one tells of this member, be it as it was before or gone

_SCHEMA = """
CREATE SCHEMA IF NOT EXISTS logilab;
CREATE TABLE IF NOT EXISTS logilab.masters_parts (
    team text NOT NULL, member text NOT NULL, log text NOT NULL, number bigint NOT NULL, content bytea NOT NULL,
    PRIMARY KEY (team, member, log, number)
);
CREATE TABLE IF NOT EXISTS logilab.masters_heads (
    team text NOT NULL, member text NOT NULL, content bytea NOT NULL, PRIMARY KEY (team, member)
) WITH (fillfactor = 50)
"""
_PUT_PART = """
INSERT INTO logilab.masters_parts (team, member, log, number, content) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (team, member, log, number) DO UPDATE SET content = excluded.content
"""
_PUT_HEAD = """
INSERT INTO logilab.masters_heads (team, member, content) VALUES (%s, %s, %s)
ON CONFLICT (team, member) DO UPDATE SET content = excluded.content
"""
_REPLACE_HEAD = "UPDATE logilab.masters_heads SET content = %s WHERE team = %s AND member = %s AND sha256(content) = %s"
_STAMPS = """
SELECT member, md5(content),
    (SELECT count(*) FROM logilab.masters_parts p WHERE (p.team, p.member) = (h.team, h.member))
FROM logilab.masters_heads h WHERE team = %s
"""


class Postgresql:
    """Two connections to PostgreSQL: one listens, one works."""

    def __init__(self, settings: PostgresqlSettings, group: str) -> None:
        """Prepare."""
        self._settings, self._group = settings, group
        self._listening: AsyncConnection[Any] | None = None
        self._working: AsyncConnection[Any] | None = None

    @property
    def place(self) -> str:
        """Which store this is, and where."""
        return f"PostgreSQL at {self._settings.place}"

    async def open(self) -> None:
        """Connect twice; make the tables where there are none."""
        if psycopg is None:
            raise UnavailableError(MISSING)
        async with self._told():
            self._working = await self._connect()
            await self._make_tables(self._working)
            self._listening = await self._connect()
            await self._listening.execute(f"LISTEN {CHANNEL}")

    async def _connect(self) -> AsyncConnection[Any]:
        password = secret(self._settings.password_file, "the password of PostgreSQL")
        return await psycopg.AsyncConnection.connect(
            self._settings.dsn, autocommit=True, connect_timeout=int(CALL_TIME) // 2,
            application_name="saltext-logilab masters", options=f"-c statement_timeout={int(CALL_TIME)}s",
            keepalives_idle=15, keepalives_interval=5, keepalives_count=2, tcp_user_timeout=int(CALL_TIME * 1000),
            password=password or None,
        )  # fmt: skip

    @staticmethod
    async def _make_tables(connection: AsyncConnection[Any]) -> None:
        found = await connection.execute("SELECT 1 WHERE to_regclass('logilab.masters_heads') IS NOT NULL")
        if await found.fetchone():  # who may not make tables may use them
            return
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            await connection.execute(_SCHEMA)

    async def close(self) -> None:
        """End both connections."""
        for connection in (self._listening, self._working):
            if connection is not None:
                await connection.close()

    async def heads(self) -> dict[str, bytes]:
        """Return the heads."""
        async with self._told() as connection:
            rows = await connection.execute(
                "SELECT member, content FROM logilab.masters_heads WHERE team = %s", (self._group,)
            )
            return dict(await rows.fetchall())

    async def parts(self, member: str, log: str, after: int) -> list[tuple[int, bytes]]:
        """Return the next parts."""
        async with self._told() as connection:
            rows = await connection.execute(
                "SELECT number, content FROM logilab.masters_parts"
                " WHERE team = %s AND member = %s AND log = %s AND number > %s ORDER BY number LIMIT %s",
                (self._group, member, log, after, AT_ONCE), binary=True,
            )  # fmt: skip
            return await rows.fetchall()

    async def count(self, member: str, log: str) -> int:
        """Return the number of parts of a log."""
        async with self._told() as connection:
            rows = await connection.execute(
                "SELECT count(*) FROM logilab.masters_parts WHERE team = %s AND member = %s AND log = %s",
                (self._group, member, log),
            )
            row = await rows.fetchone()
            return row[0] if row else 0

    async def write(
        self, member: str, log: str, parts: Sequence[tuple[int, bytes]], head: bytes, before: bytes
    ) -> None:
        """Write in transactions; the head is in the last one."""
        pieces = slices(parts, WRITE_SIZE, WRITE_COUNT) or [()]
        for number, piece in enumerate(pieces, 1):
            async with self._told() as connection, connection.transaction():
                rows = [(self._group, member, log, one, content) for one, content in piece]
                if rows:
                    await connection.cursor().executemany(_PUT_PART, rows)
                if number == len(pieces):
                    await self._put_head(connection, member, head, before)
                    await self._notify(connection, member)

    async def _put_head(self, connection: AsyncConnection[Any], member: str, head: bytes, before: bytes) -> None:
        if not before:
            await connection.execute(_PUT_HEAD, (self._group, member, head))
            return
        changed = await connection.execute(_REPLACE_HEAD, (head, self._group, member, sha256(before).digest()))
        if not changed.rowcount:
            raise ChangedError("PostgreSQL holds another head than the one that was written")

    async def clean(self, member: str, keep: str) -> None:
        """Remove the other logs."""
        async with self._told() as connection, connection.transaction():
            where = (self._group, member, keep)
            await connection.execute(
                "DELETE FROM logilab.masters_parts WHERE team = %s AND member = %s AND log != %s", where
            )
            if not keep:
                await connection.execute("DELETE FROM logilab.masters_heads WHERE team = %s AND member = %s", where[:2])
            await self._notify(connection, member)

    async def _notify(self, connection: AsyncConnection[Any], member: str) -> None:
        await connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, f"{self._group} {member}"))

    async def follow(self, told: Callable[[Word], None]) -> None:
        """Tell what is notified, and every few seconds what was not."""
        assert self._listening
        known = await self._stamps()
        own = self._working.info.backend_pid if self._working else 0
        while True:
            async with self._told():
                pause = random.uniform(*POLL)  # noqa: S311 - jitter, no secret
                await _is_readable(self._listening, pause)
                async for one in self._listening.notifies(timeout=0):
                    group, _, member = one.payload.partition(" ")
                    if group != self._group:
                        continue
                    known[member] = _NOTIFIED
                    if one.pid != own:
                        told(Word(member, known=False))
            stamps = await self._stamps()
            for member in {name for name, _ in stamps.items() ^ known.items()}:
                told(Word(member, known=False))
            known = stamps

    async def _stamps(self) -> dict[str, tuple[str, int]]:
        assert self._listening
        async with self._told():
            rows = await within(CALL_TIME + 1, self._listening.execute(_STAMPS, (self._group,)))
            return {member: (digest, count) for member, digest, count in await rows.fetchall()}

    def check(self) -> None:
        """Its polls tell by themselves when it is lost."""

    @asynccontextmanager
    async def _told(self) -> AsyncIterator[AsyncConnection[Any]]:
        """Give the working connection; what goes wrong with any is UnavailableError."""
        try:
            yield self._working  # type: ignore[misc]
        except asyncio.TimeoutError as err:
            raise UnavailableError("PostgreSQL does not answer") from err
        except (psycopg.Error, UnicodeError) as err:
            lines = str(err).strip().splitlines() or [type(err).__name__]
            raise UnavailableError(f"PostgreSQL: {lines[0][:300]}") from err


async def _is_readable(connection: AsyncConnection[Any], seconds: float) -> None:
    """Wait until something has come over ``connection``, but no longer; psycopg itself looks ten times a second."""
    loop, come, number = asyncio.get_running_loop(), asyncio.Event(), connection.fileno()
    loop.add_reader(number, come.set)
    try:
        with suppress(asyncio.TimeoutError):
            await within(seconds, come.wait())
    finally:
        loop.remove_reader(number)
