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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from saltext_logilab.errors import UnavailableError

USER_CHAIN = "DOCKER-USER"
PROGRAMS = {4: "iptables", 6: "ip6tables"}
NEW, DNAT = "NEW", "DNAT"
_REFUSALS = ("DROP", "REJECT")
_PASSING = (*_REFUSALS, "LOG", "NFLOG", "MARK", "CONNMARK", USER_CHAIN, "DOCKER-ISOLATION-STAGE-1")
_NEUTRAL = {"-j", "-m", "-s", "--reject-with", "--comment"}
_CLOSED, _OPEN, _RETURNED = "closed", "open", "returned"
_TIMEOUT = 30.0
_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"

Rule = Mapping[str, str]


@dataclass(frozen=True)
class Packet:
    """
    The first packet of a connection from outside, as a chain sees it.

    ``port`` is where it goes, ``original`` where it was sent to, before DNAT; ``bridge`` is the interface by which it
    leaves (empty: not known; None: it is for this host itself), ``destination`` its address (empty: not known).
    """

    protocol: str
    port: int
    original: int
    states: frozenset[str] = frozenset({NEW})
    bridge: str | None = None
    destination: str = ""


@dataclass(frozen=True)
class Firewall:
    """
    What one family's rules say: the policies and the chains of the table ``filter``.

    ``translated``: the protocols and host ports of Docker's DNAT; ``raw``: the rules of PREROUTING in the table of that
    name, by which Docker of version 28 and later refuses what comes for its containers' own addresses.
    """

    policies: Mapping[str, str] = field(default_factory=dict)
    chains: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict)
    translated: frozenset[tuple[str, int]] = frozenset()
    raw: tuple[Rule, ...] = ()

    @property
    def jumps(self) -> bool:
        """Whether FORWARD leads to DOCKER-USER before anything else can accept."""
        return self.leads("FORWARD", USER_CHAIN)

    def leads(self, chain: str, target: str) -> bool:
        """Say whether ``chain`` jumps to ``target`` unconditionally before a rule of its own can let anything on."""
        for rule in self.chains.get(chain, ()):
            if rule == {"-j": target}:
                return True
            if rule.get("-j") not in _PASSING and rule.get("-i") != "lo":
                return False
        return False

    def translates(self, protocol: str, port: int) -> bool:
        """Say whether Docker's DNAT takes the published ``port``, so that it is forwarded and not taken by a proxy."""
        return (protocol, port) in self.translated

    def admits(self, chain: str, packet: Packet) -> tuple[str, ...] | None:
        """
        Return the networks out of which a built-in chain lets ``packet`` on: none, where it is refused to everybody.

        None means everybody: a rule that is not understood closes nothing, and may open.
        """
        admitted, end = self._walk(self.chains.get(chain, ()), packet)
        closed = end == _CLOSED or (end == _RETURNED and self.policies.get(chain, "ACCEPT") != "ACCEPT")
        return admitted if closed else None

    def refuses_unforwarded(self, packet: Packet) -> bool:
        """Say whether the table ``raw`` refuses ``packet`` to everybody before anything else sees it."""
        return self._walk(self.raw, packet) == ((), _CLOSED)

    def _walk(self, rules: Iterable[Rule], packet: Packet) -> tuple[tuple[str, ...], str]:
        admitted: tuple[str, ...] = ()
        for rule in rules:
            met, target = _met(rule, packet), rule.get("-j", "")
            if met is False or (target in _PASSING and target not in self.chains and target not in _REFUSALS):
                continue
            everybody = bool(met) and "-s" not in rule
            if target in _REFUSALS:
                if everybody:
                    return admitted, _CLOSED
            elif target in self.chains:
                inner, end = self._walk(self.chains[target], packet)
                admitted += inner
                if end == _OPEN or (end == _CLOSED and everybody):
                    return admitted, end
            elif target in ("RETURN", "ACCEPT") and met and "-s" in rule:
                admitted += (rule["-s"],)
            elif target:
                return admitted, _RETURNED if target == "RETURN" else _OPEN
        return admitted, _RETURNED


