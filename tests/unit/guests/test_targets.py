"""Which guests are targets, and what is made of a guest's answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from saltext_logilab.errors import ConfigurationError, UnavailableError, WireError
from saltext_logilab.guests import targets, told
from saltext_logilab.guests.agent import AgentRefusal
from saltext_logilab.guests.definition import parse
from saltext_logilab.guests.inventory import Guest

CHANNEL = "<channel><target type='virtio' name='org.qemu.guest_agent.0'{}/></channel>"
XML = "<domain type='qemu'><title>{}</title><devices>{}</devices></domain>"


def guest(name: str, state: str = "running") -> Guest:
    """Return a guest."""
    return Guest(name, f"uuid-of-{name}", state, 2, 1024**3, {})


@pytest.mark.parametrize(
    ("match", "taken"),
    [
        ({}, ["db", "web1", "web2"]),
        ({"name": "web*"}, ["web1", "web2"]),
        ({"name": ["web1", "d?"]}, ["db", "web1"]),
        ({"name": "web*", "state": "running"}, ["web1"]),
        ({"title": "shop: *"}, ["db"]),
        ({"uuid": "uuid-of-db"}, ["db"]),
    ],
)
def test_a_rule(match: dict[str, Any], taken: list[str]) -> None:
    """Of each key one glob has to be met."""
    rule = targets.read({"match": match})
    guests = {"web1": ("running", ""), "web2": ("shut off", ""), "db": ("paused", "shop: data")}
    found = [
        name
        for name, (state, title) in guests.items()
        if targets.takes(rule, guest(name, state), parse(XML.format(title, "")))
    ]
    assert sorted(found) == taken


@pytest.mark.parametrize(
    ("pillar", "words"),
    [
        ({"match": {"label": "x"}}, "resources:libvirt:match:label is no rule"),
        ({"match": {"name": 7}}, "must be a text or a list of texts"),
        ({"id": "{minion}"}, "has no {name}"),
        ({"id": "{name}.{project}"}, "may hold"),
        ({"timeout": 0}, "resources:libvirt:timeout must be positive"),
        ({"mach": {}}, "did you mean 'match'"),
    ],
)
def test_wrong_rules_are_sentences(pillar: dict[str, Any], words: str) -> None:
    """The error names the setting."""
    with pytest.raises(ConfigurationError, match=words):
        targets.read(pillar)


@pytest.mark.parametrize(
    ("channel", "state"),
    [
        ("", "none"),
        (CHANNEL.format(""), "off"),
        (CHANNEL.format(" state='connected'"), "connected"),
        (CHANNEL.format(" state='disconnected'"), "disconnected"),
        ("<channel><target type='virtio' name='com.redhat.spice.0'/></channel>", "none"),
    ],
)
def test_what_the_definition_says_of_the_agent(channel: str, state: str) -> None:
    """Without a channel there is none; libvirt tells of a running guest whether it is connected."""
    assert targets.agent_state(parse(XML.format("", channel))) == state


def test_a_target_that_is_unknown() -> None:
    """It is named."""
    with pytest.raises(UnavailableError, match=r"there is no guest 'x\.m1' on this minion"):
        targets.Targets().target("x.m1")


@dataclass(frozen=True)
class Said:
    """What an agent answers; what is not there it refuses. Its transport has tests with real guests."""

    answers: dict[str, Any]
    name: str = "web"

    def ask(self, command: str) -> Any:
        """Return the answer."""
        if command not in self.answers:
            raise AgentRefusal(command)
        return self.answers[command]


def test_the_grains_of_a_debian() -> None:
    """They bear Salt's own names; the loopback's addresses are none of the guest's."""
    lo = {"name": "lo", "ip-addresses": [{"ip-address": "127.0.0.1"}]}
    addresses = [{"ip-address": "10.0.0.5"}, {"ip-address": "fe80::1"}]
    eth = {"name": "eth0", "hardware-address": "52:54:00:00:00:01", "ip-addresses": addresses}
    system = {"id": "debian", "name": "Debian", "version-id": "12", "kernel-release": "6.1", "machine": "x86_64"}
    said = {
        "guest-get-osinfo": system,
        "guest-get-host-name": {"host-name": "web.example.org"},
        "guest-network-get-interfaces": [lo, eth],
    }
    grains = told.grains(Said(said))  # type: ignore[arg-type]
    assert (grains["os"], grains["os_family"], grains["osmajorrelease"]) == ("Debian", "Debian", 12)
    assert (grains["kernelrelease"], grains["cpuarch"], grains["host"]) == ("6.1", "x86_64", "web")
    assert (grains["ipv4"], grains["ipv6"]) == (["10.0.0.5"], ["fe80::1"])
    assert grains["hwaddr_interfaces"] == {"eth0": "52:54:00:00:00:01"}


@pytest.mark.parametrize("answer", [7, None, "x", [], [[]], {"name": 7}])
def test_answers_of_another_shape(answer: Any) -> None:
    """They are refused, or nothing is made of them."""
    for question in ("guest-get-osinfo", "guest-get-host-name", "guest-network-get-interfaces", "guest-get-fsinfo"):
        try:
            found = told.everything(Said({question: answer}))  # type: ignore[arg-type]
        except WireError:
            continue
        assert found == {}


def test_what_a_guest_says_of_itself_is_bounded() -> None:
    """A text is short and printable, and there are not too many."""
    said = Said({"guest-get-osinfo": {"id": "x" * 1000, "name": "a\x1b[2J", **{f"k{n}": "v" for n in range(1000)}}})
    system = told.system(said)  # type: ignore[arg-type]
    assert ("id" in system, system["name"], len(system) < 300) == (False, "a[2J", True)
