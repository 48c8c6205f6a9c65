"""Storage pools and volumes as far as guests need them: planned by reading alone, then made, enlarged, started."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from typing import Any

from saltext_logilab.errors import ConfigurationError, RefusedError
from saltext_logilab.guests import change, connection, storage
from saltext_logilab.guests.canonical import Change
from saltext_logilab.guests.connection import Connection
from saltext_logilab.guests.sizes import GIB, MIB
from saltext_logilab.guests.storage import NewVolume
from saltext_logilab.guests.tasks.limits import number
from saltext_logilab.guests.wanted import FORMATS, NAME


def check_name(what: str, name: object) -> str:
    """Return ``name``; :raises ConfigurationError: it is none that libvirt and the file system take."""
    if not NAME.fullmatch(str(name)):
        raise ConfigurationError(f"a {what}'s name has letters, digits and ._+- only, not {name!r}")
    return str(name)


def plan(link: Connection, name: str, path: str | None, autostart: bool | None) -> dict[str, Change]:
    """
    Return what makes the pool ``name`` active, with its volumes in the folder ``path``; nothing is changed.

    :raises RefusedError: it is there and lies elsewhere.
    :raises ConfigurationError: it is not there and no absolute path was told.
    """
    check_name("pool", name)
    found = _pool(link, name)
    if found is None:
        if not path or not path.startswith("/"):
            raise ConfigurationError(f"there is no pool {name!r} yet: it needs an absolute path, not {path!r}")
        start: dict[str, Change] = {} if not autostart else {"autostart": {"old": False, "new": True}}
        return {"path": {"old": None, "new": path}, "active": {"old": False, "new": True}, **start}
    if path not in (None, str(storage.folder(found))):
        raise RefusedError(f"the pool {name!r} lies in {storage.folder(found)}, not in {path}, and is not moved")
    has = {"active": bool(found.isActive()), "autostart": bool(found.isPersistent() and found.autostart())}
    want = {"active": True, "autostart": has["autostart"] if autostart is None else autostart}
    changes: dict[str, Change] = {} if found.isPersistent() else {"persistent": {"old": False, "new": True}}
    return changes | {key: {"old": has[key], "new": one} for key, one in want.items() if has[key] != one}


def apply(link: Connection, name: str, changes: dict[str, Change]) -> None:
    """Do what was planned; a pool that cannot be started is not left defined when it was not there before."""
    if "path" in changes:
        root = ET.Element("pool", type="dir")
        ET.SubElement(root, "name").text = name
        ET.SubElement(ET.SubElement(root, "target"), "path").text = str(changes["path"]["new"])
        link.storagePoolDefineXML(ET.tostring(root, encoding="unicode"))
    found = _pool(link, name)
    if "persistent" in changes:
        found = link.storagePoolDefineXML(found.XMLDesc())
    try:
        if "active" in changes:
            if "path" in changes:
                found.build()
            found.create()
        if "autostart" in changes:
            found.setAutostart(1 if changes["autostart"]["new"] else 0)
    except connection.libvirt.libvirtError:
        if "path" in changes and not found.isActive():
            found.undefine()
        raise


def _pool(link: Connection, name: str) -> Any:
    return next((one for one in link.listAllStoragePools() if one.name() == name), None)


@dataclass(frozen=True)
class VolumePlan:
    """What has to be done for a volume: made, or enlarged to ``size`` bytes, or nothing."""

    new: NewVolume | None = None
    size: int | None = None
    changes: dict[str, Change] = field(default_factory=dict)


def read_volume(pool: str, name: str, size_gib: float | None, kind: str) -> NewVolume:
    """
    Return the volume that was told; its size is 0 where none was.

    :raises ConfigurationError: something of it cannot be.
    """
    if kind not in FORMATS:
        raise ConfigurationError(f"format must be one of {', '.join(FORMATS)}, not {kind!r}")
    size = 0.0 if size_gib is None else number("size_gib", size_gib)
    if size == 0 and size_gib is not None:
        raise ConfigurationError("size_gib must be more than 0")
    return NewVolume(str(pool), check_name("volume", name), math.ceil(size * GIB / MIB) * MIB, kind)


def plan_volume(link: Connection, want: NewVolume, backing: str | None) -> VolumePlan:
    """
    Return what makes a volume be there, and hold what it shall; nothing is changed.

    :param backing: the volume of the same pool that a new one begins as a copy of.
    :raises RefusedError: it has another format, would become smaller, or a guest that runs writes it.
    :raises ConfigurationError: a new volume has no size.
    """
    storage.refresh(storage.active_pool(link, want.pool))
    found = storage.volume(link, want.pool, want.name)
    if found is None:
        return _made(link, want, backing)
    if (real := storage.image_format(found)) != want.format:
        raise RefusedError(f"the volume {want.name!r} of the pool {want.pool!r} is {real}, not {want.format}")
    return _enlarged(link, found, want.size)


def _made(link: Connection, new: NewVolume, backing: str | None) -> VolumePlan:
    if backing is None:
        if not new.size:
            raise ConfigurationError(
                f"the pool {new.pool!r} has no volume {new.name!r}: to make it, size_gib is needed"
            )
        return VolumePlan(new, changes={"volume": {"old": None, "new": new.size}})
    below = storage.volume(link, new.pool, backing)
    if below is None or new.format == "raw":
        raise RefusedError(f"a volume cannot stand on {backing!r}: that is not in the pool, or the volume is raw")
    size, place = int(below.info()[1]), (str(below.path()), storage.image_format(below))
    if new.size and new.size < size:
        raise RefusedError(f"{new.name!r} cannot be smaller than the {size} bytes of {backing!r}")
    made = NewVolume(new.pool, new.name, new.size or size, new.format, place)
    return VolumePlan(made, changes={"volume": {"old": None, "new": made.size}})


def _enlarged(link: Connection, found: Any, size: int) -> VolumePlan:
    has, name = int(found.info()[1]), found.name()
    if size in (0, has):
        return VolumePlan()
    if size < has:
        raise RefusedError(f"{name} has {has} bytes; made {size}, it would lose what lies behind them")
    if writing := [one for one in change.users(link, str(found.path())) if connection.find(link, one).isActive()]:
        raise RefusedError(f"{name} is written by {', '.join(writing)}; libvirt_task.resize_disk lets it grow")
    return VolumePlan(size=size, changes={"size": {"old": has, "new": size}})


def apply_volume(link: Connection, want: NewVolume, todo: VolumePlan) -> None:
    """Do what was planned."""
    if todo.new is not None:
        storage.make(link, todo.new)
    elif todo.size is not None and (found := storage.volume(link, want.pool, want.name)) is not None:
        found.resize(todo.size)
