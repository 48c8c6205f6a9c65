"""What the registry keeps, whatever comes: rows, the times of their first sight, and each change once."""

from __future__ import annotations

import pytest

from saltext_logilab.containers.changes import Change
from saltext_logilab.containers.database import opened
from saltext_logilab.containers.ports import Container, Port
from saltext_logilab.containers.registry import CONNECTED, Daemon, Registry, Update

ID = "a" * 64
DAEMON = Daemon("docker", "unix:///d.sock", CONNECTED, 1.0, 1.0)
WEB = Container(ID, "web", "nginx", "running", ports=(Port("tcp", 80, "0.0.0.0", 8080),))


@pytest.fixture
def registry(tmp_path):
    """An empty registry that keeps ten changes."""
    with opened(tmp_path) as connection:
        yield Registry(connection, keep=10)


def change(at, what, key=""):
    """One change of the container."""
    return Change(float(at), ID, "web", what, key=key)


def kinds(registry):
    """What the history tells, oldest first."""
    return [one.what for _, one in registry.history()][::-1]


def test_an_id_that_is_used_again(registry):
    """As when a container is restored: it is there as one that was first seen now, and both lives are told."""
    registry.apply(DAEMON, Update(1.0, (WEB,), (), (change(1, "started", "1:a:start"),)))
    gone = (change(2, "died", "2:a:die"), change(2, "destroyed", "2:a:destroy"))
    registry.apply(DAEMON, Update(2.0, (), (ID,), gone))
    assert (registry.containers("docker"), registry.first_seen("docker")) == ({}, {})
    again = Container(ID, "other", "nginx", "running", ports=WEB.ports)
    registry.apply(DAEMON, Update(3.0, (again,), (), (change(3, "started", "3:a:start"),)))
    assert registry.containers("docker") == {ID: again}
    assert set(registry.first_seen("docker").values()) == {3.0}
    assert kinds(registry) == ["started", "died", "destroyed", "started"]


@pytest.mark.parametrize("first", ["listing", "event"])
def test_a_change_that_is_told_twice(registry, first):
    """By a listing and by its event, in either order, and by the event again: it stands there once, as the event's."""
    listed, told = change(5.1, "died"), change(5, "died", "5:a:die")
    registry.apply(DAEMON, Update(1.0, (WEB,), (), (change(1, "started", "1:a:start"),)))
    for one in (listed, told, told) if first == "listing" else (told, listed, told):
        registry.apply(DAEMON, Update(6.0, (), (), (one,)))
    assert kinds(registry) == ["started", "died"]
    assert next(registry.history())[1].key == "5:a:die"


def test_only_so_many_changes_are_kept(registry):
    """The oldest go first."""
    for number in range(30):
        registry.apply(DAEMON, Update(float(number), (), (), (change(number, "updated", f"{number}:a:update"),)))
    assert [one.at for _, one in registry.history()] == [float(number) for number in range(29, 19, -1)]
