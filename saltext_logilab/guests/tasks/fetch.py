"""
An image that another host has, brought here by the two libvirts themselves (``virStorageVolDownload``), with its holes.

What comes is not believed: it has to have the size and the format that was said, to be whole, and to stand on nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from saltext_logilab.errors import RefusedError, UnavailableError
from saltext_logilab.guests import change, connection, storage
from saltext_logilab.guests.connection import Connection
from saltext_logilab.guests.tasks import images


@dataclass(frozen=True)
class Offered:
    """An image at another host: its format, what it holds, and what has to be carried (its file), in bytes."""

    format: str
    capacity: int
    size: int


def look(uri: str, pool: str, volume: str) -> Offered:
    """
    Return what the host at ``uri`` has.

    :raises UnavailableError: the host does not answer.
    :raises RefusedError: it has no such image, a guest there writes it, or it stands on another one.
    """
    with connection.opened(uri) as other:
        storage.refresh(storage.file_pool(other, pool))
        found = storage.volume(other, pool, volume)
        if found is None:
            raise RefusedError(f"the pool {pool!r} at {uri} has no image {volume!r}")
        users = change.users(other, str(found.path()))
        if writing := [one for one in users if connection.find(other, one).isActive()]:
            raise RefusedError(f"the image {volume!r} at {uri} is written by {', '.join(writing)}")
        if (below := storage.backing(found)) is not None:
            raise RefusedError(f"the image {volume!r} at {uri} stands on {below}: only one that stands alone can come")
        physical = found.infoFlags(connection.libvirt.VIR_STORAGE_VOL_GET_PHYSICAL)[2]
        return Offered(storage.image_format(found), int(found.info()[1]), int(physical))


def download(other: Connection, pool: str, volume: str, to: Path, tell: Callable[[int], None]) -> None:
    """
    Write the image to the new file ``to``; what is nothing but zeros takes no room.

    :param tell: takes the number of bytes that have come, again and again; what it raises ends the download.
    :raises UnavailableError: it cannot be written.
    """
    found = other.storagePoolLookupByName(pool).storageVolLookupByName(volume)
    stream = other.newStream(0)
    try:
        with to.open("xb") as file:
            found.download(stream, 0, 0, connection.libvirt.VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM)
            stream.sparseRecvAll(_write, _skip, (file, tell))
            stream.finish()
            file.truncate(file.tell())
            file.flush()
            os.fsync(file.fileno())
    except OSError as err:
        raise UnavailableError(f"{to} cannot be written: {err.strerror}") from err


Taking = tuple[IO[bytes], Callable[[int], None]]


def _write(_stream: Any, data: bytes, taking: Taking) -> int:
    file, tell = taking
    file.write(data)
    tell(file.tell())
    return len(data)


def _skip(_stream: Any, length: int, taking: Taking) -> None:
    file, tell = taking
    file.seek(length, os.SEEK_CUR)
    tell(file.tell())


def check(path: Path, kind: str, size: int) -> None:
    """:raises RefusedError: the file ``path`` is not the image that was said."""
    if (came := path.stat().st_size) != size:
        raise RefusedError(f"{came} bytes have come of {size}")
    told = images.info(path, kind)
    data = (told.get("format-specific") or {}).get("data") or {}
    if "backing-filename" in told or data.get("data-file"):
        raise RefusedError("the image that has come stands on another file")
