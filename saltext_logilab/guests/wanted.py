"""What a state says that a guest shall be: read, checked, and turned into a piece of domain XML."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from saltext_logilab.errors import ConfigurationError
from saltext_logilab.guests import canonical
from saltext_logilab.guests.sizes import GIB, MIB
from saltext_logilab.settings import Section

FORMATS = ("qcow2", "raw")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")  # it becomes a file's name, and a part of volumes' names
TARGET = re.compile(r"[a-z]{2,4}")
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


@dataclass(frozen=True)
class WantedDisk:
    """
    A disk that a guest shall have; None stands for what was not told.

    :param target: its name in the guest: ``vda``.
    :param pool: the pool of its volume, or None.
    :param volume: the volume's name; None for that which is made of the guest's name and the target.
    :param source: the path of its data, or None.
    :param size: what it shall hold at least, in bytes; None where that is left open.
    :param backing: the volume of the same pool that a new one begins as a copy of (it holds the difference only).
    """

    target: str
    pool: str | None
    volume: str | None
    source: str | None
    size: int | None
    format: str | None
    bus: str | None
    backing: str | None
    device: str | None
    readonly: bool | None


@dataclass(frozen=True)
class Wanted:
    """
    What a guest shall be.

    :param definition: the piece of domain XML that says so, canonical, without the disks.
    :param accelerator: how a new guest is run (``kvm`` or ``qemu``); None for the best that there is.
    :param remove_disks: targets of disks that it shall not have any more.
    :param remove_interfaces: MACs of cards that it shall not have any more, in small letters.
    """

    name: str
    definition: ET.Element
    disks: tuple[WantedDisk, ...] = ()
    accelerator: str | None = None
    autostart: bool | None = None
    remove_disks: tuple[str, ...] = ()
    remove_interfaces: tuple[str, ...] = ()


def read(name: str, told: Mapping[str, Any]) -> Wanted:
    """
    Read what a state tells of the guest ``name``; what is None was not told.

    :raises ConfigurationError: something of it is unknown, ill-typed or impossible.
    """
    if not NAME.fullmatch(str(name)):
        raise ConfigurationError(f"a guest's name has letters, digits and ._+- only, not {name!r}")
    section = Section(f"guest {name}", {key: value for key, value in told.items() if value is not None})
    disks = tuple(_disk(section.path, one) for one in _list(section, "disks"))
    _no_doubles(section, "disks", [disk.target for disk in disks])
    removed = tuple(map(str, _list(section, "remove_disks")))
    _no_doubles(section, "disks and remove_disks", [*{disk.target for disk in disks}, *removed])
    cards = [str(mac).lower() for mac in _list(section, "remove_interfaces")]
    accelerator = section.take("accelerator", str, None)
    autostart = section.take("autostart", bool, None)
    definition = _definition(str(name), section)
    section.done()
    return Wanted(str(name), definition, disks, accelerator, autostart, removed, tuple(cards))


def _definition(name: str, section: Section) -> ET.Element:
    """Return the XML that was told, with the name and all that was told beside it."""
    root = canonical.read(section.take("xml", str, "<domain/>"), f"{section.path}:xml")
    if root.findtext("name") not in (None, name):
        raise ConfigurationError(f"{section.path}:xml is that of a guest {root.findtext('name')!r}")
    more = ET.Element("domain")
    ET.SubElement(more, "name").text = name
    if (title := section.take("title", str, None)) is not None:
        ET.SubElement(more, "title").text = title
    if (memory := _number(section, "memory_mib")) is not None:
        for tag in canonical.SIZES:
            ET.SubElement(more, tag).text = str(memory * 1024)
    if (vcpus := _number(section, "vcpus")) is not None:
        ET.SubElement(more, "vcpu", current=str(vcpus)).text = str(vcpus)
    cards = _list(section, "interfaces")
    if cards:
        devices = ET.SubElement(more, "devices")
        devices.extend([_interface(section.path, number, one) for number, one in enumerate(cards)])
    return canonical.overlay(root, more)


def _disk(where: str, told: object) -> WantedDisk:
    section = Section(f"{where}:disks", told)
    target = section.take("target", str)
    section.path = f"{section.path}:{target}"
    size = section.take("size_gib", float, None)
    disk = WantedDisk(
        target=target,
        pool=section.take("pool", str, None),
        volume=section.take("volume", str, None),
        source=section.take("source", str, None),
        size=None if size is None else math.ceil(size * GIB / MIB) * MIB,
        format=section.take("format", str, None),
        bus=section.take("bus", str, None),
        backing=section.take("backing", str, None),
        device=section.take("device", str, None),
        readonly=section.take("readonly", bool, None),
    )
    section.done()
    _check_disk(section.path, disk)
    return disk


def _check_disk(where: str, disk: WantedDisk) -> None:
    problems = (
        (not TARGET.fullmatch(disk.target), f"target must be such as vda, not {disk.target!r}"),
        (disk.format not in (None, *FORMATS), f"format must be one of {', '.join(FORMATS)}, not {disk.format!r}"),
        (disk.pool is not None and disk.source is not None, "has either a pool or a source"),
        (disk.volume is not None and disk.pool is None, "volume needs a pool"),
        (disk.source is not None and not disk.source.startswith("/"), f"source must be a path, not {disk.source!r}"),
        (disk.size is not None and disk.size <= 0, "size_gib must be more than 0"),
        (disk.source is not None and disk.size is not None, "size_gib is for volumes of a pool, not for a source"),
        (disk.backing is not None and disk.format == "raw", "backing needs the format qcow2"),
        (disk.volume is not None and not NAME.fullmatch(disk.volume), f"volume must be a name, not {disk.volume!r}"),
    )
    for wrong, sentence in problems:
        if wrong:
            raise ConfigurationError(f"{where}: {sentence}")


def _interface(where: str, number: int, told: object) -> ET.Element:
    section = Section(f"{where}:interfaces:{number}", told)
    kinds = {kind: section.take(kind, str, None) for kind in ("network", "bridge")}
    user, mac = section.take("user", bool, False), section.take("mac", str, None)
    model = section.take("model", str, "virtio")
    section.done()
    chosen = [kind for kind, source in kinds.items() if source is not None] + (["user"] if user else [])
    if len(chosen) != 1:
        raise ConfigurationError(f"{section.path} must have one of network, bridge and user")
    card = ET.Element("interface", type=chosen[0])
    if mac is not None:
        if not MAC.fullmatch(mac.lower()):
            raise ConfigurationError(f"{section.path}:mac must be such as 52:54:00:00:00:01, not {mac!r}")
        ET.SubElement(card, "mac", address=mac.lower())
    if not user:
        ET.SubElement(card, "source", {chosen[0]: str(kinds[chosen[0]])})
    ET.SubElement(card, "model", type=model)
    return card


def device(disk: WantedDisk, path: str | None) -> ET.Element:
    """Return the XML of what was told of ``disk``, whose data are in ``path`` (None: where they are)."""
    element = ET.Element("disk")
    ET.SubElement(element, "target", {"dev": disk.target, **({"bus": disk.bus} if disk.bus else {})})
    if disk.device:
        element.set("device", disk.device)
    if disk.format:
        ET.SubElement(element, "driver", type=disk.format)
    if disk.readonly:
        ET.SubElement(element, "readonly")
    if path is not None:
        block = path.startswith("/dev/")
        element.set("type", "block" if block else "file")
        ET.SubElement(element, "source", {"dev" if block else "file": path})
    return element


def _number(section: Section, key: str) -> int | None:
    found = section.take(key, int, None)
    if found is not None and found <= 0:
        raise ConfigurationError(f"{section.path}:{key} must be more than 0, not {found}")
    return found


def _list(section: Section, key: str) -> list[Any]:
    empty: list[Any] = []
    return section.take(key, list, empty)


def _no_doubles(section: Section, what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ConfigurationError(f"{section.path}: {name} stands twice in {what}")
        seen.add(name)
