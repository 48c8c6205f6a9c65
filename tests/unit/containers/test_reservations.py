"""Reservations: the same port for ever, and never one that anybody has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saltext_logilab.containers.allocation import Key, candidates, pick
from saltext_logilab.containers.database import opened
from saltext_logilab.containers.listeners import Listener
from saltext_logilab.containers.occupants import occupants
from saltext_logilab.containers.picture import View
from saltext_logilab.containers.ports import Container, Port
from saltext_logilab.containers.reservations import Reservations
from saltext_logilab.containers.settings import Pool
from saltext_logilab.errors import RefusedError, UnavailableError

POOL = Pool("apps", (100, 109), (110, 119))
WEB = Key("web", "tcp", 80)


@pytest.fixture
def connection(tmp_path):
    """An empty registry."""
    with opened(tmp_path, durable=True) as made:
        yield made


def holding(connection, held=(), views=(), unbindable=()):
    """Reservations on a host where ``held`` listens and ``unbindable`` cannot be bound."""
    listening = [Listener("tcp", "0.0.0.0", port) for port in held]
    return Reservations(connection, lambda: occupants(views, listening), lambda _protocol, port: port not in unbindable)


@given(st.text(min_size=1), st.sampled_from(["tcp", "udp"]), st.integers(1, 65535))
def test_candidates_are_the_whole_band(owner, protocol, port):
    """Each port of the dynamic band once, in an order that only the key decides."""
    key = Key(owner, protocol, port)
    assert sorted(candidates(key, POOL)) == list(range(110, 120))
    assert list(candidates(key, POOL)) == list(candidates(key, POOL))


@given(st.sets(st.integers(110, 119)))
def test_a_pick_is_never_taken(taken):
    """A free one while there is one, then a refusal that names the pool."""
    if len(taken) == 10:
        with pytest.raises(RefusedError, match="'apps' is exhausted"):
            pick(WEB, POOL, taken)
    else:
        assert pick(WEB, POOL, taken) not in taken


def test_what_is_reserved_is_known_without_a_look(connection):
    """Who holds which port is asked where that matters, before the file is locked, and once."""
    looks = []

    def look():
        assert not connection.in_transaction
        looks.append(1)
        return {}

    held = Reservations(connection, look, lambda _protocol, _port: True)
    assert (held.get(WEB), looks) == (None, [])
    made, _ = held.reserve(WEB, POOL, 1.0)
    held.prune(0.0)
    assert looks == [1]
    again = Reservations(connection, look, lambda _protocol, _port: True)
    assert (again.get(WEB), again.propose(WEB, POOL), again.reserve(WEB, POOL, 2.0)) == (
        made,
        made.host_port,
        (made, False),
    )
    assert looks == [1]


def test_for_ever(connection):
    """The reservation stays when its port is held meanwhile, and is given to nobody else."""
    made, new = holding(connection).reserve(WEB, POOL, 1.0)
    assert new
    busy = holding(connection, held=[made.host_port])
    assert busy.reserve(WEB, POOL, 2.0) == (made, False)
    assert busy.propose(WEB, POOL) == made.host_port
    assert busy.reserve(Key("web", "tcp", 81), POOL, 3.0)[0].host_port != made.host_port
    assert holding(connection).reserve(Key("web", "udp", 80), POOL, 3.0)[1]


def test_what_only_a_bind_tells(connection):
    """A port that no table shows but that cannot be bound is not given."""
    first = holding(connection).propose(WEB, POOL)
    assert holding(connection, unbindable=[first]).propose(WEB, POOL) != first


def test_prune_spares_what_was_used(connection):
    """Neither what a container publishes now nor what was published lately."""
    held = holding(connection)
    old, _ = held.reserve(WEB, POOL, 1.0)
    used, _ = held.reserve(Key("db", "tcp", 80), POOL, 1.0)
    lately, _ = held.reserve(Key("mq", "tcp", 80), POOL, 1.0)
    connection.execute("UPDATE reservations SET used = 50 WHERE owner = 'mq'")
    one = Container("c", "db", "i", "running", ports=(Port("tcp", 80, "0.0.0.0", used.host_port),))
    now = holding(connection, views=[View("docker", "listing", "connected", 1.0, (one,))])
    assert now.prune(before=40.0) == [old]
    assert {each.key.owner for each in now.all()} == {"db", "mq"}
    assert lately.host_port in {each.host_port for each in now.all()}


def test_a_damaged_file_is_a_sentence(tmp_path):
    """The file is named, and it stays as it is."""
    (tmp_path / "ports.db").write_bytes(b"no database" * 100)
    with pytest.raises(UnavailableError, match=r"ports\.db cannot be used"), opened(tmp_path):
        pass
    assert (tmp_path / "ports.db").read_bytes() == b"no database" * 100
