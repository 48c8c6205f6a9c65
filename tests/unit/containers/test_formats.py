"""Files and pictures of the table: right in each format, and no value breaks one."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saltext_logilab.containers import formats
from saltext_logilab.errors import ConfigurationError

ROW = {
    "daemon": "docker",
    "container": "web",
    "id": "a" * 12,
    "image": "nginx:1",
    "state": "running",
    "health": "",
    "project": "",
    "service": "",
    "labels": {},
    "protocol": "tcp",
    "container_port": 80,
    "host_ip": "0.0.0.0",
    "host_port": 8080,
    "origin": "published",
    "exposure": "public",
    "age": 1.0,
}


def row(**more):
    """One row, of this host or (with ``minion``) of the fleet."""
    return {**ROW, **more}


FLEET = [
    row(minion="m1", address="192.0.2.7"),
    row(minion="m1", address="192.0.2.7", host_ip="::"),
    row(minion="m2", address="2001:db8::2", project="shop", service="api"),
    row(minion="m3", address="192.0.2.9", host_ip="127.0.0.1", exposure="loopback"),
    row(minion="m4", address="", container="homeless"),
    row(minion="m5", address="192.0.2.11", orphaned=True),
    row(minion="m6", address="192.0.2.12", health="unhealthy"),
    row(minion="m7", address="192.0.2.13", state="paused"),
    row(minion="m8", address="192.0.2.14", protocol="udp"),
]


def test_haproxy():
    """A backend for each service; both families once; what cannot be reached or is not well is left out."""
    assert formats.haproxy(FLEET) == (
        "backend shop-api-80\n    server m2-web-8080 [2001:db8::2]:8080 check\n\n"
        "backend web-80\n    server m1-web-8080 192.0.2.7:8080 check\n\n"
    )


def test_nginx():
    """The same as upstreams."""
    assert "upstream web-80 {\n    server 192.0.2.7:8080;  # m1-web-8080\n}\n" in formats.nginx(FLEET)


def test_prometheus():
    """Targets with labels, those of the container under names that Prometheus takes."""
    (found,) = json.loads(formats.prometheus([row(labels={"my.team": "a b"}, minion="m1", address="192.0.2.7")]))
    assert found["targets"] == ["192.0.2.7:8080"]
    assert found["labels"]["container_label_my_team"] == "a b"


def test_hosts():
    """An address and the names behind it."""
    assert formats.hosts([row(minion="m1", address="192.0.2.7"), row(container="a_b")]) == (
        "127.0.0.1\ta-b\n192.0.2.7\tweb\n"
    )


@pytest.mark.parametrize("form", ["haproxy", "nginx"])
@pytest.mark.parametrize("name", ["a b", "a\nserver evil 1.2.3.4:1", "a;b", "a{b", "#a", ""])
def test_a_name_that_would_break_a_file(form, name):
    """It is refused with the name, never written."""
    with pytest.raises(ConfigurationError) as told:
        formats.render([row(container=name)], form)
    assert repr(name) in str(told.value)


@pytest.mark.parametrize("name", ["a b", "a\n6.6.6.6\tevil", "a..b", "x_", "#a", "", "localhost", "a" * 64])
def test_what_is_no_host_name_stands_in_a_comment(name):
    """One container never keeps the others out of the file, nor takes the name of the host itself."""
    lines = formats.hosts([row(container=name), row(container="web")]).splitlines()
    assert lines[0] == "127.0.0.1\tweb"
    assert [line[:15] for line in lines[1:]] == ["# no host name:"]


@pytest.mark.parametrize("label", ["a b", "x\n    server evil 6.6.6.6:80", "{", "ä"])
def test_a_label_that_would_break_a_file(label):
    """The container then stands under its own name."""
    for labels in ({"service": label, "project": "shop"}, {"service": "api", "project": label}):
        assert formats.haproxy([row(**labels)]).startswith("backend web-80\n    server web-8080 ")
        assert formats.nginx([row(**labels)]).startswith("upstream web-80 {\n    server 127.0.0.1:8080;")


@given(st.text(max_size=20), st.text(max_size=20))
def test_pictures_carry_any_text(name, image):
    """No name and no image breaks a picture: each node stands on a line of its own, within its quotes."""
    rows = [row(container=name, image=image)]
    for line in formats.mermaid(rows).splitlines()[1:]:
        assert re.fullmatch(r'    n\d+(\["[^"\n]*"\]| --> n\d+)', line)
    for line in formats.graphviz(rows).splitlines()[2:-1]:
        assert re.fullmatch(r'    n\d+( \[label="(\\.|[^"\\])*"\]| -> n\d+);', line)


@given(st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=3))
def test_labels_never_break_a_file(labels):
    """JSON carries them, Prometheus' under checked names."""
    (found,) = json.loads(formats.prometheus([row(labels=labels)]))
    assert all(re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", key) for key in found["labels"])
    assert json.loads(formats.as_json([row(labels=labels)]))[0]["labels"] == labels


def test_the_table():
    """One line a port, with the host where it is of the fleet."""
    lines = formats.table([row(minion="m1", health="healthy"), row(minion="m2", orphaned=True)]).splitlines()
    assert lines[0].split() == ["HOST", *formats.COLUMNS]
    assert lines[1].split()[:6] == ["m1", "8080", "0.0.0.0", "tcp", "web:80", "nginx:1"]
    assert "running (healthy)" in lines[1]
    assert "orphaned" in lines[2]


@given(st.text(max_size=20))
def test_no_text_breaks_a_line_of_the_table(text):
    """What a minion says of itself goes to a terminal: no line end, no escape sequence comes with it."""
    shown = formats.table([row(minion="m1", image=text, container=text, health=text)])
    assert len(shown.split("\n")) == 2
    assert all(line.isprintable() for line in shown.split("\n"))


def test_an_unknown_format():
    """The sentence names it and those that there are."""
    with pytest.raises(ConfigurationError, match="'yaml' is no format: one of table, mermaid"):
        formats.render([], "yaml")


def test_a_fleet_file_needs_a_target():
    """Any accepted minion could put itself into it."""
    for form in formats.FORMATS:
        formats.check_target(form, "web*")
        if form in formats.FILES:
            with pytest.raises(ConfigurationError, match="explicit target"):
                formats.check_target(form, None)
