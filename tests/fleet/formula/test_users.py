"""The formula ``users``, applied for real in a throw-away Debian, from the packaged folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from saltext_logilab.formula.packaged import example_pillars, formulas
from tests.support.containers import SystemdContainer

ROOTS = """
file_roots: {base: [/srv/formulas]}
pillar_roots: {base: [/srv/pillar]}
"""


@pytest.fixture
def debian(salt_container: Callable[..., SystemdContainer]) -> SystemdContainer:
    """A fresh Debian whose Salt serves itself the packaged formulas and example pillars."""
    made = salt_container(config=ROOTS)
    for source, target in ((formulas(), "/srv/formulas"), (example_pillars(), "/srv/pillar")):
        for path in source.rglob("*"):
            if path.is_file():
                made.write(f"{target}/{path.relative_to(source)}", path.read_text(encoding="utf-8"))
    made.exec("apt-get", "update")
    return made


def apply(debian: SystemdContainer, name: str) -> tuple[list[Any], list[Any]]:
    """Apply ``name``; return the comments of what failed and the names of what changed."""
    states = debian.salt_call("state.apply", name)
    assert isinstance(states, dict), states
    failed = [state["comment"] for state in states.values() if state["result"] is not True]
    return failed, [state["name"] for state in states.values() if state["changes"]]


def test_the_example_is_applied_once(debian: SystemdContainer) -> None:
    """Applied twice: the second time nothing changes; users, keys and sudo rules are there; clean takes them away."""
    failed, changed = apply(debian, "users")
    assert (failed, bool(changed)) == ([], True)
    assert apply(debian, "users") == ([], [])
    example = yaml.safe_load((example_pillars() / "users.sls").read_text())["users"]["users"]["alice"]
    assert debian.exec("id", "-u", "alice").output == "2001\n"
    assert example["ssh_keys"][0].split()[1] in debian.exec("cat", "/home/alice/.ssh/authorized_keys").output
    debian.exec("su", "alice", "-c", "sudo -n /bin/true")
    assert debian.exec("su", "alice", "-c", "sudo -n /bin/false", check=False).code == 1
    failed, changed = apply(debian, "users.clean")
    assert (failed, bool(changed)) == ([], True)
    assert apply(debian, "users.clean") == ([], [])
    assert debian.exec("id", "alice", check=False).code == 1


def test_a_wrong_sudo_rule_does_not_take_effect(debian: SystemdContainer) -> None:
    """A rule that visudo refuses is not written; a user with a dot in its name gets a file that sudo reads."""
    rules = {"a.b": {"sudo": ["ALL=(root) NOPASSWD: /bin/true"]}, "bad": {"sudo": ["no rule at all"]}}
    debian.write("/srv/pillar/users.sls", yaml.safe_dump({"users": {"users": rules}}))
    with pytest.raises(RuntimeError, match="check_cmd"):
        apply(debian, "users")
    assert debian.exec("test", "-e", "/etc/sudoers.d/salt-bad", check=False).code == 1
    debian.exec("su", "a.b", "-c", "sudo -n /bin/true")
