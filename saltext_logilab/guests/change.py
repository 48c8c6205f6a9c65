"""
Make a guest what it shall be: plan by reading alone, then do it so that nothing is lost when a step fails.

New volumes are made first, and removed again when the definition is refused. Then the definition is changed, disks
grow, and a running guest takes at once what it can take.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from saltext_logilab.errors import ConfigurationError, RefusedError
from saltext_logilab.guests import canonical, connection, inventory, live, storage, wanted
from saltext_logilab.guests.canonical import Change
from saltext_logilab.guests.connection import Connection, Domain
from saltext_logilab.guests.wanted import Wanted, WantedDisk

RUNNING = " (running)"  # what a change is called that concerns the running guest only
BASE = """
<domain type='{accelerator}'>
  <os><type arch='{architecture}'>hvm</type></os>
  <features><acpi/><apic/></features>
  <devices>
    <console type='pty'/>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
  </devices>
</domain>
"""


NOTHING_LIVE = live.Live()


@dataclass(frozen=True)
class Growth:
    """A disk that becomes larger; sizes in bytes."""

    target: str
    path: str
    old: int
    new: int


@dataclass(frozen=True)
class Plan:
    """
    What has to be done.

    :param definition: the XML to define; None where the definition fits.
    :param live: what a running guest takes at once, and what at its next start.
    :param changes: what all of it changes, as a state tells it.
    """

    name: str
    definition: str | None = None
    volumes: tuple[storage.NewVolume, ...] = ()
    growths: tuple[Growth, ...] = ()
    live: live.Live = NOTHING_LIVE
    autostart: bool | None = None
    changes: dict[str, Change] = field(default_factory=dict)


@dataclass(frozen=True)
class _Disks:
    """The wanted disks: their XML, and what has to be done to their volumes before."""

    devices: tuple[ET.Element, ...]
    volumes: tuple[storage.NewVolume, ...]
    growths: tuple[Growth, ...]


def plan(link: Connection, want: Wanted) -> Plan:
    """
    Return what makes the guest what is wanted; nothing is changed.

    :raises RefusedError: that would lose data, or would be another guest.
    :raises ConfigurationError: not enough was told to make a new guest.
    """
    found = next((one for one in link.listAllDomains() if one.name() == want.name), None)
    if found is None:
        return _new(link, want)
    known = connection.libvirt
    present = canonical.read(found.XMLDesc(known.VIR_DOMAIN_XML_INACTIVE | known.VIR_DOMAIN_XML_SECURE))
    if (uuid := want.definition.findtext("uuid")) not in (None, found.UUIDString()):
        raise RefusedError(f"the guest {want.name!r} has the UUID {found.UUIDString()}, not {uuid}, and keeps it")
    disks = _disks(link, want, found, present)
    merged = _merged(present, want, disks)
    now = NOTHING_LIVE
    if found.isActive():
        running = canonical.read(found.XMLDesc(known.VIR_DOMAIN_XML_SECURE))
        now = live.decide(running, _merged(running, want, disks))
    changes = canonical.differences(present, merged)
    changed = bool(changes) or not found.isPersistent()
    if not found.isPersistent():
        changes["persistent"] = {"old": False, "new": True}
    autostart = want.autostart if want.autostart not in (None, bool(found.autostart())) else None
    changes |= {one.path + RUNNING: one.change for one in now.steps if one.path not in changes}
    changes |= _more_changes(disks, autostart)
    text = canonical.text_of(merged) if changed else None
    return Plan(want.name, text, disks.volumes, disks.growths, now, autostart, changes)


def _new(link: Connection, want: Wanted) -> Plan:
    """Return how a guest that is not there is made."""
    definition = canonical.overlay(_base(link, want), want.definition)
    disks = _disks(link, want, None, definition)
    merged = _merged(definition, want, disks)
    for tag, parameter in (("memory", "memory_mib"), ("vcpu", "vcpus")):
        if merged.find(tag) is None:
            raise ConfigurationError(f"{parameter} is missing: there is no guest {want.name!r} yet, and it needs it")
    shown = canonical.text_of(canonical.masked(merged))
    changes: dict[str, Change] = {"definition": {"old": None, "new": shown}}
    autostart = want.autostart or None
    changes |= _more_changes(disks, autostart)
    text = canonical.text_of(merged)
    return Plan(want.name, text, disks.volumes, disks.growths, autostart=autostart, changes=changes)


def _base(link: Connection, want: Wanted) -> ET.Element:
    """
    Return what a new guest has where nothing else is said; hardware virtualization where there is some.

    Who tells a whole definition gets nothing but the kind of virtualization, where it is not said.
    """
    architecture, accelerator = _virtualization(link, want.accelerator or want.definition.get("type"))
    if want.definition.find("os") is not None:
        return ET.Element("domain", type=accelerator)
    return canonical.read(BASE.format(accelerator=accelerator, architecture=architecture))


def _virtualization(link: Connection, wanted: str | None) -> tuple[str, str]:
    """
    Return architecture and kind of virtualization of a new guest: as ``wanted``, or the best that there is.

    :raises ConfigurationError: this host does not have it.
    """
    try:  # the capabilities of the host would be asked of all its emulators, which takes seconds the first time
        told = ET.fromstring(link.getDomainCapabilities(None, None, None, wanted))  # noqa: S314 - from libvirtd
        return told.findtext("arch", ""), told.findtext("domain", "")
    except connection.libvirt.libvirtError:
        capabilities = ET.fromstring(link.getCapabilities())  # noqa: S314 - it comes from libvirtd
    architecture = capabilities.findtext("host/cpu/arch", "x86_64")
    kinds = [one.get("type", "") for one in capabilities.iterfind(f"guest/arch[@name='{architecture}']/domain")]
    best = "kvm" if "kvm" in kinds else next(iter(kinds), "")
    if (wanted or best) not in kinds:
        has = ", ".join(sorted(kinds)) or "none"
        raise ConfigurationError(f"this host cannot run {architecture} guests by {wanted or best!r} (it has: {has})")
    return architecture, wanted or best


def _merged(present: ET.Element, want: Wanted, disks: _Disks) -> ET.Element:
    said = ET.Element("domain")
    ET.SubElement(said, "devices").extend(disks.devices)
    merged = canonical.overlay(canonical.overlay(present, want.definition), said)
    return canonical.without(merged, set(want.remove_disks), set(want.remove_interfaces))


def _more_changes(disks: _Disks, autostart: bool | None) -> dict[str, Change]:
    changes: dict[str, Change] = {}
    changes |= {f"volume {one.pool}/{one.name}": {"old": None, "new": one.size} for one in disks.volumes}
    changes |= {f"size of {one.target}": {"old": one.old, "new": one.new} for one in disks.growths}
    return changes | ({} if autostart is None else {"autostart": {"old": not autostart, "new": autostart}})


def _disks(link: Connection, want: Wanted, guest: Domain | None, present: ET.Element) -> _Disks:
    """Look at the wanted disks: those that the guest has, and new ones."""
    has = {canonical.identity(one): one for one in present.iterfind("devices/disk")}
    devices, volumes, growths = [], [], []
    for disk in want.disks:
        if disk.target in has:
            path = _own(link, want, disk, has[disk.target])
            growths += _growth(link, disk, path, guest)
            devices.append(wanted.device(disk, _media(disk, path)))
            continue
        new, path = _place(link, want.name, disk)
        if new is None:
            _check_free(link, disk, path)
            growths += _growth(link, disk, path, None)
        else:
            volumes.append(new)
        devices.append(wanted.device(_with_defaults(disk), path))
    return _Disks(tuple(devices), tuple(volumes), tuple(growths))


def _with_defaults(disk: WantedDisk) -> WantedDisk:
    changed: dict[str, Any] = {"format": disk.format or "qcow2", "bus": disk.bus or "virtio"}
    return WantedDisk(**{**vars(disk), **changed, "device": disk.device or "disk"})


def _own(link: Connection, want: Wanted, disk: WantedDisk, device: ET.Element) -> str | None:
    """
    Return where the data of a disk are that the guest has, or shall be for a drive whose medium changes.

    :raises RefusedError: other data were named for a disk: those it has would be out of reach.
    """
    source = device.find("source")
    path = None if source is None else source.get("file", source.get("dev"))
    told = disk.source
    if disk.volume is not None and disk.pool is not None:
        told = str(storage.folder(storage.active_pool(link, disk.pool)) / disk.volume)
    if told in (None, path):
        return path
    if device.get("device") in live.REMOVABLE_MEDIA:
        return told
    raise RefusedError(
        f"{disk.target} of the guest {want.name!r} is {path}, not {told}: name it in remove_disks first, and then anew"
    )


def _media(disk: WantedDisk, path: str | None) -> str | None:
    """Return the path to write into the definition: only what was told is, the rest stays as it stands there."""
    return path if disk.source is not None or disk.volume is not None else None


def _place(link: Connection, guest: str, disk: WantedDisk) -> tuple[storage.NewVolume | None, str]:
    """Return the volume to be made for a disk that the guest has not (None: it is there), and its path."""
    if disk.source is not None:
        return None, disk.source
    if disk.pool is None:
        raise ConfigurationError(f"the guest {guest!r} has no disk {disk.target}: a new one needs a pool or a source")
    pool = storage.active_pool(link, disk.pool)
    storage.refresh(pool)
    kind = disk.format or "qcow2"
    name = disk.volume or f"{guest}-{disk.target}.{kind}"
    found = storage.volume(link, disk.pool, name)
    if found is not None:
        if (real := storage.image_format(found)) != kind:
            raise RefusedError(f"the volume {name!r} of the pool {disk.pool!r} is {real}, not {kind}")
        return None, str(found.path())
    backing, size = _backing(link, disk)
    size = disk.size or size
    if size is None:
        raise ConfigurationError(f"the pool {disk.pool!r} has no volume {name!r}: to make it, size_gib is needed")
    return storage.NewVolume(disk.pool, name, size, kind, backing), str(storage.folder(pool) / name)


def _backing(link: Connection, disk: WantedDisk) -> tuple[tuple[str, str] | None, int | None]:
    """Return path and format of the volume that a new one begins as a copy of, and its size."""
    if disk.backing is None or disk.pool is None:
        return None, None
    found = storage.volume(link, disk.pool, disk.backing)
    if found is None:
        raise RefusedError(f"the pool {disk.pool!r} has no volume {disk.backing!r} for {disk.target} to begin from")
    size = int(found.info()[1])
    if disk.size is not None and disk.size < size:
        raise RefusedError(f"{disk.target} cannot be smaller than the {size} bytes of {disk.backing!r}")
    return (str(found.path()), storage.image_format(found)), size


def _check_free(link: Connection, disk: WantedDisk, path: str) -> None:
    """:raises RefusedError: another guest has the data, which two would ruin."""
    if disk.readonly or disk.device in live.REMOVABLE_MEDIA:
        return
    for guest in users(link, path):
        raise RefusedError(f"{path} is a disk of the guest {guest!r} already")


def users(link: Connection, path: str) -> list[str]:
    """Return the guests that can write what lies in ``path``; one call per guest."""
    found = inventory.definitions(link).items()
    return [name for name, made in found if any(one.source == path and not one.readonly for one in made.disks)]


def _growth(link: Connection, disk: WantedDisk, path: str | None, guest: Domain | None) -> list[Growth]:
    """
    Return how the disk becomes as large as it was told; nothing where it is so.

    :raises RefusedError: it would have to become smaller, or libvirt cannot reach it.
    """
    if disk.size is None or path is None:
        return []
    if guest is not None and guest.isActive():
        size = int(guest.blockInfo(disk.target)[0])
    else:
        found = storage.by_path(link, path)
        if found is None:
            raise RefusedError(f"{path} lies in no active pool, so its size cannot be changed while the guest is off")
        size = int(found.info()[1])
    if size > disk.size:
        raise RefusedError(f"{disk.target} has {size} bytes; made {disk.size}, it would lose what lies behind them")
    return [Growth(disk.target, path, size, disk.size)] if size < disk.size else []


def apply(link: Connection, todo: Plan) -> list[str]:
    """
    Do what was planned; return what waits for the guest's next start.

    :raises libvirtError: a step failed; those before it stand, but a volume made for nothing is removed.
    """
    made: list[storage.NewVolume] = []
    try:
        for new in todo.volumes:
            storage.make(link, new)
            made.append(new)
        guest = _defined(link, todo)
    except connection.libvirt.libvirtError:
        for new in made:
            storage.remove(link, new.pool, new.name)
        raise
    for growth in todo.growths:
        _grow(link, guest, growth)
    for one in _detaching_first(todo.live.steps):
        live.do(guest, one)
    if todo.autostart is not None:
        guest.setAutostart(int(todo.autostart))
    return list(todo.live.pending)


def _defined(link: Connection, todo: Plan) -> Domain:
    if todo.definition is None:
        return connection.find(link, todo.name)
    return link.defineXMLFlags(todo.definition, connection.libvirt.VIR_DOMAIN_DEFINE_VALIDATE)


def _detaching_first(steps: Iterable[live.Step]) -> list[live.Step]:
    return sorted(steps, key=lambda one: one.action != "detach")


def _grow(link: Connection, guest: Domain, growth: Growth) -> None:
    if guest.isActive() and any(one.target == growth.target for one in inventory.disks(guest)):
        guest.blockResize(growth.target, growth.new, connection.libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)
    elif (found := storage.by_path(link, growth.path)) is not None:
        found.resize(growth.new)
