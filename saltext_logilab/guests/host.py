"""Facts of a hypervisor: what it has, what is free, what runs it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass

from saltext_logilab.guests import connection
from saltext_logilab.guests.connection import Connection
from saltext_logilab.guests.sizes import MIB


@dataclass(frozen=True)
class Pool:
    """A storage pool, in bytes; an inactive one has no sizes."""

    name: str
    active: bool
    capacity: int | None
    available: int | None


@dataclass(frozen=True)
class Host:
    """A hypervisor: processors, memory in bytes, versions as ``9.0.0``, its pools, and networks with whether active."""

    name: str
    uuid: str
    driver: str
    architecture: str
    cpu_model: str | None
    cpus: int
    memory: int
    free: int
    libvirt: str
    hypervisor: str
    pools: tuple[Pool, ...]
    networks: dict[str, bool]


def facts(link: Connection) -> Host:
    """Ask the daemon behind ``link`` for its host; a dozen calls, and one for each active pool."""
    architecture, memory_mib, cpus = link.getInfo()[:3]
    capabilities = ET.fromstring(link.getCapabilities())  # noqa: S314 - it comes from libvirtd
    return Host(
        name=link.getHostname(),
        uuid=capabilities.findtext("host/uuid", ""),
        driver=link.getType(),
        architecture=architecture,
        cpu_model=capabilities.findtext("host/cpu/model"),
        cpus=cpus,
        memory=memory_mib * MIB,
        free=link.getFreeMemory(),
        libvirt=version(link.getLibVersion()),
        hypervisor=version(link.getVersion()),
        pools=_pools(link),
        networks=_networks(link),
    )


def _pools(link: Connection) -> tuple[Pool, ...]:
    known = connection.libvirt
    active = {one.name(): one for one in link.listAllStoragePools(known.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE)}
    idle = link.listAllStoragePools(known.VIR_CONNECT_LIST_STORAGE_POOLS_INACTIVE)
    sizes = {name: pool.info() for name, pool in active.items()}
    found = [Pool(name, True, info[1], info[3]) for name, info in sizes.items()]
    return tuple(sorted(found + [Pool(pool.name(), False, None, None) for pool in idle], key=lambda it: it.name))


def _networks(link: Connection) -> dict[str, bool]:
    known = connection.libvirt
    states = {True: known.VIR_CONNECT_LIST_NETWORKS_ACTIVE, False: known.VIR_CONNECT_LIST_NETWORKS_INACTIVE}
    return {one.name(): active for active, flag in states.items() for one in link.listAllNetworks(flag)}


def version(number: int) -> str:
    """Return libvirt's version number ``9000000`` as ``9.0.0``."""
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"
