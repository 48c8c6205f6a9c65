"""
What a guest tells of itself by its agent: its system, its name, its addresses, its file systems.

Each question may be unknown to an older agent, or forbidden: what it does not answer is left out. What it answers may
be anything: only what has the right shape is taken, and no text is longer than :data:`LONGEST`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from saltext_logilab.errors import WireError
from saltext_logilab.guests.agent import Agent, AgentRefusal
from saltext_logilab.within import facts

LONGEST = 256
MANY = 256
_SYSTEM = {
    "ID": "id",
    "NAME": "name",
    "PRETTY_NAME": "pretty-name",
    "VERSION_ID": "version-id",
    "VERSION": "version",
}
_MACHINE = {"kernelrelease": "kernel-release", "cpuarch": "machine"}


def everything(agent: Agent) -> dict[str, Any]:
    """
    Return what the guest tells: ``agent``, ``system``, ``host_name``, ``timezone``, ``interfaces``, ``file_systems``.

    :raises NotRunningError: it does not run.
    :raises AgentError: it has no agent that answers.
    """
    found = {
        "agent": version(agent),
        "system": system(agent),
        "host_name": host_name(agent),
        "timezone": _text(_ask(agent, "guest-get-timezone", dict), "zone"),
        "interfaces": interfaces(agent),
        "file_systems": file_systems(agent),
    }
    return {key: value for key, value in found.items() if value}


def grains(agent: Agent) -> dict[str, Any]:
    """
    Return Salt's grains of the guest, as far as its agent tells them.

    :raises NotRunningError: it does not run.
    :raises AgentError: it has no agent that answers.
    """
    told, cards = system(agent), interfaces(agent)
    found: dict[str, Any] = facts.of_release({key: told[one] for key, one in _SYSTEM.items() if one in told})
    found |= {grain: told[one] for grain, one in _MACHINE.items() if one in told}
    if "kernel-release" in told and "kernel" not in found:
        found["kernel"] = "Linux"
    if name := host_name(agent):
        found |= {"host": name.partition(".")[0], "nodename": name}
    if cards:
        found["hwaddr_interfaces"] = {card: one["mac"] for card, one in cards.items() if one["mac"]}
        found["ip_interfaces"] = {card: one["addresses"] for card, one in cards.items()}
        addresses = [one for name, card in cards.items() if name != "lo" for one in card["addresses"]]
        found["ipv4"] = sorted({one for one in addresses if ":" not in one})
        found["ipv6"] = sorted({one for one in addresses if ":" in one})
    return found


def version(agent: Agent) -> str:
    """Return the version of the agent."""
    return _text(_ask(agent, "guest-info", dict), "version")


def system(agent: Agent) -> dict[str, str]:
    """Return what system the guest runs, by the agent's own names (``guest-get-osinfo``)."""
    told = _ask(agent, "guest-get-osinfo", dict)
    return {key: _text(told, key) for key in list(told)[:MANY] if isinstance(key, str) and _text(told, key)}


def host_name(agent: Agent) -> str:
    """Return the guest's own name."""
    return _text(_ask(agent, "guest-get-host-name", dict), "host-name")


def interfaces(agent: Agent) -> dict[str, dict[str, Any]]:
    """Return the network cards that the guest sees, each with ``mac`` and ``addresses``."""
    found = {}
    for one in _ask(agent, "guest-network-get-interfaces", list)[:MANY]:
        if isinstance(one, dict) and (name := _text(one, "name")):
            told = one.get("ip-addresses")
            rows = [row for row in told[:MANY] if isinstance(row, dict)] if isinstance(told, list) else []
            addresses = [address for row in rows if (address := _text(row, "ip-address"))]
            found[name] = {"mac": _text(one, "hardware-address"), "addresses": addresses}
    return found


def file_systems(agent: Agent) -> dict[str, dict[str, Any]]:
    """Return the mounted file systems by mount point, with ``type``, and ``used`` and ``total`` in bytes."""
    found = {}
    for one in _ask(agent, "guest-get-fsinfo", list)[:MANY]:
        if isinstance(one, dict) and (place := _text(one, "mountpoint")):
            sizes = {key: one[f"{key}-bytes"] for key in ("used", "total") if type(one.get(f"{key}-bytes")) is int}
            found[place] = {"type": _text(one, "type"), **sizes}
    return found


def _ask(agent: Agent, command: str, kind: type) -> Any:
    """Return an answer of the kind that it must have; an empty one where the agent does not know or allow it."""
    try:
        told = agent.ask(command)
    except AgentRefusal:
        return kind()
    if not isinstance(told, kind):
        raise WireError(f"{command} of the guest {agent.name!r}: the answer has not the shape that it must have")
    return told


def _text(told: Mapping[str, Any], key: str) -> str:
    """Return a text without what is not printable; an empty one where there is none."""
    value = told.get(key)
    if not isinstance(value, str) or len(value) > LONGEST:
        return ""
    return "".join(one for one in value if one.isprintable())
