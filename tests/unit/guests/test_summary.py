"""Summaries that come over the wire, and the picture of the fleet."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saltext_logilab.errors import WireError
from saltext_logilab.guests import summary

GIB = 1024**3
REACH = {"reach": "qemu+tls://kvm1/system", "transport": ""}
TOLD: dict[str, Any] = {
    "at": 100,
    "host": {"cpus": 8, "memory": 32 * GIB, "free": 12 * GIB, "libvirt": "9.0.0", "hypervisor": "7.2.0", **REACH},
    "guests": {"web": ["uuid-1", "running", 2, 2 * GIB], "db": ["uuid-2", "shut off", 4, 8 * GIB]},
}


def test_a_summary_is_shown_with_its_age() -> None:
    """What the mine holds becomes host, guests by name and the seconds since it was told."""
    shown = summary.plain(summary.read(TOLD), now=160.4)
    assert shown["age"] == 60
    assert shown["host"] == TOLD["host"]
    assert list(shown["guests"]) == ["db", "web"]
    assert shown["guests"]["web"] == {"uuid": "uuid-1", "state": "running", "vcpus": 2, "memory": 2 * GIB}


@pytest.mark.parametrize("key", ["at", "host", "guests"])
@pytest.mark.parametrize("value", [None, "text", [1], {"web": ["uuid"]}, {"web": [1, 2, 3, 4]}])
def test_what_is_no_summary_is_refused(key: str, value: object) -> None:
    """Any minion may put anything into the mine; what does not fit is an error, not a traceback."""
    told = copy.deepcopy(TOLD)
    told[key] = value
    with pytest.raises(WireError):
        summary.read(told)


def test_the_picture_shows_hosts_and_guests() -> None:
    """Each host is a box with its guests in it."""
    assert summary.mermaid({"kvm1": summary.read(TOLD)}).splitlines() == [
        "flowchart LR",
        '    subgraph h0["kvm1 (8 cpus, 12.0 of 32.0 GiB free)"]',
        '        h0g0["db<br/>shut off, 4 cpus, 8.0 GiB"]',
        '        h0g1["web<br/>running, 2 cpus, 2.0 GiB"]',
        "    end",
    ]


@given(name=st.text(), state=st.text())
def test_no_name_breaks_the_picture(name: str, state: str) -> None:
    """Whatever a guest is called, its line stays one quoted text."""
    told = {**TOLD, "guests": {name: ["uuid", state, 1, GIB]}}
    lines = summary.mermaid({name: summary.read(told)}).split("\n")
    assert len(lines) == 4
    assert [line.count('"') for line in lines] == [0, 2, 2, 0]
    assert lines[2].count("<") == 1
