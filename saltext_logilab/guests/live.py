"""What of a change a running guest can take at once, and what waits for its next start: a pure decision."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass

from saltext_logilab.guests import canonical, connection
from saltext_logilab.guests.canonical import Change
from saltext_logilab.guests.connection import Domain

DEVICES = ("disk", "interface")
REMOVABLE_MEDIA = ("cdrom", "floppy")
PLUGGABLE = ("virtio", "scsi", "usb")


@dataclass(frozen=True)
class Step:
    """
    One change of a running guest.

    :param action: ``attach``, ``detach`` or ``update`` a device, or set ``memory`` (KiB) or ``vcpus``.
    :param value: the device's XML, or the number.
    """

    action: str
    value: str
    path: str
    change: Change


@dataclass(frozen=True)
class Live:
    """What can be done now, and the differences that stay until the next start."""

    steps: tuple[Step, ...] = ()
    pending: tuple[str, ...] = ()


def decide(present: ET.Element, wanted: ET.Element) -> Live:
    """Return how a guest that runs as ``present`` becomes ``wanted``; both canonical."""
    found = [*_numbers(present, wanted), *_devices(present, wanted)]
    left = [
        path
        for path in canonical.differences(present, wanted)
        if not any(path == one.path or path.startswith((f"{one.path}/", f"{one.path}@")) for one in found)
    ]
    return Live(tuple(found), tuple(left))


def _numbers(present: ET.Element, wanted: ET.Element) -> list[Step]:
    """Memory and processors, as far as the running guest has been given room for them."""
    steps = []
    old, new = present.findtext("currentMemory", "0"), wanted.findtext("currentMemory", "0")
    balloon = present.find("devices/memballoon")
    if old != new and int(new) <= int(present.findtext("memory", "0")) and _balloons(balloon):
        steps.append(Step("memory", new, "currentMemory", {"old": old, "new": new}))
    was, now = present.find("vcpu"), wanted.find("vcpu")
    if was is not None and now is not None and was.get("current") != now.get("current"):
        number = now.get("current", "1")
        if int(number) <= int(was.text or 1):
            change: Change = {"old": was.get("current"), "new": number}
            steps.append(Step("vcpus", number, "vcpu@current", change))
    return steps


def _balloons(balloon: ET.Element | None) -> bool:
    return balloon is not None and balloon.get("model") != "none"


def _devices(present: ET.Element, wanted: ET.Element) -> list[Step]:
    old, new = present.find("devices"), wanted.find("devices")
    if old is None or new is None:
        return []
    steps = []
    for position, (was, now) in enumerate(canonical.pairs(old, new)):
        one = now if now is not None else was
        if one is None or one.tag not in DEVICES:
            continue
        action = _action(was, now)
        if action:
            path = f"devices/{canonical.step(one, position)}"
            steps.append(Step(action, ET.tostring(one, encoding="unicode"), path, canonical.change(was, now)))
    return steps


def _action(was: ET.Element | None, now: ET.Element | None) -> str | None:
    """Return what a running guest can do about one device; None for nothing."""
    if was is None and now is not None:
        return "attach" if _pluggable(now) else None
    if now is None and was is not None:
        return "detach" if _pluggable(was) else None
    if was is None or now is None:
        return None
    changed = {path.split("/")[0].split("@")[0] for path in canonical.differences(was, now)}
    media = now.tag == "disk" and now.get("device") in REMOVABLE_MEDIA and changed <= {"source", "driver"}
    plug = now.tag == "interface" and changed <= {"source", "link"}
    return "update" if changed and (media or plug) else None


def _pluggable(device: ET.Element) -> bool:
    if device.tag == "interface":
        return True
    target = device.find("target")
    return target is not None and target.get("bus") in PLUGGABLE and device.get("device", "disk") == "disk"


def do(domain: Domain, step: Step) -> None:
    """Do ``step`` on the running ``domain``; :raises libvirtError: it cannot be done."""
    flag = connection.libvirt.VIR_DOMAIN_AFFECT_LIVE
    if step.action == "memory":
        domain.setMemoryFlags(int(step.value), flag)
    elif step.action == "vcpus":
        domain.setVcpusFlags(int(step.value), flag)
    else:
        calls = {"attach": "attachDeviceFlags", "detach": "detachDeviceFlags", "update": "updateDeviceFlags"}
        getattr(domain, calls[step.action])(step.value, flag)
