"""What of a guest decides where it can go, and what a host says to it: devices, local disks, machine, processor."""

from __future__ import annotations

import os.path
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from saltext_logilab.guests import connection, definition
from saltext_logilab.guests.connection import Connection
from saltext_logilab.guests.definition import Disk

NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "ceph", "fuse.glusterfs", "glusterfs", "gfs2", "ocfs2", "lustre", "gpfs"}
)
NETWORK_POOLS = frozenset({"netfs", "rbd", "iscsi", "iscsi-direct", "gluster", "sheepdog"})
FILES = ("file", "block", "dir")


@dataclass(frozen=True)
class Traits:
    """
    What decides where a running guest can go.

    :param passthrough: the number of devices of its host that it holds.
    :param local: disks on storage that its host alone has, as far as can be seen.
    :param declared: whether disks lie where only the configuration says that it is shared.
    :param snapshots: the number of its snapshots.
    :param cpu: the ``<cpu>`` of its XML as it runs, or None.
    """

    uuid: str
    passthrough: int
    local: tuple[str, ...]
    declared: bool
    machine: str
    architecture: str
    accelerator: str
    cpu: str | None
    snapshots: int = 0

    def plain(self) -> dict[str, Any]:
        """Return them as plain data."""
        return {**vars(self), "local": list(self.local)}

    def obstacle(self) -> str | None:
        """Return why it cannot leave its host at all; None when it can."""
        if self.passthrough:
            return f"it holds {self.passthrough} devices of its host"
        if self.snapshots:
            return f"it has {self.snapshots} snapshots, which libvirt does not move"
        if self.local:
            return f"its disks are local: {', '.join(self.local)}"
        return None


def read(told: Mapping[str, Any]) -> Traits:
    """Return the traits that another host told; :raises TypeError, KeyError: they are none."""
    traits = Traits(**{**told, "local": tuple(map(str, told["local"]))})
    texts = (traits.uuid, traits.machine, traits.architecture, traits.accelerator, traits.cpu or "")
    numbers = (traits.passthrough, traits.snapshots)
    if any(type(number) is not int for number in numbers) or not all(isinstance(text, str) for text in texts):
        raise TypeError(f"{told!r:.200}")
    return traits


def traits(link: Connection, mounts: str, shared: Iterable[str]) -> dict[str, dict[str, Any]]:
    """
    Return the traits of all running guests, by name; two calls per guest.

    :param mounts: the text of ``/proc/self/mounts``.
    :param shared: folders that are said to be shared although nothing shows it.
    """
    known, folders = connection.libvirt, tuple(shared)
    pools = {one.name(): ET.fromstring(one.XMLDesc()).get("type") for one in link.listAllStoragePools()}  # noqa: S314
    remote = {name for name, kind in pools.items() if kind in NETWORK_POOLS}
    active = link.listAllDomains(known.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
    found = {one.name(): of(one.XMLDesc(), mounts, folders, remote) for one in active}
    numbers = {one.name(): int(one.snapshotNum()) for one in active}
    return {name: replace(one, snapshots=numbers[name]).plain() for name, one in found.items()}


def of(text: str, mounts: str, shared: tuple[str, ...], remote: set[str]) -> Traits:
    """Return the traits of the guest with the XML ``text``; ``remote`` are the pools that lie on the network."""
    made, root = definition.parse(text), ET.fromstring(text)  # noqa: S314 - it comes from libvirtd
    here = [one for one in made.disks if one.source and not _on_network(one, mounts, remote)]
    said = [one for one in here if one.kind in FILES and _below(str(one.source), shared)]
    cpu = root.find("cpu")
    return Traits(
        uuid=root.findtext("uuid", ""),
        passthrough=made.passthrough,
        local=tuple(f"{one.target} {one.source}" for one in here if one not in said),
        declared=bool(said),
        machine=made.machine or "",
        architecture=made.architecture or "",
        accelerator=made.accelerator,
        cpu=None if cpu is None else ET.tostring(cpu, encoding="unicode"),
    )


def _on_network(disk: Disk, mounts: str, remote: set[str]) -> bool:
    if disk.kind == "volume":
        return disk.pool in remote
    return disk.kind not in FILES or file_system(str(disk.source), mounts) in NETWORK_FILE_SYSTEMS


def file_system(path: str, mounts: str) -> str:
    """Return the kind of the file system that ``path`` lies on, by the text of ``/proc/self/mounts``."""
    found = ("", "")
    for line in mounts.splitlines():
        _, point, kind = line.split(" ", 3)[:3]
        point = point.encode().decode("unicode_escape")  # a space is written as \040
        if len(point) >= len(found[0]) and _below(path, (point,)):
            found = (point, kind)
    return found[1]


def _below(path: str, folders: Iterable[str]) -> bool:
    return any(os.path.commonpath((path, os.path.normpath(one))) == os.path.normpath(one) for one in folders)


def problems(link: Connection, wanted: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """
    Return which of the guests ``wanted`` (traits by name) this host cannot have, with the reason.

    A guest that it can have is not named.
    """
    domains = link.listAllDomains()
    names, uuids = {one.name() for one in domains}, {one.UUIDString() for one in domains}
    capabilities = ET.fromstring(link.getCapabilities())  # noqa: S314 - it comes from libvirtd
    found = {}
    for name, one in wanted.items():
        if name in names or one["uuid"] in uuids:
            found[name] = "it has a guest of this name or UUID already"
        elif problem := _machine(capabilities, one) or _processor(link, one):
            found[name] = problem
    return found


def _machine(capabilities: ET.Element, one: Mapping[str, Any]) -> str | None:
    architecture = capabilities.find(f"guest/arch[@name='{one['architecture']}']")
    if architecture is None or architecture.find(f"domain[@type='{one['accelerator']}']") is None:
        return f"it cannot run {one['architecture']} guests by {one['accelerator']}"
    machines = {value for each in architecture.iter("machine") for value in (each.text, each.get("canonical"))}
    return None if one["machine"] in machines else f"it has no machine type {one['machine']}"


def _processor(link: Connection, one: Mapping[str, Any]) -> str | None:
    """Compare the processor: by libvirt where it can, else by the models that it calls usable."""
    if not one["cpu"]:
        return None
    cpu = ET.fromstring(one["cpu"])  # noqa: S314 - the answer of a hypervisor's minion
    model, known = cpu.findtext("model"), connection.libvirt
    if cpu.get("mode") in ("host-passthrough", "maximum"):
        return None if one["accelerator"] == "qemu" else _compared(link, one, known)
    if one["accelerator"] == "kvm":
        return _compared(link, one, known)
    told = link.getDomainCapabilities(None, one["architecture"], one["machine"], one["accelerator"])
    usable = "cpu/mode[@name='custom']/model[@usable='yes']"
    models = {each.text for each in ET.fromstring(told).iterfind(usable)}  # noqa: S314 - it comes from libvirtd
    return None if model is None or model in models else f"it cannot run the processor model {model}"


def _compared(link: Connection, one: Mapping[str, Any], known: Any) -> str | None:
    kind = (None, one["architecture"], one["machine"], one["accelerator"])
    fits = link.compareHypervisorCPU(*kind, one["cpu"], 0) != known.VIR_CPU_COMPARE_INCOMPATIBLE
    return None if fits else "its processor lacks what the guest's has"
