"""A private PostgreSQL serves, notifies, and keeps its data over a kill."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from tests.support.postgresql import PostgresqlServer


def test_table_and_notification(postgresql_server: PostgresqlServer) -> None:
    """Rows stored over TCP are read over the socket, and a listener is notified."""
    with (
        psycopg.connect(postgresql_server.dsn, autocommit=True) as writer,
        psycopg.connect(postgresql_server.socket_dsn, autocommit=True) as reader,
    ):
        reader.execute("LISTEN rig")
        writer.execute("CREATE TABLE rig (id int PRIMARY KEY, what text)")
        writer.execute("INSERT INTO rig VALUES (1, 'row')")
        writer.execute("NOTIFY rig, 'told'")
        told = [notification.payload for notification in reader.notifies(timeout=20, stop_after=1)]
        assert told == ["told"]
        assert reader.execute("SELECT * FROM rig").fetchall() == [(1, "row")]


def test_data_outlive_a_kill(new_postgresql_server: Callable[[], PostgresqlServer]) -> None:
    """A killed server refuses connections; restarted on the same port, it still has what was committed."""
    server = new_postgresql_server()
    with psycopg.connect(server.dsn) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS it")
    server.kill()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.dsn)
    server.restart()
    with psycopg.connect(server.dsn) as connection:
        assert connection.execute("SELECT it FROM kept").fetchone() == (7,)
