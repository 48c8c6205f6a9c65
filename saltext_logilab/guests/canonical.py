"""
What a wanted definition changes in a present one: domain XML in a canonical form, laid over each other and compared.

A wanted definition says as much as its author cares for. What it does not name stays as it is, so an existing guest can
be adopted, and what libvirt has filled in (addresses, controllers, aliases) is no difference. Devices are told apart by
what libvirt tells them apart by: a disk by its target, a card by its MAC. Everything here is pure.
"""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator

from saltext_logilab.errors import ConfigurationError

Change = dict[str, object]
KIB_PER_UNIT = {
    **dict.fromkeys(("b", "bytes"), 1 / 1024),
    **dict.fromkeys(("k", "KiB"), 1.0),
    **dict.fromkeys(("M", "MiB"), 1024.0),
    **dict.fromkeys(("G", "GiB"), 1024.0**2),
    **dict.fromkeys(("T", "TiB"), 1024.0**3),
    **{unit: 1000.0**power / 1024 for power, unit in enumerate(("KB", "MB", "GB", "TB"), start=1)},
}
MACHINES = {"pc": "pc-i440fx", "q35": "pc-q35"}
SIZES = ("memory", "currentMemory")
SECRETS = ("passwd", "password")
MASK = "***"
CHANGE_LISTED = 2000  # characters of a whole device that a change shows


def _child(tag: str, attribute: str) -> Callable[[ET.Element], str | None]:
    def find(element: ET.Element) -> str | None:
        found = element.find(tag)
        return None if found is None else found.get(attribute)

    return find


IDENTITIES: dict[str, Callable[[ET.Element], str | None]] = {
    "disk": _child("target", "dev"),
    "interface": _child("mac", "address"),
    "filesystem": _child("target", "dir"),
    "channel": _child("target", "name"),
    "controller": lambda one: f"{one.get('type')} {one.get('index', '0')}",
    "feature": lambda one: one.get("name"),
    "timer": lambda one: one.get("name"),
    "graphics": lambda one: one.get("type"),
    "input": lambda one: f"{one.get('type')} {one.get('bus', '')}",
}


def read(text: str, where: str = "the definition") -> ET.Element:
    """
    Return the domain XML ``text`` in canonical form: without insignificant space, sizes in KiB, defaults said.

    :raises ConfigurationError: it is no XML of a domain, or has a size that cannot be.
    """
    try:
        root = ET.fromstring(text)  # noqa: S314 - of libvirtd or of a state; entities are refused by libvirtd's parser
    except ET.ParseError as err:
        raise ConfigurationError(f"{where} is no XML: {err}") from err
    if root.tag != "domain":
        raise ConfigurationError(f"{where} must be a <domain>, not <{root.tag}>")
    for element in root.iter():
        element.text = (element.text or "").strip() or None
        element.tail = None
        if element.tag == "mac":
            element.attrib.update({key: value.lower() for key, value in element.attrib.items()})
    for size in (found for tag in SIZES if (found := root.find(tag)) is not None):
        _in_kib(size, where)
    _say_defaults(root)
    return root


def _in_kib(element: ET.Element, where: str) -> None:
    unit = element.attrib.pop("unit", "KiB")
    try:
        element.text = str(round(float(element.text or "") * KIB_PER_UNIT[unit]))
    except (KeyError, ValueError) as err:
        raise ConfigurationError(f"{where} has a <{element.tag}> of {element.text!r} {unit}") from err


def _say_defaults(root: ET.Element) -> None:
    """Say what libvirt understands where nothing is said, so that a changed maximum takes the present value along."""
    memory, vcpu = root.find("memory"), root.find("vcpu")
    if memory is not None and root.find("currentMemory") is None:
        ET.SubElement(root, "currentMemory").text = memory.text
    if vcpu is not None and vcpu.text:
        vcpu.attrib.setdefault("current", vcpu.text)


def text_of(root: ET.Element) -> str:
    """Return the XML of ``root``, for libvirt and for people."""
    shown = copy.deepcopy(root)
    ET.indent(shown)
    return ET.tostring(shown, encoding="unicode")


def overlay(present: ET.Element, wanted: ET.Element) -> ET.Element:
    """Return ``present`` with all that ``wanted`` says; both canonical, neither is changed."""
    merged, said = copy.deepcopy(present), copy.deepcopy(wanted)
    old, new = merged.find("os/type"), said.find("os/type")
    if old is not None and new is not None and _same_machine(old.get("machine", ""), new.get("machine", "")):
        del new.attrib["machine"]
    _lay(merged, said)
    return merged


