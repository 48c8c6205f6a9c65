"""Storage pools of private libvirtds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.support.libvirt import LibvirtHost


@contextlib.contextmanager
def pool(host: LibvirtHost, name: str, folder: Path) -> Iterator[Path]:
    """Give the folder of a storage pool; the guests that have volumes in it are gone afterwards."""
    folder.mkdir(parents=True)
    link = host.open()
    made = link.storagePoolCreateXML(
        f"<pool type='dir'><name>{name}</name><target><path>{folder}</path></target></pool>"
    )
    yield folder
    for guest in link.listAllDomains():
        if str(folder) in guest.XMLDesc():
            if guest.isActive():
                guest.destroy()
            guest.undefine()
    made.destroy()
