"""The formula ``firewall``, applied for real: what it lets through and what not is tried from outside."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from tests.support.containers import SystemdContainer
from tests.support.formulas import FormulaHost

LISTENER = "from http.server import *; HTTPServer(('', {port}), SimpleHTTPRequestHandler).serve_forever()"


def reached(address: str, port: int) -> bool:
    """Say whether something answers there."""
    try:
        with socket.create_connection((address, port), timeout=2):
            return True
    except OSError:
        return False


def passing_on(other: SystemdContainer) -> dict[str, Any]:
    """Return a pillar that passes on port 8090 to ``other``, where something listens, and routes nothing else."""
    listen(other, 8080)
    return {
        "forward_ports": {"inner": {"port": 8090, "to": f"{other.address}:8080"}},
        "allow_forward": {"guests": {"interface": "virbr*", "ports": [53], "protocol": "udp"}},
        "masquerade": ["eth*"],
        "policies": {"forward": "drop"},
    }


def listen(machine: SystemdContainer, port: int) -> None:
    """Have something listen there."""
    machine.exec("systemd-run", "python3", "-c", LISTENER.format(port=port))
    machine.exec("timeout", "20", "sh", "-c", f"until ss -Hltn sport = :{port} | grep -q .; do :; done")


def test_it_lets_through_what_it_says(formula_host: Callable[..., FormulaHost]) -> None:
    """Before, two ports answer; with the rules one of them; other tables stay; a wrong rule changes nothing."""
    allow = {"web": {"ports": [8080]}, "nobody": {"ports": [8081], "from": ["@office", "2001:db8::/32"]}}
    pillar = {"addresses": {"office": ["203.0.113.0/24", "203.0.115.7"]}, "allow": allow, "log_denied": True}
    host = formula_host({"firewall": pillar}, cap_add=["NET_ADMIN"])
    machine = host.machine
    for port in (8080, 8081):
        listen(machine, port)
    assert [reached(machine.address, port) for port in (8080, 8081)] == [True, True]
    host.apply_twice("firewall")
    assert [reached(machine.address, port) for port in (8080, 8081)] == [True, False]
    machine.exec("nft", "add", "table", "ip", "of_docker")
    host.give({"firewall": {**pillar, "extra_rules": ["no such thing"]}})
    (failed,) = [one for one in host.apply("firewall").failed if one.startswith("firewall_rules")]
    assert "check_cmd" in failed
    host.give({"firewall": {**pillar, "allow": {}, "deny": {"outside": {"from": [machine.address]}}}})
    assert host.apply("firewall").failed == []
    assert [reached(machine.address, port) for port in (8080, 8081)] == [False, False]
    assert "table ip of_docker" in machine.exec("nft", "list", "tables").output
    host.give({"firewall": passing_on(formula_host({}).machine)})
    machine.allow_nesting()
    machine.exec("sysctl", "-w", "net.ipv4.ip_forward=1")
    host.apply_twice("firewall")
    assert reached(machine.address, 8090)
    host.apply_twice("firewall.clean")
    assert [reached(machine.address, port) for port in (8080, 8081)] == [True, True]
