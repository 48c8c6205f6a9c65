"""
What runs on a hypervisor, by calls that answer for all guests at once.

``getAllDomainStats`` tells states, sizes and counters of every guest in one call; only what stands nowhere but in a
guest's XML costs a call per guest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from saltext_logilab.guests import connection
from saltext_logilab.guests.connection import Connection, Domain
from saltext_logilab.guests.definition import Definition, Disk, parse
from saltext_logilab.guests.sizes import KIB

OFF, CRASHED = "shut off", "crashed"
STATES = ("no state", "running", "blocked", "paused", "shutting down", OFF, CRASHED, "suspended")
COUNTED = ("rd.reqs", "rd.bytes", "wr.reqs", "wr.bytes", "allocation", "capacity", "physical")
CARRIED = ("rx.bytes", "rx.pkts", "rx.errs", "rx.drop", "tx.bytes", "tx.pkts", "tx.errs", "tx.drop")


@dataclass(frozen=True)
class Guest:
    """
    A guest in short.

    :param memory: what it may use at most, in bytes.
    :param stats: what libvirt counts, by libvirt's own names (``virConnectGetAllDomainStats``).
    """

    name: str
    uuid: str
    state: str
    vcpus: int
    memory: int
    stats: Mapping[str, Any]


@dataclass(frozen=True)
class Volume:
    """The volume of a pool behind a path."""

    pool: str
    name: str


def guests(link: Connection, name: str | None = None, *, counters: bool = False) -> list[Guest]:
    """
    Return all guests, or the one called ``name``, by name; one call to the daemon.

    :param counters: also what disks, cards and processors count, for which libvirtd asks each running guest's emulator.
    :raises GuestError: there is no such guest.
    """
    known = connection.libvirt
    size = known.VIR_DOMAIN_STATS_STATE | known.VIR_DOMAIN_STATS_BALLOON | known.VIR_DOMAIN_STATS_VCPU
    groups = 0 if counters else size  # 0 stands for all
    if name is None:
        found = link.getAllDomainStats(groups, 0)
    else:
        found = link.domainListGetStats([connection.find(link, name)], groups, 0)
    return sorted((_guest(domain, stats) for domain, stats in found), key=lambda it: it.name)


def _guest(domain: Domain, stats: Mapping[str, Any]) -> Guest:
    number = stats.get("state.state", 0)
    if "balloon.maximum" in stats:
        memory, vcpus = stats["balloon.maximum"], stats.get("vcpu.current", stats.get("vcpu.maximum", 0))
    else:  # some drivers count nothing, libvirt's test driver among them
        _, memory, _, vcpus, _ = domain.info()
    return Guest(
        name=domain.name(),
        uuid=domain.UUIDString(),
        state=STATES[number] if number < len(STATES) else str(number),
        vcpus=int(vcpus),
        memory=int(memory) * KIB,
        stats=stats,
    )


def definitions(link: Connection, name: str | None = None) -> dict[str, Definition]:
    """
    Return what all guests, or the one called ``name``, are made of; one call per guest.

    :raises GuestError: there is no such guest.
    """
    domains = link.listAllDomains() if name is None else [connection.find(link, name)]
    found = ((domain.name(), _description(domain)) for domain in domains)
    return {key: parse(text) for key, text in sorted(found) if text is not None}


def _description(domain: Domain) -> str | None:
    """Return the XML of a domain; None when it has gone meanwhile."""
    try:
        return str(domain.XMLDesc())
    except connection.libvirt.libvirtError as err:
        if err.get_error_code() != connection.libvirt.VIR_ERR_NO_DOMAIN:
            raise
        return None


def disks(domain: Domain) -> tuple[Disk, ...]:
    """Return the disks of one guest, as it runs where it runs."""
    return parse(domain.XMLDesc()).disks


def autostarted(link: Connection) -> set[str]:
    """Return the names of the guests that start with the host; one call."""
    return {domain.name() for domain in link.listAllDomains(connection.libvirt.VIR_CONNECT_LIST_DOMAINS_AUTOSTART)}


def volumes(link: Connection) -> dict[str, Volume]:
    """Return the volumes of all active pools by their key, which is the path for files; one call per pool."""
    pools = link.listAllStoragePools(connection.libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE)
    return {one.key(): Volume(pool.name(), one.name()) for pool in pools for one in pool.listAllVolumes()}


def addresses(link: Connection, source: str, name: str | None = None) -> dict[str, dict[str, list[str]]]:
    """
    Return the addresses of running guests by guest and MAC; one call per running guest.

    :param source: ``lease`` (of libvirt's networks), ``agent`` (the guest's agent) or ``arp`` (the host's table).
    """
    known = connection.libvirt
    numbers = {
        "lease": known.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE,
        "agent": known.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT,
        "arp": known.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP,
    }
    domains = [connection.find(link, name)] if name else link.listAllDomains(known.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
    return {domain.name(): _addresses(domain, numbers[source]) for domain in domains}


def _addresses(domain: Domain, source: int) -> dict[str, list[str]]:
    """Return the addresses of one guest; none where it is off or its agent is silent."""
    known = connection.libvirt
    silent = (known.VIR_ERR_AGENT_UNRESPONSIVE, known.VIR_ERR_OPERATION_INVALID, known.VIR_ERR_ARGUMENT_UNSUPPORTED)
    try:
        found = domain.interfaceAddresses(source)
    except known.libvirtError as err:
        if err.get_error_code() not in silent:
            raise
        return {}
    cards = (card for card in found.values() if card["hwaddr"] and card["addrs"])
    return {card["hwaddr"]: [f"{one['addr']}/{one['prefix']}" for one in card["addrs"]] for card in cards}


def numbered(stats: Mapping[str, Any], kind: str, wanted: Iterable[str]) -> dict[str, dict[str, int]]:
    """
    Return what ``stats`` count for each device of ``kind`` (``block`` or ``net``), by the device's name.

    ``block.0.rd.bytes: 5`` becomes ``{"vda": {"rd_bytes": 5}}``; what is not counted is left out.
    """
    found = {}
    for number in range(stats.get(f"{kind}.count", 0)):
        prefix = f"{kind}.{number}."
        values = {key.replace(".", "_"): stats[prefix + key] for key in wanted if prefix + key in stats}
        found[str(stats.get(prefix + "name", number))] = values
    return found
