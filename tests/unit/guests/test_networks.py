"""The definition of a network: what is told of it is laid over it, the rest stays."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from saltext_logilab.guests import networks

OFFICE = """
<network>
  <name>office</name><uuid>u</uuid><forward mode='nat'/><bridge name='virbr7'/><mac address='52:54:00:00:00:07'/>
  <dns><host ip='192.0.2.9'><hostname>nas</hostname></host></dns>
  <ip address='192.0.2.1' netmask='255.255.255.0'>
    <dhcp><range start='192.0.2.10' end='192.0.2.20'/><host mac='52:54:00:00:00:01' ip='192.0.2.5'/></dhcp>
  </ip>
</network>
"""


def laid(**told: object) -> ET.Element:
    """Return the office's network with what was told."""
    return networks._laid_over(ET.fromstring(OFFICE), networks.read(told))


def test_what_a_definition_says() -> None:
    """Its forward, its address with the length of the prefix, and its range; a host's bridge where it has one."""
    told = {"forward": "nat", "address": "192.0.2.1/24", "dhcp": ["192.0.2.10", "192.0.2.20"]}
    assert networks.facts(ET.fromstring(OFFICE)) == told
    assert networks.facts(ET.fromstring("<network/>")) == {"forward": "isolated"}
    bridged = "<network><forward mode='bridge'/><bridge name='br0'/></network>"
    assert networks.facts(ET.fromstring(bridged)) == {"forward": "bridge", "bridge": "br0"}


@pytest.mark.parametrize(
    "told",
    [
        {"forward": "isolated"},
        {"forward": "route", "address": "198.51.100.1/25"},
        {"address": "192.0.2.1/24", "dhcp": ["192.0.2.100", "192.0.2.200"]},
        {"address": "2001:db8::1/64"},
    ],
)
def test_what_is_told_is_so_afterwards(told: dict[str, object]) -> None:
    """And nothing else has changed: names of hosts, fixed addresses, the bridge of its own."""
    made = laid(**told)
    found = networks.facts(made)
    assert {key: found[key] for key in told} == told
    assert made.findtext("dns/host/hostname") == "nas"
    assert made.find("ip/dhcp/host") is not None
    assert (made.findtext("uuid"), made.find("bridge").get("name")) == ("u", "virbr7")  # type: ignore[union-attr]


def test_a_bridge_of_the_host_has_no_addresses() -> None:
    """What a network of its own had of them goes."""
    made = laid(bridge="br0")
    assert networks.facts(made) == {"forward": "bridge", "bridge": "br0"}
    assert made.find("ip") is None
