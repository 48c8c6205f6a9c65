"""The formula ``postgresql``, applied for real: queries, roles, a standby that follows its primary."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

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
    assert host.apply("postgresql").failed == []  # twice below, with the standby
    where = {"host": host.machine.address, "dbname": "app", "connect_timeout": 10}
    with psycopg.connect(user="app", password="change-me", **where) as connection:
        assert connection.execute("SELECT similarity('salt', 'salty') > 0.5").fetchone() == (True,)
        assert connection.execute("SHOW max_connections").fetchone() == ("50",)
        assert connection.execute("SELECT pg_has_role('app', 'readers', 'member')").fetchone() == (True,)
        granted = "SELECT datacl::text LIKE '%readers=c/%' FROM pg_database WHERE datname = 'app'"
        assert connection.execute(granted).fetchone() == (True,)
        connection.execute("CREATE TABLE thing (id int)")
        # The example's default privileges: what the owner makes, others may read.
        assert connection.execute("SELECT has_table_privilege('readers', 'thing', 'SELECT')").fetchone() == (True,)
        assert connection.execute("SELECT has_table_privilege('readers', 'thing', 'INSERT')").fetchone() == (False,)
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


@pytest.mark.soak  # half a minute more: `make test` has the queries
def test_what_is_wrong_does_not_take_effect(formula_host: Callable[..., FormulaHost]) -> None:
    """A setting that PostgreSQL would not start with is left out, a wrong rule told; grants follow what there is."""
    pillar = example("postgresql")
    host = formula_host({"postgresql": pillar})
    assert host.apply("postgresql").failed == []
    where = {"host": host.machine.address, "dbname": "app", "connect_timeout": 10}
    with psycopg.connect(user="app", password="change-me", **where) as connection:
        connection.execute("CREATE TABLE thing (id int)")
    wrong = deepcopy(pillar)
    wrong["clusters"]["main"]["settings"]["max_conections"] = 60
    host.give({"postgresql": wrong})
    assert "max_conections" in "".join(host.apply("postgresql").failed)
    assert "max_conections" not in host.machine.exec("cat", "/etc/postgresql/15/main/conf.d/salt.conf").output
    wrong = deepcopy(pillar)
    wrong["clusters"]["main"]["hba"].append({"address": "192.0.2.0/33", "method": "md5"})
    host.give({"postgresql": wrong})
    assert "pg_hba.conf, line 6, invalid CIDR mask" in "".join(host.apply("postgresql").failed)

    # Without leave to restart, what needs one is left pending.
    there = pillar["clusters"]["main"]
    host.give({"postgresql": {"clusters": {"main": {**there, "restart": False, "settings": {"max_connections": 33}}}}})
    assert host.apply("postgresql").failed == []
    pending = "SELECT setting FROM pg_settings WHERE name = 'max_connections' AND pending_restart"
    asked = host.machine.exec(
        "runuser", "-u", "postgres", "--", "psql", "-Atc", pending, env={"PGHOST": "/run/postgresql"}
    )
    assert asked.output == "100\n"

    # Grants on what the application has made; what is listed as absent goes.
    thing = {"name": "readers", "object_type": "table", "object_name": "thing", "privileges": ["INSERT"]}
    there["databases"]["app"]["grants"].append(thing)
    there["databases"]["old"] = {"owner": "owner"}
    there["roles"]["owner"] = {}
    host.give({"postgresql": pillar})
    host.apply_twice("postgresql")
    with psycopg.connect(user="app", password="change-me", **where) as connection:
        assert connection.execute("SELECT has_table_privilege('readers', 'thing', 'INSERT')").fetchone() == (True,)
    there["databases"]["old"] = {"absent": True}
    there["roles"]["owner"] = {"absent": True}
    host.give({"postgresql": pillar})
    host.apply_twice("postgresql")
    with psycopg.connect(user="app", password="change-me", **where) as connection:
        assert connection.execute("SELECT 1 FROM pg_database WHERE datname = 'old'").fetchone() is None
        assert connection.execute("SELECT 1 FROM pg_roles WHERE rolname = 'owner'").fetchone() is None
