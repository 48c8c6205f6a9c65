"""The formula ``postgresql``, applied for real: queries, roles, a standby that follows its primary."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from tests.support.formulas import FormulaHost, example
from tests.support.waiting import wait_until


def test_queries_and_a_standby(formula_host: Callable[..., FormulaHost]) -> None:
    """The application's role uses its database over the network; a second cluster is a standby of the first."""
    pillar = example("postgresql")
    primary = {"host": "127.0.0.1", "user": "standby", "password": "change-me-too", "slot": "standby1"}
    settings = {"listen_addresses": "*", "max_connections": 100}
    pillar["clusters"]["main"]["settings"]["max_connections"] = 50
    host = formula_host({"postgresql": pillar})
    host.apply_twice("postgresql")
    where = {"host": host.machine.address, "dbname": "app", "connect_timeout": 10}
    with psycopg.connect(user="app", password="change-me", **where) as connection:
        assert connection.execute("SELECT similarity('salt', 'salty') > 0.5").fetchone() == (True,)
        assert connection.execute("SHOW max_connections").fetchone() == ("50",)
        assert connection.execute("SELECT pg_has_role('app', 'readers', 'member')").fetchone() == (True,)
        connection.execute("CREATE TABLE thing (id int)")
    for user, password in (("app", "wrong"), ("standby", "change-me-too")):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(user=user, password=password, **where)

    # A role's new password, a setting that needs a restart, and the standby, in one go.
    pillar["clusters"]["main"]["roles"]["app"]["password"] = "changed"
    pillar["clusters"]["main"]["settings"]["max_connections"] = 60
    rules = [{"type": "local", "user": "all", "method": "peer"}, *pillar["clusters"]["main"]["hba"][1:]]
    pillar["clusters"]["copy"] = {"port": 5433, "settings": settings, "hba": rules, "standby_of": primary}
    host.give({"postgresql": pillar})
    host.apply_twice("postgresql")
    with psycopg.connect(user="app", password="changed", **where) as connection:
        assert connection.execute("SHOW max_connections").fetchone() == ("60",)
        connection.execute("INSERT INTO thing VALUES (7)")
    with psycopg.connect(user="app", password="changed", port=5433, **where, autocommit=True) as connection:
        assert connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
        rows = connection.execute
        wait_until(lambda: rows("SELECT id FROM thing").fetchall() == [(7,)], 30, "the row at the standby")
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("INSERT INTO thing VALUES (8)")

    host.apply_twice("postgresql.clean")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(user="app", password="changed", **where)
    assert {"copy", "main"} <= set(host.machine.exec("ls", "/var/lib/postgresql/15").output.split())
