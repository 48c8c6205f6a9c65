"""Volumes of storage pools: looked up, made, enlarged, removed."""

from __future__ import annotations

import logging
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saltext_logilab.errors import RefusedError
from saltext_logilab.guests import connection
from saltext_logilab.guests.connection import Connection

log = logging.getLogger(__name__)

FILE_POOLS = ("dir", "fs", "netfs")

Pool = Any  # libvirt.virStoragePool, which has no types
StoredVolume = Any  # libvirt.virStorageVol


@dataclass(frozen=True)
class NewVolume:
    """
    A volume that is to be made.

    :param size: its capacity in bytes.
    :param backing: path and format of the volume that it begins as a copy of.
    """

    pool: str
    name: str
    size: int
    format: str = "qcow2"
    backing: tuple[str, str] | None = None

    def xml(self) -> str:
        """Return its XML (https://libvirt.org/formatstorage.html); it takes room only as it fills."""
        root = ET.Element("volume")
        for tag, text in (("name", self.name), ("capacity", str(self.size)), ("allocation", "0")):
            ET.SubElement(root, tag).text = text
        ET.SubElement(ET.SubElement(root, "target"), "format", type=self.format)
        if self.backing:
            store = ET.SubElement(root, "backingStore")
            ET.SubElement(store, "path").text = self.backing[0]
            ET.SubElement(store, "format", type=self.backing[1])
        return ET.tostring(root, encoding="unicode")


def active_pool(link: Connection, name: str) -> Pool:
    """
    Return the pool ``name``.

    :raises RefusedError: there is none, or it is not active.
    """
    known = connection.libvirt
    pools = {one.name(): one for one in link.listAllStoragePools(known.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE)}
    if name not in pools:
        raise RefusedError(f"there is no active pool {name!r} (active: {', '.join(sorted(pools)) or 'none'})")
    return pools[name]


def file_pool(link: Connection, name: str) -> Pool:
    """
    Return the pool ``name``, whose volumes are files.

    :raises RefusedError: there is none, it is not active, or its volumes are no files.
    """
    pool = active_pool(link, name)
    if ET.fromstring(pool.XMLDesc()).get("type") not in FILE_POOLS:  # noqa: S314 - it comes from libvirtd
        raise RefusedError(f"the volumes of pool {name!r} are no files; kinds that do: {', '.join(FILE_POOLS)}")
    return pool


def folder(pool: Pool) -> Path:
    """Return where the volumes of ``pool`` lie."""
    return Path(ET.fromstring(pool.XMLDesc()).findtext("target/path", ""))  # noqa: S314 - it comes from libvirtd


def refresh(pool: Pool) -> None:
    """Let libvirt look into ``pool``; while somebody makes a volume in it, libvirt tells what it knew before."""
    try:
        pool.refresh()
    except connection.libvirt.libvirtError as err:
        log.debug("the pool %s is not refreshed: %s", pool.name(), err)


def room(link: Connection, name: str) -> int:
    """Return how many bytes are free in the pool ``name``, whose volumes are files."""
    pool = file_pool(link, name)
    refresh(pool)
    return int(pool.info()[3])


def make(link: Connection, new: NewVolume) -> str:
    """Make the volume ``new`` and return its path."""
    return str(link.storagePoolLookupByName(new.pool).createXML(new.xml()).path())


def volume(link: Connection, pool: str, name: str) -> StoredVolume | None:
    """Return a volume, None where there is none."""
    try:
        return link.storagePoolLookupByName(pool).storageVolLookupByName(name)
    except connection.libvirt.libvirtError as err:
        if err.get_error_code() != connection.libvirt.VIR_ERR_NO_STORAGE_VOL:
            raise
        return None


def listing(link: Connection, pool: str, name: str | None = None) -> dict[str, dict[str, Any]]:
    """
    Return what an active pool holds, or the volume ``name`` of it where there is one.

    :raises RefusedError: there is no such pool, or it is not active.
    """
    place = active_pool(link, pool)
    refresh(place)
    found = place.listAllVolumes() if name is None else [one for one in (volume(link, pool, name),) if one is not None]
    return {str(one.name()): _described(one) for one in found}


def _described(found: StoredVolume) -> dict[str, Any]:
    _, capacity, allocation = found.info()
    sizes = {"capacity": int(capacity), "allocation": int(allocation)}
    return {"path": str(found.path()), "format": image_format(found), **sizes, "backing": backing(found)}


def by_path(link: Connection, path: str) -> StoredVolume | None:
    """Return the volume of an active pool that lies in ``path``, None where there is none."""
    try:
        return link.storageVolLookupByPath(path)
    except connection.libvirt.libvirtError as err:
        if err.get_error_code() != connection.libvirt.VIR_ERR_NO_STORAGE_VOL:
            raise
        return None


def image_format(found: StoredVolume) -> str:
    """Return the format of a volume's data, ``raw`` where its pool knows no other."""
    element = ET.fromstring(found.XMLDesc()).find("target/format")  # noqa: S314 - it comes from libvirtd
    return "raw" if element is None else element.get("type", "raw")


def remove(link: Connection, pool: str, name: str) -> None:
    """Remove a volume; it may not be there."""
    found = volume(link, pool, name)
    if found is not None:
        found.delete()


def standing_on(link: Connection, path: str) -> list[str]:
    """Return the volumes of active pools that hold only their difference from what lies in ``path``."""
    pools = link.listAllStoragePools(connection.libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE)
    found = [(pool.name(), one) for pool in pools for one in pool.listAllVolumes()]
    return [f"{pool}/{one.name()}" for pool, one in found if backing(one) == path]


def backing(found: StoredVolume) -> str | None:
    """Return the path of what a volume stands on, None where it stands alone."""
    return ET.fromstring(found.XMLDesc()).findtext("backingStore/path")  # noqa: S314 - it comes from libvirtd
