"""What a domain's XML says of its disks and network cards (https://libvirt.org/formatdomain.html)."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

DISK_SOURCES = {"file": "file", "block": "dev", "dir": "dir", "network": "name", "volume": "volume", "nvme": "address"}
AGENT = "org.qemu.guest_agent.0"
CARD_SOURCES = {"network": "network", "bridge": "bridge", "direct": "dev", "vhostuser": "path"}


@dataclass(frozen=True)
class Disk:
    """
    A disk of a guest.

    :param target: its name in the guest, by which libvirt knows it: ``vda``.
    :param device: ``disk``, ``cdrom``, ``floppy`` or ``lun``.
    :param kind: where its data are: ``file``, ``block``, ``network``, ``volume`` …
    :param source: the path, device or name of its data; None for an empty drive.
    :param pool: the storage pool, where ``kind`` is ``volume``.
    """

    target: str
    device: str
    kind: str
    source: str | None
    pool: str | None
    format: str | None
    bus: str | None
    readonly: bool
    shareable: bool


@dataclass(frozen=True)
class Interface:
    """A network card of a guest; ``target`` is its device on the host, where it has one."""

    mac: str
    kind: str
    source: str | None
    model: str | None
    target: str | None


@dataclass(frozen=True)
class Definition:
    """
    What a guest is made of.

    :param agent: whether its guest agent is ``connected`` or ``disconnected``; empty where it is off, None where it has
        no channel for one.
    """

    machine: str | None
    architecture: str | None
    accelerator: str
    title: str | None
    disks: tuple[Disk, ...]
    interfaces: tuple[Interface, ...]
    passthrough: int
    agent: str | None = None

    def plain(self) -> dict[str, Any]:
        """Return it as plain data; ``dataclasses.asdict`` would take longer than to read the XML."""
        nested = {"disks": [dict(vars(one)) for one in self.disks]}
        return {**vars(self), **nested, "interfaces": [dict(vars(one)) for one in self.interfaces]}


def parse(text: str) -> Definition:
    """
    Return what the domain XML ``text`` says.

    :raises ValueError: it is no XML of a domain.
    """
    try:
        root = ET.fromstring(text)  # noqa: S314 - it comes from libvirtd
    except ET.ParseError as err:
        raise ValueError(f"no XML: {err}") from err
    if root.tag != "domain":
        raise ValueError(f"no domain, but <{root.tag}>")
    devices: dict[str, list[ET.Element]] = {}
    for one in root.find("devices") or ():  # paths such as "devices/disk" would double what a guest costs
        devices.setdefault(one.tag, []).append(one)
    boot = root.find("os")
    system = None if boot is None else boot.find("type")
    return Definition(
        machine=None if system is None else system.get("machine"),
        architecture=None if system is None else system.get("arch"),
        accelerator=root.get("type", "unknown"),
        title=root.findtext("title"),
        disks=tuple(_disk(one) for one in devices.get("disk", ())),
        interfaces=tuple(_interface(one) for one in devices.get("interface", ())),
        passthrough=len(devices.get("hostdev", ())),
        agent=_agent(devices.get("channel", ())),
    )


def _agent(channels: Iterable[ET.Element]) -> str | None:
    for one in channels:
        target = one.find("target")
        if target is not None and target.get("name") == AGENT:
            return target.get("state", "")
    return None


def _disk(element: ET.Element) -> Disk:
    kind = element.get("type", "file")
    return Disk(
        target=_attribute(element, "target", "dev") or "",
        device=element.get("device", "disk"),
        kind=kind,
        source=_attribute(element, "source", DISK_SOURCES.get(kind, "file")),
        pool=_attribute(element, "source", "pool"),
        format=_attribute(element, "driver", "type"),
        bus=_attribute(element, "target", "bus"),
        readonly=element.find("readonly") is not None,
        shareable=element.find("shareable") is not None,
    )


def _interface(element: ET.Element) -> Interface:
    kind = element.get("type", "")
    return Interface(
        mac=_attribute(element, "mac", "address") or "",
        kind=kind,
        source=_attribute(element, "source", CARD_SOURCES.get(kind, "dev")),
        model=_attribute(element, "model", "type"),
        target=_attribute(element, "target", "dev"),
    )


def _attribute(element: ET.Element, tag: str, name: str) -> str | None:
    found = element.find(tag)
    return None if found is None else found.get(name)
