"""
What the firewall of a Docker host lets through to its containers.

Docker forwards by DNAT in the table ``nat`` and lets that pass in ``FORWARD``: rules of INPUT, such as ufw writes,
never see it. The chain DOCKER-USER is the administrator's; Docker jumps to it first, unless a chain of that name was
there before, which has kept it from doing so. It sees a packet after DNAT: its ``--dport`` is the container's port, and
the published one is ``-m conntrack --ctorigdstport`` (iptables-extensions(8)).
"""

from __future__ import annotations

import ipaddress
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from saltext_logilab.containers.exposure import LOOPBACK
from saltext_logilab.errors import UnavailableError

USER_CHAIN = "DOCKER-USER"
FILTERED = "filtered"
PROGRAMS = {4: "iptables", 6: "ip6tables"}
_REFUSALS = ("DROP", "REJECT")
_PASSING = (*_REFUSALS, USER_CHAIN, "DOCKER-ISOLATION-STAGE-1")  # before the jump, these let nothing through
_TIMEOUT = 30.0


@dataclass(frozen=True)
class Firewall:
    """
    What one family's rules say: the policy of FORWARD, and the rules of DOCKER-USER.

    ``jumps``: whether FORWARD leads to that chain before anything else can accept; ``translated``: the protocols and
    host ports of Docker's DNAT.
    """

    policy: str
    jumps: bool
    rules: tuple[Mapping[str, str], ...]
    translated: frozenset[tuple[str, int]] = frozenset()

    @property
    def is_routed(self) -> bool:
        """Whether a neighbour with a route to the containers' networks reaches what is not published at all."""
        return self.policy == "ACCEPT"

    def translates(self, protocol: str, port: int) -> bool:
        """Say whether Docker's DNAT takes the published ``port``, so that it is forwarded and not taken by a proxy."""
        return (protocol, port) in self.translated

    def refuses(self, protocol: str, port: int) -> bool:
        """Say whether DOCKER-USER refuses the published ``port`` to everybody, whatever else it allows."""
        if not self.jumps:
            return False
        for rule in self.rules:
            target, conditions = rule.get("-j", ""), rule.keys() - {"-j", "-m", "--reject-with", "--comment"}
            if target == "RETURN" and not conditions:
                return False
            if target in _REFUSALS and _is_met(rule, conditions, protocol, port):
                return True
        return False


def _is_met(rule: Mapping[str, str], conditions: set[str], protocol: str, port: int) -> bool:
    """Say whether a rule holds for all that comes to a published port: only conditions that are understood count."""
    return (
        conditions <= {"-p", "--ctorigdstport", "--ctdir"}
        and rule.get("-p", protocol) == protocol
        and rule.get("--ctdir", "ORIGINAL") == "ORIGINAL"
        and _holds(rule.get("--ctorigdstport", "1:65535"), port)
    )


def _holds(span: str, port: int) -> bool:
    first, colon, last = span.partition(":")
    return first.isdigit() and int(first) <= port <= int(last if colon else first)


def parse(lines: Sequence[str], nat: Sequence[str] = ()) -> Firewall:
    """Return what the lines of ``iptables -S`` and of ``iptables -t nat -S`` say."""
    policy, jumps, decided = "ACCEPT", False, False
    rules = []
    for words in (shlex.split(line) for line in lines):
        if words[:2] == ["-P", "FORWARD"]:
            policy = words[2]
        elif words[:2] == ["-A", "FORWARD"]:
            jumps = jumps or (not decided and words[2:] == ["-j", USER_CHAIN])
            decided = decided or words[-1] not in _PASSING
        elif words[:2] == ["-A", USER_CHAIN]:
            rules.append(_rule(words[2:]))
    return Firewall(policy, jumps, tuple(rules), frozenset(_translated(nat)))


def _translated(lines: Sequence[str]) -> Iterator[tuple[str, int]]:
    for words in (shlex.split(line) for line in lines):
        rule = _rule(words[2:])
        if words[:2] == ["-A", "DOCKER"] and rule.get("-j") == "DNAT" and rule.get("--dport", "").isdigit():
            yield rule.get("-p", ""), int(rule["--dport"])


def _rule(words: Sequence[str]) -> dict[str, str]:
    """Return the options of a rule; a negated one bears its ``!`` and is a condition that nobody understands."""
    found: dict[str, str] = {}
    option, negated = "", False
    for word in words:
        if word == "!":
            negated = True
        elif word.startswith("-"):
            option = f"!{word}" if negated else word
            found[option], negated = "", False
        else:
            found[option] = f"{found.get(option, '')} {word}".strip()
    return found


def read(family: int) -> Firewall:
    """
    Return the rules of a family (4 or 6) of the caller's network namespace.

    :raises UnavailableError: the program is missing, or its use is not permitted.
    """
    program = shutil.which(PROGRAMS[family], path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        raise UnavailableError(f"{PROGRAMS[family]} is not installed: the firewall cannot be read")
    return parse(_listed(program), _listed(program, "-t", "nat"))


def _listed(program: str, *table: str) -> list[str]:
    command = [program, "-w", *table, "-S"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as err:
        raise UnavailableError(f"{program} cannot be run: {err}") from err
    if done.returncode:
        raise UnavailableError(f"{' '.join(command)} failed: {done.stderr.strip() or done.returncode}")
    return done.stdout.splitlines()


def exposure(row: Mapping[str, Any], firewalls: Mapping[int, Firewall]) -> tuple[str, str]:
    """
    Return how far a row's port reaches, and why: by its address, then by DOCKER-USER.

    Over IPv6, where Docker makes no DNAT by itself, docker-proxy takes the connection out of the host's INPUT, and so
    it does for a listener on the host's own network: there DOCKER-USER refuses nothing.
    """
    family = ipaddress.ip_address(row["host_ip"]).version
    firewall = firewalls[family]
    by_address = f"bound to {row['host_ip']}"
    if row["exposure"] == LOOPBACK or row["origin"] != "published":
        return str(row["exposure"]), by_address
    if not firewall.translates(row["protocol"], row["host_port"]):
        return str(row["exposure"]), f"{by_address}; served by docker-proxy through INPUT: {USER_CHAIN} does not see it"
    if firewall.refuses(row["protocol"], row["host_port"]):
        return FILTERED, f"{USER_CHAIN} refuses it by its published port"
    if not firewall.jumps:
        return str(row["exposure"]), f"{by_address}; FORWARD does not lead to {USER_CHAIN}: no rule there counts"
    return str(row["exposure"]), f"{by_address}; no rule of {USER_CHAIN} refuses it to everybody"


def audit(rows: Iterable[Mapping[str, Any]], firewalls: Mapping[int, Firewall]) -> list[dict[str, Any]]:
    """Return each row's port with its ``exposure`` and the reason for it (``why``)."""
    keys = ("daemon", "container", "protocol", "container_port", "host_ip", "host_port", "origin")
    return [
        {**{key: row[key] for key in keys}, **dict(zip(("exposure", "why"), exposure(row, firewalls), strict=True))}
        for row in rows
    ]