def _same_machine(present: str, wanted: str) -> bool:
    """Whether libvirt has taken the alias ``wanted`` (``q35``) for the version ``present`` (``pc-q35-7.2``)."""
    return bool(wanted) and present.startswith(f"{MACHINES.get(wanted, wanted)}-")


def _lay(target: ET.Element, wanted: ET.Element) -> None:
    other_kind = "type" in wanted.attrib and "type" in target.attrib and wanted.get("type") != target.get("type")
    target.attrib.update(wanted.attrib)
    target.text = wanted.text or target.text
    for old, new in list(pairs(target, wanted)):
        if new is None:
            continue
        if old is None:
            target.append(copy.deepcopy(new))
        elif other_kind and new.tag == "source":  # a file's source has nothing in common with a network's
            target[list(target).index(old)] = copy.deepcopy(new)
        else:
            _lay(old, new)


def without(root: ET.Element, disks: set[str], cards: set[str]) -> ET.Element:
    """Return ``root`` without the disks of these targets and the cards of these MACs (in small letters)."""
    left, unwanted = copy.deepcopy(root), {"disk": disks, "interface": cards}
    devices = left.find("devices")
    for device in [] if devices is None else list(devices):
        if device.tag in unwanted and identity(device) in unwanted[device.tag]:
            left.find("devices").remove(device)  # type: ignore[union-attr]
    return left


def identity(element: ET.Element) -> str | None:
    """Return what tells ``element`` from its like; None where only its position does."""
    find = IDENTITIES.get(element.tag)
    return find(element) if find else None


def pairs(old: ET.Element, new: ET.Element) -> Iterator[tuple[ET.Element | None, ET.Element | None]]:
    """Yield the children of both that are the same thing, and those that have no like on the other side."""
    rest = list(old)
    partners: dict[int, ET.Element] = {}
    for by_identity in (True, False):  # who has a name goes first, so that nobody else takes its partner
        for index, child in enumerate(new):
            if index in partners or (identity(child) is not None) is not by_identity:
                continue
            found = next((one for one in rest if one.tag == child.tag and _alike(one, child)), None)
            if found is not None:
                rest.remove(found)
                partners[index] = found
    for index, child in enumerate(new):
        yield partners.get(index), child
    for child in rest:
        yield child, None


def _alike(old: ET.Element, new: ET.Element) -> bool:
    return identity(new) is None or identity(old) == identity(new)


def differences(old: ET.Element, new: ET.Element) -> dict[str, Change]:
    """
    Return what differs, by path: ``{"memory": {"old": "524288", "new": "1048576"}}``.

    A thing that is on one side only is told whole. Passwords are told as ``***``.
    """
    return dict(_differences(old, new, ""))


def _differences(old: ET.Element, new: ET.Element, path: str) -> Iterator[tuple[str, Change]]:
    if old.text != new.text:
        yield path or old.tag, {"old": old.text, "new": new.text}
    for key in sorted({*old.attrib, *new.attrib}):
        if old.get(key) != new.get(key):
            values = {"old": old.get(key), "new": new.get(key)}
            yield f"{path}@{key}", {side: MASK if key in SECRETS and value else value for side, value in values.items()}
    for position, (was, now) in enumerate(pairs(old, new)):
        one = now if now is not None else was
        if one is None:
            continue
        below = f"{path}/{step(one, position)}".lstrip("/")
        if was is not None and now is not None:
            yield from _differences(was, now, below)
        else:
            yield below, change(was, now)


def step(element: ET.Element, position: int = 0) -> str:
    """Return how ``element`` is called in a path: ``disk[vda]``."""
    name = identity(element)
    if name is None and element.tag in IDENTITIES:
        name = f"#{position}"
    return f"{element.tag}[{name}]" if name else element.tag


def change(old: ET.Element | None, new: ET.Element | None) -> Change:
    """Return the change of a whole device."""
    return {"old": _whole(old), "new": _whole(new)}


def _whole(element: ET.Element | None) -> str | None:
    if element is None or not (len(element) or element.attrib):
        return None if element is None else element.text or f"<{element.tag}/>"
    return ET.tostring(masked(element), encoding="unicode")[:CHANGE_LISTED]


def masked(root: ET.Element) -> ET.Element:
    """Return ``root`` with ``***`` for its passwords."""
    shown = copy.deepcopy(root)
    for one in shown.iter():
        one.attrib.update({key: MASK for key in SECRETS if key in one.attrib})
    return shown
