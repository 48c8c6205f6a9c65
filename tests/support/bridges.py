"""A bridge on the host's network for one dockerd, with exactly the firewall rules that it needs."""

from __future__ import annotations

import ipaddress
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import program, run
from tests.support.sessions import undo_when_abandoned

POOL = ipaddress.ip_network("10.192.0.0/10")


@dataclass(frozen=True)
class Bridge:
    """A bridge whose subnet reaches the outside through the host's addresses."""

    name: str
    subnet: ipaddress.IPv4Network

    @classmethod
    def create(cls) -> Bridge:
        """Make one with a name and a subnet that nobody else has."""
        bridge = cls(f"lgl{secrets.token_hex(4)}", free_subnet())
        undo_when_abandoned(bridge.undo)
        gateway = f"{bridge.gateway}/{bridge.subnet.prefixlen}"
        run(program("ip", "iproute2"), "link", "add", bridge.name, "type", "bridge")
        run("ip", "address", "add", gateway, "dev", bridge.name)
        run("ip", "link", "set", bridge.name, "up")
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1\n")
        for rule in bridge.rules():
            run(program("iptables", "iptables"), "-w", "-t", rule[0], "-I", *rule[1:])
        return bridge

    @property
    def gateway(self) -> str:
        """The host's address on it."""
        return str(self.subnet[1])

    def rules(self) -> list[tuple[str, ...]]:
        """Return the rules of this bridge: table, chain, match and target."""
        return [
            ("nat", "POSTROUTING", "-s", str(self.subnet), "!", "-o", self.name, "-j", "MASQUERADE"),
            ("filter", "FORWARD", "-i", self.name, "-j", "ACCEPT"),
            ("filter", "FORWARD", "-o", self.name, "-j", "ACCEPT"),
        ]

    @property
    def undo(self) -> list[list[str]]:
        """The commands that remove it and its rules."""
        rules = [["iptables", "-w", "-t", rule[0], "-D", *rule[1:]] for rule in self.rules()]
        return [*rules, ["ip", "link", "delete", self.name]]

    def delete(self) -> None:
        """Remove it and its rules."""
        for command in self.undo:
            run(*command)


def routed_networks() -> Iterator[ipaddress.IPv4Network]:
    """Yield the IPv4 networks that this machine has a route to, but the default one."""
    for route in json.loads(run("ip", "-j", "-4", "route", "show", "table", "all")):
        if (target := route["dst"]) != "default":
            yield ipaddress.IPv4Network(target, strict=False)


def free_subnet() -> ipaddress.IPv4Network:
    """Return a random /24 that overlaps no route."""
    taken = list(routed_networks())
    while True:
        number = int(POOL.network_address) + (secrets.randbelow(1 << 14) << 8)
        subnet = ipaddress.IPv4Network((number, 24))
        if not any(subnet.overlaps(other) for other in taken):
            return subnet
