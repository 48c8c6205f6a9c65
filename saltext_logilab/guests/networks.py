"""
Virtual networks as far as guests need them: planned by reading alone, then defined and started.

What is told of a network is compared with its definition (https://libvirt.org/formatnetwork.html); the rest of that
stays.
"""

from __future__ import annotations

import copy
import ipaddress
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from saltext_logilab.errors import ConfigurationError
from saltext_logilab.guests import connection
from saltext_logilab.guests.canonical import Change
from saltext_logilab.guests.connection import Connection
from saltext_logilab.guests.pools import check_name

ISOLATED = "isolated"
FORWARDS = ("nat", "route", "open", "bridge", ISOLATED)


@dataclass(frozen=True)
class Plan:
    """What has to be done: what to define (None: nothing), and whether it waits for the network's next start."""

    definition: str | None = None
    later: bool = False
    changes: dict[str, Change] = field(default_factory=dict)


def read(told: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return what was told of a network, checked: ``forward``, ``bridge``, ``address`` and ``dhcp``; None was not told.

    :raises ConfigurationError: something of it is impossible.
    """
    want = {key: value for key, value in told.items() if value is not None}
    if "bridge" in want:
        if set(want) - {"bridge", "forward"} or want.get("forward", "bridge") != "bridge":
            raise ConfigurationError("a network on a bridge of the host has no address, dhcp or other forward")
        return {"forward": "bridge", "bridge": check_name("bridge", want["bridge"])}
    if want.get("forward", ISOLATED) not in FORWARDS or want.get("forward") == "bridge":
        raise ConfigurationError(f"forward must be one of {', '.join(FORWARDS)} (bridge with bridge), not {want}")
    if "address" in want:
        want["address"] = _address(want["address"])
    if "dhcp" in want:
        want["dhcp"] = _range(want["dhcp"], want.get("address"))
    return want


def _address(told: object) -> str:
    try:
        found = ipaddress.ip_interface(str(told))
    except ValueError as err:
        raise ConfigurationError(f"address must be such as 192.168.100.1/24, not {told!r}") from err
    if found.network.prefixlen == found.max_prefixlen or found.ip == found.network.network_address:
        raise ConfigurationError(f"address must be that of the host in a network of its own, not {told!r}")
    return str(found)


def _range(told: object, address: str | None) -> list[str]:
    if address is None or not isinstance(told, Sequence) or isinstance(told, str) or len(told) != 2:
        raise ConfigurationError(f"dhcp must be the first and the last address, beside address, not {told!r}")
    place = ipaddress.ip_interface(address)
    try:
        first, last = (ipaddress.ip_address(str(one)) for one in told)
    except ValueError as err:
        raise ConfigurationError(f"dhcp must be two addresses, not {told!r}") from err
    if first not in place.network or last not in place.network or int(first) > int(last):
        raise ConfigurationError(f"dhcp must be a range of {place.network}, not {told!r}")
    return [str(first), str(last)]


def plan(link: Connection, name: str, want: Mapping[str, Any], autostart: bool | None) -> Plan:
    """
    Return what makes the network ``name`` what is wanted (as of :func:`read`), and active; nothing is changed.

    :raises ConfigurationError: it is not there, and too little was told to make it.
    """
    check_name("network", name)
    found = _network(link, name)
    active, starts = bool(found and found.isActive()), bool(found and found.isPersistent() and found.autostart())
    if found is None:
        root = ET.Element("network")
        ET.SubElement(root, "name").text = name
        if not want:
            raise ConfigurationError(f"there is no network {name!r} yet: it needs a bridge, a forward or an address")
    else:
        root = _definition(found)
    has = {} if found is None else facts(root)
    changes: dict[str, Change] = {
        key: {"old": has.get(key), "new": value} for key, value in want.items() if has.get(key) != value
    }
    text = ET.tostring(_laid_over(root, want), encoding="unicode") if changes or found is None else None
    if found is not None and not found.isPersistent():
        changes["persistent"], text = {"old": False, "new": True}, ET.tostring(root, encoding="unicode")
    later = active and text is not None
    if not active:
        changes["active"] = {"old": False, "new": True}
    if autostart is not None and autostart != starts:
        changes["autostart"] = {"old": starts, "new": autostart}
    return Plan(text, later, changes)


def apply(link: Connection, name: str, todo: Plan) -> None:
    """Do what was planned; a network that cannot be started is not left defined when it was not there before."""
    new = _network(link, name) is None
    if todo.definition is not None:
        link.networkDefineXML(todo.definition)
    found = _network(link, name)
    try:
        if "active" in todo.changes:
            found.create()
        if "autostart" in todo.changes:
            found.setAutostart(1 if todo.changes["autostart"]["new"] else 0)
    except connection.libvirt.libvirtError:
        if new and not found.isActive():
            found.undefine()
        raise


def facts(root: ET.Element) -> dict[str, Any]:
    """Return what a definition says of ``forward``, ``bridge`` (of the host), ``address`` and ``dhcp``."""
    forward, bridge = root.find("forward"), root.find("bridge")
    mode = ISOLATED if forward is None else forward.get("mode", "nat")
    found: dict[str, Any] = {"forward": mode}
    if mode == "bridge" and bridge is not None:
        found["bridge"] = bridge.get("name")
    if (ip := root.find("ip")) is not None and ip.get("address"):
        found["address"] = str(ipaddress.ip_interface(f"{ip.get('address')}/{ip.get('prefix') or ip.get('netmask')}"))
        if (dhcp := ip.find("dhcp/range")) is not None:
            found["dhcp"] = [dhcp.get("start"), dhcp.get("end")]
    return found


def _laid_over(root: ET.Element, want: Mapping[str, Any]) -> ET.Element:
    """Return the definition with what was told; all else of it stays."""
    made = copy.deepcopy(root)
    if "forward" in want and want["forward"] != facts(root)["forward"]:
        for one in made.findall("forward"):
            made.remove(one)
        if want["forward"] != ISOLATED:
            ET.SubElement(made, "forward", mode=want["forward"])
    if "bridge" in want:
        for tag in ("bridge", "ip", "mac"):
            for one in made.findall(tag):
                made.remove(one)
        ET.SubElement(made, "bridge", name=want["bridge"])
    if "address" in want:
        _lay_address(made, want)
    return made


def _lay_address(made: ET.Element, want: Mapping[str, Any]) -> None:
    place, ip = ipaddress.ip_interface(want["address"]), made.find("ip")
    if ip is None:
        ip = ET.SubElement(made, "ip")
    if facts(made).get("address") != want["address"]:
        for key in ("netmask", "family"):
            ip.attrib.pop(key, None)
        ip.attrib |= {"address": str(place.ip), "prefix": str(place.network.prefixlen)}
        if place.version == 6:
            ip.set("family", "ipv6")
    if "dhcp" in want:
        box = ip.find("dhcp")
        if box is None:
            box = ET.SubElement(ip, "dhcp")
        for one in box.findall("range"):
            box.remove(one)
        ET.SubElement(box, "range", start=want["dhcp"][0], end=want["dhcp"][1])


def _definition(found: Any) -> ET.Element:
    known = connection.libvirt
    flags = known.VIR_NETWORK_XML_INACTIVE if found.isPersistent() else 0
    return ET.fromstring(found.XMLDesc(flags))  # noqa: S314 - it comes from libvirtd


def _network(link: Connection, name: str) -> Any:
    return next((one for one in link.listAllNetworks() if one.name() == name), None)
