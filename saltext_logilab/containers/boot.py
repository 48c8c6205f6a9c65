"""
The firewall's rules at boot and at each start of the daemon: before a container is up (pure).

Rules of iptables are gone after a boot, and the daemon brings its containers up before a minion has applied a state.
So a drop-in of systemd loads them in the daemon's own start; where that fails, the daemon does not start.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from saltext_logilab.containers.firewall import PROGRAMS, USER_CHAIN
from saltext_logilab.containers.policy import HOOKS

NAME = "50-logilab-ports.conf"
_HEAD = """\
# Written by the states docker_ports.filtered and docker_ports.exposed_only: the rules stand before a container is up.
[Service]
"""


def programs(family: int) -> tuple[str, str]:
    """Return the names of the programs that a family's rules need."""
    return PROGRAMS[family], f"{PROGRAMS[family]}-restore"


def rules_file(folder: Path, family: int) -> Path:
    """Return where the rules of a family are kept."""
    return folder / f"filter.v{family}"


def rules_text(chains: Mapping[str, list[str]]) -> str:
    """Return the rules of our chains as ``iptables-restore --noflush`` loads them: nothing else is touched."""
    lines = [f":{name} - [0:0]" for name in chains]
    lines += [f"-A {name} {one}" for name, rules in chains.items() for one in rules]
    return "\n".join(["*filter", *lines, "COMMIT", ""])


def drop_in(paths: Mapping[str, str], folder: Path) -> str:
    """
    Return the drop-in that loads the rules and leads the packets to them, whatever was there before.

    ``paths``: those of ``iptables``, ``iptables-restore`` and their like for IPv6, as far as this host has them.
    """
    lines = []
    for family, name in PROGRAMS.items():
        if name not in paths:
            continue
        program = f"{paths[name]} -w"
        lines += [
            f"-{program} -N {USER_CHAIN}",
            f"{paths[f'{name}-restore']} -w --noflush {rules_file(folder, family)}",
        ]
        for chain, hook in (*HOOKS.items(), (USER_CHAIN, "FORWARD")):
            lines += [f"-{program} -D {hook} -j {chain}", f"{program} -I {hook} -j {chain}"]
    return _HEAD + "".join(f"ExecStartPre={line}\n" for line in lines)
