"""
What this area touches of Salt's minion data cache, for Salt 3006, 3007 and 3008: mines, grains and cached pillar.

3006 and 3007 keep them in the bank ``minions/<id>``: ``mine``, and ``data`` with grains and pillar. 3008 has a bank for
each kind. Only the driver ``localfs``, Salt's default, is followed: its files tell by a look that they have changed.
Other drivers are servers that masters can share by themselves.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import salt.cache
import salt.payload
import salt.version
from salt.exceptions import SaltException

from saltext_logilab.errors import UnavailableError
from saltext_logilab.masters.data.versions import MINE
from saltext_logilab.masters.keys import is_minion_id

_BANKS_SINCE = (3008,)
_ENDS = ".p"


class MinionData:
    """The minion data cache of the master with ``opts``."""

    def __init__(self, opts: Mapping[str, Any]) -> None:
        self._cache = salt.cache.factory(opts)
        self._root = Path(opts["cachedir"])
        self._apart = tuple(salt.version.__version_info__[:1]) >= _BANKS_SINCE
        self.preserves = bool(opts.get("preserve_minion_cache"))
        self.is_followed = opts.get("cache", "localfs") == "localfs" and bool(opts.get("minion_data_cache", True))

    def identity(self, kind: str) -> str:
        """
        Return what tells this cache from another one in its place; empty when there is none.

        It names the files with the keys of local users, too: whoever empties a master's cachedir takes them away
        (``saltutil.clear_cache``), and who clears data of minions does not.
        """
        try:
            folder = (self._root / (kind if self._apart else "minions")).stat()
            keys = sorted(f"{one.name}:{one.stat().st_ino}" for one in self._root.glob(".*_key"))
        except OSError:
            return ""
        return " ".join([f"{folder.st_dev}:{folder.st_ino}", *keys])

    def stamps(self, kind: str, minions: Collection[str]) -> dict[str, bytes]:
        """Return of each of ``minions`` that has data what changes when these do."""
        if self._apart:
            found = _files(self._root / kind)
            return {minion: stamp for minion, stamp in found.items() if minion in minions}
        told = ((minion, self.stamp(kind, minion)) for minion in minions)
        return {minion: stamp for minion, stamp in told if stamp}

    def stamp(self, kind: str, minion: str) -> bytes:
        """Return the stamp of one minion's data; empty when there is none."""
        bank, key = self._place(kind, minion)
        return _stamp(self._root / bank / f"{key}{_ENDS}")

    def read(self, kind: str, minion: str) -> dict[str, Any]:
        """Return the data of a minion, an empty mapping when there is none; :raises UnavailableError: it is damaged."""
        found = self._fetch(kind, minion)
        if not self._apart and kind != MINE:
            found = found.get(kind) or {}
        return found if isinstance(found, dict) else {}

    def write(self, kind: str, minion: str, data: Mapping[str, Any]) -> bytes:
        """Replace the data of a minion (empty: remove it); return its stamp; :raises UnavailableError: it cannot be."""
        bank, key = self._place(kind, minion)
        try:
            if not self._apart and kind != MINE:
                self._cache.store(bank, key, {**self._fetch(kind, minion), kind: dict(data)})
            elif data:
                self._cache.store(bank, key, dict(data))
            else:
                self._cache.flush(bank, key)
        except (SaltException, OSError) as err:
            raise UnavailableError(f"the {kind} of {minion!r} cannot be written: {err}") from err
        return self.stamp(kind, minion)

    def _fetch(self, kind: str, minion: str) -> dict[str, Any]:
        try:
            found = self._cache.fetch(*self._place(kind, minion))
        except Exception as err:  # a file that was cut off can raise anything
            raise UnavailableError(f"the {kind} of {minion!r} cannot be read: {err}") from err
        return found if isinstance(found, dict) else {}

    def _place(self, kind: str, minion: str) -> tuple[str, str]:
        if self._apart:
            return kind, minion
        return f"minions/{minion}", MINE if kind == MINE else "data"

    @staticmethod
    def pack(value: Any) -> bytes:
        """Return ``value`` packed as Salt packs it."""
        return bytes(salt.payload.dumps(value))

    @staticmethod
    def unpack(blob: bytes) -> Any:
        """Return the value in ``blob``; :raises UnavailableError: there is none."""
        try:
            return salt.payload.loads(blob)
        except Exception as err:  # msgpack raises many kinds
            raise UnavailableError(f"a value of minion data cannot be decoded: {type(err).__name__}") from err


def _files(folder: Path) -> dict[str, bytes]:
    found = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                minion = entry.name.removesuffix(_ENDS)
                if minion != entry.name and is_minion_id(minion):
                    found[minion] = _stamp(entry)
    except FileNotFoundError:
        return {}
    return {minion: stamp for minion, stamp in found.items() if stamp}


def _stamp(file: Path | os.DirEntry[str]) -> bytes:
    """Return what changes when the file does; nothing when it is not there."""
    try:
        known = file.stat()
    except OSError:
        return b""
    return f"{known.st_ino} {known.st_mtime_ns} {known.st_size}".encode()
