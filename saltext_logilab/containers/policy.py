"""
Who may reach which port of the containers, and the rules of iptables that make it so (pure).

A packet for a published port goes one of three ways, and each needs a rule of its own:

- Docker's DNAT forwards it: DOCKER-USER sees it with the container's port; the published one is ``--ctorigdstport``.
  The state ``DNAT`` keeps what containers themselves send to such a port outside from being taken for it.
- docker-proxy takes it, as over IPv6 by default, or a container on the host's network does: INPUT sees it.
- A neighbour with a route sends it to the container's own address: DOCKER-USER sees it without DNAT, on its way to the
  container's bridge.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from saltext_logilab.containers.firewall import USER_CHAIN, Firewall, rule
from saltext_logilab.containers.ports import parse_container_port
from saltext_logilab.errors import ConfigurationError

FORWARDED, RECEIVED = "LOGILAB-FORWARD", "LOGILAB-INPUT"
HOOKS = {FORWARDED: USER_CHAIN, RECEIVED: "INPUT"}
EVERYBODY = ("0.0.0.0/0", "::/0")

PortKey = tuple[int, str]


@dataclass(frozen=True)
class Ground:
    """What of a daemon the rules depend on: the interfaces of its networks, and the ports that it has on this host."""

    bridges: frozenset[str] = frozenset()
    ports: frozenset[PortKey] = frozenset()

    def __or__(self, other: Ground) -> Ground:
        """Return both together."""
        return Ground(self.bridges | other.bridges, self.ports | other.ports)


@dataclass(frozen=True)
class Policy:
    """
    The networks that may reach each port.

    ``only``: no other port of a container may be reached; ``routed``: the containers' own addresses may be.
    """

    ports: Mapping[PortKey, tuple[str, ...]] = field(default_factory=dict)
    only: bool = False
    routed: bool = True

    def __bool__(self) -> bool:
        """Whether it forbids anything."""
        return bool(self.ports) or self.only or not self.routed

    def with_port(self, key: PortKey, sources: tuple[str, ...], routed: bool) -> Policy:
        """
        Return this policy with one port more; what another port has closed to routes stays so.

        :raises ConfigurationError: this is the policy of the whole host, where ports stand together.
        """
        self._check_single(key)
        others = self.ports.keys() - {key}
        return replace(self, ports={**self.ports, key: sources}, routed=routed and (self.routed or not others))

    def without_port(self, key: PortKey) -> Policy:
        """Return this policy without a port; without any, nothing is closed. Raises as :meth:`with_port`."""
        self._check_single(key)
        left = {one: sources for one, sources in self.ports.items() if one != key}
        return replace(self, ports=left) if left else Policy()

    def _check_single(self, key: PortKey) -> None:
        if self.only:
            raise ConfigurationError(
                f"docker_ports.exposed_only says what may be reached on this host: {shown(key)} has to stand there"
            )


def shown(key: PortKey) -> str:
    """Return a port as people write it."""
    return f"{key[0]}/{key[1]}"


def parse_port(value: str | int, protocol: str = "tcp") -> PortKey:
    """Return the port of ``8080`` or ``53/udp``; raises as :func:`.ports.parse_container_port`."""
    return parse_container_port(value, protocol)


def parse_sources(sources: Any, whole: object) -> tuple[str, ...]:
    """
    Return networks in their canonical form.

    :raises ConfigurationError: it is no list, or a member is no network; the sentence names it.
    """
    if isinstance(sources, str) or not isinstance(sources, Iterable):
        raise ConfigurationError(f"the networks of {whole} must be a list, not {sources!r}")
    found = set()
    for one in sources:
        try:
            found.add(ipaddress.ip_network(str(one)))
        except ValueError as err:
            raise ConfigurationError(f"{one!r} of {whole} is no network: {err}") from err
    return tuple(str(one) for one in sorted(found, key=lambda one: (one.version, one)))


def parse_ports(ports: Any) -> dict[PortKey, tuple[str, ...]]:
    """
    Return the networks by port of a mapping such as ``{8080: [10.0.0.0/8], 53/udp: [0.0.0.0/0, "::/0"]}``.

    :raises ConfigurationError: it is no such mapping.
    """
    if not isinstance(ports, Mapping):
        raise ConfigurationError(f"ports must be a mapping of ports to lists of networks, not {ports!r}")
    return {parse_port(port): parse_sources(sources, port) for port, sources in ports.items()}


def to_data(policy: Policy, grounds: Mapping[str, Ground]) -> dict[str, Any]:
    """Return a policy, and the ground of each daemon when it was applied, as plain data."""
    return {
        "ports": {shown(key): list(sources) for key, sources in sorted(policy.ports.items())},
        "only": policy.only,
        "routed": policy.routed,
        "grounds": {
            name: {"bridges": sorted(one.bridges), "ports": sorted(map(shown, one.ports))}
            for name, one in sorted(grounds.items())
        },
    }


def of_data(data: Mapping[str, Any]) -> tuple[Policy, dict[str, Ground]]:
    """
    Return what :func:`to_data` has told.

    :raises ConfigurationError: it is not that.
    """
    try:
        grounds = {
            str(name): Ground(frozenset(one["bridges"]), frozenset(map(parse_port, one["ports"])))
            for name, one in data["grounds"].items()
        }
        return Policy(parse_ports(data["ports"]), bool(data["only"]), bool(data["routed"])), grounds
    except (KeyError, TypeError, AttributeError) as err:
        raise ConfigurationError(f"no policy of ports: {err}") from err


def chains(policy: Policy, ground: Ground, family: int) -> dict[str, list[str]]:
    """Return the rules of both chains for a family (4 or 6), in the form of ``iptables -S``."""
    forwarded: list[str] = []
    received = ["-i lo -j RETURN"]
    for (port, protocol), sources in sorted(policy.ports.items()):
        published = f"-p {protocol} -m conntrack --ctstate DNAT --ctorigdstport {port} --ctdir ORIGINAL"
        forwarded += _limited(published, sources, family)
        received += _limited(f"-p {protocol} -m {protocol} --dport {port}", sources, family)
    if policy.only:
        forwarded.append("-m conntrack --ctstate DNAT --ctdir ORIGINAL -j DROP")
        others = sorted(ground.ports - policy.ports.keys())
        received += [f"-p {protocol} -m {protocol} --dport {port} -j DROP" for port, protocol in others]
    if not policy.routed:
        direct = "-m conntrack ! --ctstate DNAT --ctdir ORIGINAL -j DROP"
        forwarded += [f"! -i {bridge} -o {bridge} {direct}" for bridge in sorted(ground.bridges)]
    return {FORWARDED: forwarded, RECEIVED: received}


def _limited(condition: str, sources: Sequence[str], family: int) -> Iterator[str]:
    """Yield the rules that let what meets ``condition`` on from ``sources`` alone."""
    networks = [one for one in map(ipaddress.ip_network, sources) if one.version == family]
    if any(one.prefixlen == 0 for one in networks):
        yield f"{condition} -j RETURN"
        return
    yield from (f"-s {one} {condition} -j RETURN" for one in networks)
    yield f"{condition} -j DROP"


def script(found: Firewall, wanted: Mapping[str, Sequence[str]]) -> str:
    """
    Return what ``iptables-restore --noflush`` has to do that ``wanted`` holds; empty where it does.

    DOCKER-USER and the jump to it are made where they are missing: Docker leaves out the jump where the chain is older.
    """
    equal = all(
        list(found.chains.get(name, ())) == [rule(one.split()) for one in rules] for name, rules in wanted.items()
    )
    jumps = [*(("FORWARD", USER_CHAIN),), *((hook, name) for name, hook in HOOKS.items())]
    lacking = [(hook, name) for hook, name in jumps if not found.leads(hook, name)]
    if equal and not lacking:
        return ""
    lines = ["*filter", *([] if USER_CHAIN in found.chains else [f":{USER_CHAIN} - [0:0]"])]
    lines += [f":{name} - [0:0]" for name in wanted]
    lines += [f"-A {name} {one}" for name, rules in wanted.items() for one in rules]
    for hook, name in lacking:
        lines += _unhooked(found, hook, name)
        lines.append(f"-I {hook} 1 -j {name}")
    return "\n".join([*lines, "COMMIT", ""])


def removal(found: Firewall) -> str:
    """Return what ``iptables-restore --noflush`` has to do that nothing of ours is left; empty where nothing is."""
    names = [name for name in HOOKS if name in found.chains]
    if not names:
        return ""
    lines = [line for name in names for line in _unhooked(found, HOOKS[name], name)]
    return "\n".join(
        ["*filter", *(f":{name} - [0:0]" for name in names), *lines, *(f"-X {n}" for n in names), "COMMIT", ""]
    )


def _unhooked(found: Firewall, hook: str, name: str) -> list[str]:
    return [f"-D {hook} -j {name}" for one in found.chains.get(hook, ()) if one == {"-j": name}]


def differences(found: Firewall, wanted: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the rules that go (``old``) and that come (``new``), each with its chain."""
    real = {name: [_text(one) for one in found.chains.get(name, ())] for name in HOOKS}
    told = {name: [_text(rule(one.split())) for one in wanted.get(name, ())] for name in HOOKS}
    return {
        "old": [f"{name} {one}" for name in HOOKS for one in real[name] if one not in told[name]],
        "new": [f"{name} {one}" for name in HOOKS for one in told[name] if one not in real[name]],
    }


def _text(one: Mapping[str, str]) -> str:
    return " ".join(f"! {key[1:]} {value}" if key.startswith("!") else f"{key} {value}" for key, value in one.items())
