"""The fleet's tables: packed and unpacked, with ages that hold, and nothing that a minion writes breaks the answer."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saltext_logilab.containers import compact, declared, fleet, proof
from saltext_logilab.containers.picture import View
from saltext_logilab.containers.ports import Container, Port
from saltext_logilab.containers.selection import Criteria
from saltext_logilab.errors import ConfigurationError

ANY = Criteria()


def container(number=1, **more):
    """One container with two ports."""
    ports = (Port("tcp", 80, "0.0.0.0", 8000 + number), Port("tcp", 80, "::", 8000 + number))
    fields = {"id": f"{number:x}" * 64, "name": f"web{number}", "image": "nginx", "state": "running", "ports": ports}
    return Container(**{**fields, **more})


def table(*containers, now=1000.0, at=990.0):
    """A packed table as the mine holds it."""
    view = View("docker", "engine", "connected", at, containers)
    return msgpack.unpackb(msgpack.packb(compact.pack([view], now, "192.0.2.7")))


def entry(found, minion="m1", heard=1000.0, accepted=True):
    """A minion's table as the master has it."""
    return fleet.Entry(minion, found, heard, accepted)


def test_a_row_survives_the_mine():
    """All that is told of a port comes out as it went in."""
    one = container(project="shop", service="web", labels=(("team", "a"),), health="healthy")
    view = View("docker", "engine", "connected", 990.0, (one,))
    (first, second) = fleet.rows([entry(table(one))], ANY, 1005.0)
    sent = view.rows()[0]
    assert {key: first[key] for key in sent if key not in ("requested", "labels")} == {
        key: value for key, value in sent.items() if key not in ("requested", "labels")
    }
    assert first["labels"] == {"team": "a"}
    assert (first["minion"], first["age"], first["orphaned"], first["address"]) == ("m1", 15.0, False, "192.0.2.7")
    assert second["host_ip"] == "::"


def test_an_age_with_a_wrong_clock():
    """A minion's clock that is ahead makes nothing younger than its arrival; one that is behind, nothing younger."""
    ahead, behind = table(container(), now=5000.0, at=4990.0), table(container(), now=100.0, at=90.0)
    assert entry(ahead, heard=1000.0).age(1060.0) == 60.0
    assert entry(behind, heard=1000.0).age(1060.0) == 960.0


def test_criteria_and_orphans():
    """A port number narrows the search; a minion without an accepted key is marked."""
    found = list(fleet.rows([entry(table(container(1), container(2)), accepted=False)], Criteria(port=8002), 1000.0))
    assert {(row["container"], row["orphaned"]) for row in found} == {("web2", True)}
    assert "orphaned" in fleet.minion(entry(table(), accepted=False), 1000.0)["problems"][0]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(JSON, st.sampled_from(["words", "daemons", "c", "p", "at", "address", ""]))
def test_no_table_breaks_the_answer(garbage, key):
    """Whatever an accepted minion writes into its mine, the others' rows are shown."""
    bad = {**table(container()), key: garbage} if key else garbage
    found = list(fleet.rows([entry(bad, "bad"), entry(table(container(7)))], ANY, 1000.0))
    assert {"web7"} <= {row["container"] for row in found}
    assert isinstance(fleet.minion(entry(bad, "bad"), 1000.0)["problems"], list)


def test_conflicts():
    """One port with two containers behind it, and a container port whose numbers differ between the families."""
    other = container(2, ports=(Port("tcp", 80, "127.0.0.1", 8001),))
    moved = container(3, ports=(Port("tcp", 80, "0.0.0.0", 9000), Port("tcp", 80, "::", 9001)))
    found = fleet.conflicts(fleet.rows([entry(table(container(1), other, moved))], ANY, 1000.0))
    assert [(one["conflict"], len(one["ports"])) for one in found] == [
        ("several containers", 3),
        ("families differ", 2),
    ]
    same = [entry(table(container(1)), "m1"), entry(table(container(1)), "m2")]
    assert fleet.conflicts(fleet.rows(same, ANY, 1000.0)) == []


def test_declared_and_real():
    """What is missing and what nobody declared, by container; no difference is nothing."""
    rows = list(fleet.rows([entry(table(container(1)))], ANY, 1000.0))
    assert declared.diff({"web1": ["8001:80"]}, rows) == {}
    assert declared.diff({"web1": ["9000:80"], "db": [5432]}, rows) == {
        "web1": {"missing": ["9000:80/tcp"], "undeclared": ["0.0.0.0:8001->80/tcp", "[::]:8001->80/tcp"]},
        "db": {"missing": ["5432/tcp"], "undeclared": []},
    }
    for wrong in (["x"], {"web1": "8001:80"}, {"web1": ["a-b"]}):
        with pytest.raises(ConfigurationError):
            declared.diff(wrong, rows)


@pytest.mark.parametrize(
    ("row", "where"),
    [
        ({"host_ip": "192.0.2.7"}, "192.0.2.7:80"),
        ({"host_ip": "2001:db8::7"}, "[2001:db8::7]:80"),
        ({"host_ip": "0.0.0.0"}, "192.0.2.1:80"),
        ({"host_ip": "::"}, None),
        ({"host_ip": "0.0.0.0", "address": ""}, None),
        ({"host_ip": "192.0.2.7", "protocol": "udp"}, None),
        ({"host_ip": "127.0.0.1", "exposure": "loopback"}, None),
    ],
)
def test_where_a_proof_looks(row, where):
    """At the bound address, or at that of the host for all of the family; nowhere where nothing would be proven."""
    told = {"protocol": "tcp", "exposure": "public", "host_port": 80, "address": "192.0.2.1", **row}
    assert proof.target(told) == where


@pytest.mark.parametrize("targets", ["192.0.2.1:80", ["192.0.2.1"], ["name:80"], ["192.0.2.1:0"], ["x:1"] * 10_001])
def test_bad_targets(targets):
    """One sentence, and nothing is tried."""
    with pytest.raises(ConfigurationError):
        proof.reached(targets)


EVIL = "fe80::1%x check\n    server evil 6.6.6.6:80"


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("host_ip", EVIL),
        ("host_ip", "fe80::1%eth0"),
        ("protocol", "tcp\nevil"),
        ("origin", "published\n"),
        ("host_port", 0),
        ("host_port", 70000),
        ("host_port", "80 evil"),
        ("container_port", -1),
    ],
)
def test_a_value_that_would_break_a_file_is_no_row(place, value):
    """An address, a port, a protocol of a minion's table goes into files of others as it is: it has to be one."""
    bad = table(container())
    at, words = compact.PORT.index(place), bad["words"]
    if isinstance(value, str) and place not in ("host_port", "container_port"):
        words.append(value)
        value = len(words) - 1
    for port in bad["p"]:
        port[at] = value
    assert list(fleet.rows([entry(bad)], ANY, 1000.0)) == []


def test_an_address_of_a_host_that_would_break_a_file_is_none():
    """The host is then as one whose address nobody knows."""
    (row, _) = fleet.rows([entry({**table(container()), "address": EVIL})], ANY, 1000.0)
    assert row["address"] == ""
