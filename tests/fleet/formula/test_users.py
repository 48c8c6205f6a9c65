"""The formula ``users``, applied for real."""

from __future__ import annotations

import datetime
from collections.abc import Callable

from tests.support.formulas import FormulaHost, example


def test_the_example_is_applied_once(formula_host: Callable[..., FormulaHost]) -> None:
    """Users, keys, sudo rules and expiries are there; clean takes them away; a wrong sudo rule does not take effect."""
    pillar = example("users")
    crypted = "$6$saltsalt$lyDF.zLF2qaPxPgxYsKnHWiOQVEeGcsFHnQHQFZqQbp6ZCu1rzkfMLa4FqgRPDJIYYzcHVqg9sNWqaMTsxcpU1"
    key = pillar["users"]["alice"]["ssh_keys"][0].replace("AAAIA", "AAAIB")
    limited = f'from="192.0.2.0/24",no-pty {key}'
    pillar["users"]["alice"] |= {"password": crypted, "ssh_keys": [*pillar["users"]["alice"]["ssh_keys"], limited]}
    host = formula_host({"users": pillar})
    host.apply_twice("users")
    machine = host.machine
    assert crypted in machine.exec("getent", "shadow", "alice").output
    assert limited in machine.exec("cat", "/home/alice/.ssh/authorized_keys").output
    assert machine.exec("id", "-u", "alice").output == "2001\n"
    key = example("users")["users"]["alice"]["ssh_keys"][0].split()[1]
    assert key in machine.exec("cat", "/home/alice/.ssh/authorized_keys").output
    day = (datetime.date(2031, 12, 31) - datetime.date(1970, 1, 1)).days
    assert machine.exec("getent", "shadow", "carol").output.split(":")[4:8] == ["90", "14", "", str(day)]
    machine.exec("su", "alice", "-c", "sudo -n /bin/true")
    assert machine.exec("su", "alice", "-c", "sudo -n /bin/false", check=False).code == 1
    pillar["users"] |= {"alice": {**pillar["users"]["alice"], "expires": "2001-01-01"}, "carol": {"expires": "never"}}
    host.give({"users": pillar})
    host.apply_twice("users")
    assert "expired" in machine.exec("su", "alice", "-c", "true", check=False).output
    assert machine.exec("getent", "shadow", "carol").output.split(":")[7] == ""
    host.apply_twice("users.clean")
    assert machine.exec("id", "alice", check=False).code == 1

    host.give(
        {"users": {"users": {"bad": {"sudo": ["no rule at all"]}, "good": {"sudo": ["ALL=(root) NOPASSWD: ALL"]}}}}
    )
    (failed,) = host.apply("users").failed
    assert "check_cmd" in failed
    assert machine.exec("test", "-e", "/etc/sudoers.d/salt-bad", check=False).code == 1
    machine.exec("su", "good", "-c", "sudo -n /bin/true")