def _met(rule: Rule, packet: Packet) -> bool | None:
    """Say whether a rule holds for ``packet``, its source aside; None: it has a condition that nobody understands."""
    found: bool | None = True
    for option, value in rule.items():
        if option in _NEUTRAL:
            continue
        check = _CHECKS.get(option.lstrip("!"))
        told = check(value, packet) if check else None
        if told is None:
            found = None
        elif told == option.startswith("!"):
            return False
    return found


def _leaves_by(value: str, packet: Packet) -> bool | None:
    if packet.bridge == "":
        return None
    return packet.bridge is not None and _is_interface(value, packet.bridge)


def _came_by(value: str, packet: Packet) -> bool | None:
    """From outside: neither by the loopback nor by the bridge to which it goes."""
    return False if value == "lo" or (packet.bridge and _is_interface(value, packet.bridge)) else None


def _goes_to(value: str, packet: Packet) -> bool | None:
    return ipaddress.ip_address(packet.destination) in ipaddress.ip_network(value) if packet.destination else None


def _is_interface(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("+") else name == pattern


def _holds(span: str, port: int) -> bool:
    first, colon, last = span.partition(":")
    return first.isdigit() and int(first) <= port <= int(last if colon else first)


_CHECKS: Mapping[str, Callable[[str, Packet], bool | None]] = {
    "-p": lambda value, packet: value == packet.protocol,
    "--dport": lambda value, packet: _holds(value, packet.port),
    "--ctorigdstport": lambda value, packet: _holds(value, packet.original),
    "--ctdir": lambda value, _packet: value == "ORIGINAL",
    "--ctstate": lambda value, packet: bool(packet.states & set(value.split(","))),
    "-o": _leaves_by,
    "-i": _came_by,
    "-d": _goes_to,
}


def parse(lines: Sequence[str], nat: Sequence[str] = (), raw: Sequence[str] = ()) -> Firewall:
    """Return what the lines of ``iptables -S``, and of the same for the tables ``nat`` and ``raw``, say."""
    policies: dict[str, str] = {}
    chains: dict[str, list[Rule]] = {}
    for words in map(shlex.split, lines):
        if words[:1] == ["-P"]:
            policies[words[1]] = words[2]
        elif words[:1] == ["-N"]:
            chains.setdefault(words[1], [])
        elif words[:1] == ["-A"]:
            chains.setdefault(words[1], []).append(rule(words[2:]))
    early = tuple(rule(words[2:]) for words in map(shlex.split, raw) if words[:2] == ["-A", "PREROUTING"])
    told = {name: tuple(rules) for name, rules in chains.items()}
    return Firewall(policies, told, frozenset(_translated(nat)), early)


def _translated(lines: Sequence[str]) -> Iterator[tuple[str, int]]:
    for words in map(shlex.split, lines):
        found = rule(words[2:])
        if words[:2] == ["-A", "DOCKER"] and found.get("-j") == DNAT and found.get("--dport", "").isdigit():
            yield found.get("-p", ""), int(found["--dport"])


def rule(words: Sequence[str]) -> dict[str, str]:
    """Return the options of a rule; a negated one bears its ``!``."""
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
    command = [program(PROGRAMS[family]), "-w"]
    lines, nat = (_run([*command, *table, "-S"]).splitlines() for table in ((), ("-t", "nat")))
    return parse(lines, nat, _early(command))


def _early(command: Sequence[str]) -> list[str]:
    try:
        return _run([*command, "-t", "raw", "-S"]).splitlines()
    except UnavailableError:
        return []  # a kernel without this table has no rule in it


def restore(family: int, script: str) -> None:
    """
    Apply a script of ``iptables-restore``, whole or not at all, and leave all chains that it does not name.

    :raises UnavailableError: the program is missing, or refuses the script.
    """
    _run([program(f"{PROGRAMS[family]}-restore"), "-w", "--noflush"], script)


def program(name: str) -> str:
    """
    Return the path of one of the firewall's programs.

    :raises UnavailableError: it is not installed.
    """
    found = shutil.which(name, path=_PATH)
    if found is None:
        raise UnavailableError(f"{name} is not installed: the firewall cannot be read")
    return found


def _run(command: Sequence[str], given: str = "") -> str:
    try:
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as err:
        raise UnavailableError(f"{command[0]} cannot be run: {err}") from err
    if done.returncode:
        raise UnavailableError(f"{' '.join(command)} failed: {done.stderr.strip() or done.returncode}")
    return done.stdout
