"""The formula "postgresql": what is in a cluster comes after the cluster, and in an order that can be."""

from __future__ import annotations

from tests.support.formulas import Renderer

ROLES = {"app": {"groups": ["writers"]}, "writers": {"groups": ["readers"]}, "readers": {}, "old": {"absent": True}}
READ = {"name": "readers", "privileges": ["SELECT"]}
DATABASE = {"owner": "app", "default_privileges": [READ, {**READ, "owner": "writers", "schema": "site"}]}


def test_what_is_in_a_cluster_waits_for_it(render: Renderer) -> None:
    """Each state of each cluster requires that cluster's service."""
    within = {"roles": ROLES, "databases": {"app": DATABASE}, "slots": ["one"]}
    clusters = {"main": within, "other": {**within, "port": 5433}}
    rendered = render("postgresql", {"postgresql": {"clusters": clusters}})
    assert rendered.errors == []
    for name in clusters:
        inside = [one for one in rendered.ids if one.startswith(f"postgresql_{name}_") and one not in base(name)]
        assert len(inside) == 8
        for one in inside:
            assert rendered[one]["require"] == [{"service": f"postgresql_{name}_service"}]


def base(name: str) -> set[str]:
    """Return the ids of the states of a cluster itself."""
    return {f"postgresql_{name}_{part}" for part in ("made", "settings", "hba", "service", "restart", "hba_read")}


def test_members_come_after_their_groups(render: Renderer) -> None:
    """Roles are made in the order that their memberships need, and removed after the databases."""
    pillar = {"clusters": {"main": {"roles": ROLES, "databases": {"app": DATABASE, "gone": {"absent": True}}}}}
    ids = [one.removeprefix("postgresql_main_") for one in render("postgresql", {"postgresql": pillar}).ids]
    wanted = ["role_readers", "role_writers", "role_app", "database_app", "database_gone", "role_old"]
    assert [one for one in ids if one in wanted] == wanted


def test_roles_that_are_members_of_each_other_end(render: Renderer) -> None:
    """PostgreSQL refuses such a circle with a sentence; the formula hands it on."""
    roles = {"a": {"groups": ["b"]}, "b": {"groups": ["a"]}}
    rendered = render("postgresql", {"postgresql": {"clusters": {"main": {"roles": roles}}}})
    assert {"postgresql_main_role_a", "postgresql_main_role_b"} <= set(rendered.ids)


def test_a_standby_gets_its_contents_from_the_primary(render: Renderer) -> None:
    """Nothing is made in a standby; a default privilege names who makes the objects, by default the owner."""
    primary = {"host": "db1", "user": "standby", "password": "change-me"}
    clusters = {"copy": {"roles": ROLES, "standby_of": primary}, "main": {"databases": {"app": DATABASE}, "port": 5433}}
    rendered = render("postgresql", {"postgresql": {"clusters": clusters}})
    assert not any("copy_role" in one for one in rendered.ids)
    first, second = (rendered[f"postgresql_main_default_app_{number}"]["name"] for number in (1, 2))
    assert 'FOR ROLE "app" IN SCHEMA "public" GRANT SELECT ON tables TO "readers"' in first
    assert 'FOR ROLE "writers" IN SCHEMA "site"' in second
