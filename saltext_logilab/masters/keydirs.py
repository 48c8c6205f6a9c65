"""
The key store as directories: ``minions``, ``minions_pre``, ``minions_rejected`` and ``minions_denied`` in ``pki_dir``.

So Salt 3006 and 3007 keep their keys, and 3008 with its default driver ``localfs_key``. Everything is written by a
rename, so that at no moment a key is missing that was there, and nothing is removed before its successor stands.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from asyncinotify import Inotify, Mask

from saltext_logilab.errors import UnavailableError
from saltext_logilab.masters.keys import Key, is_minion_id, parse_key
from saltext_logilab.masters.records import State

# In this order a key in two directories is read, as Salt does: a rejected one is never taken for accepted.
_DIRECTORIES = {"rejected": "minions_rejected", "pending": "minions_pre", "accepted": "minions"}
_DENIED = "minions_denied"
_REMEMBERED = 10_000


@dataclass(frozen=True)
class Held:
    """
    What a key store holds under an id.

    ``state`` is accepted, rejected, pending or damaged (no file with a PEM); then ``key`` is None. ``doubled``: the
    same key stands as accepted and as pending. Salt 3008 removes a key before it writes it in its new state; a minion
    that asks in between is put among the pending ones, and from then on Salt takes it for pending: the accept is lost.
    """

    state: str
    key: Key | None
    doubled: bool = False

    @property
    def fingerprint(self) -> str:
        """The key's fingerprint; empty when it is damaged."""
        return self.key.fingerprint if self.key else ""


log = logging.getLogger(__name__)


class _Seen(NamedTuple):
    """How a file or folder was seen: enough to notice that it is another one now."""

    inode: int
    mtime_ns: int
    ctime_ns: int
    size: int
    regular: bool

    @classmethod
    def of(cls, path: str) -> _Seen | None:
        """
        Look at ``path``; None when it is not there or is a directory.

        :raises UnavailableError: the file system does not tell.
        """
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            return None
        except OSError as err:
            raise UnavailableError(f"{path} cannot be looked at: {err.strerror}") from err
        regular = stat.S_ISREG(found.st_mode)
        seen = cls(found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size, regular)
        return None if stat.S_ISDIR(found.st_mode) else seen


def _held(keys: Mapping[str, Key | None]) -> Held:
    """Return what the keys of one id mean, given by the state of the directory in which each stands."""
    whole = {state: key for state, key in keys.items() if key}
    if not whole:
        return Held("damaged", None)
    state, key = next((state, whole[state]) for state in _DIRECTORIES if state in whole)
    if state == "pending" and whole.get("accepted") == key:
        return Held("accepted", key, doubled=True)
    return Held(state, key)


class KeyDirectories:
    """The keys of a master, read and written in its ``pki_dir``."""

    def __init__(self, pki_dir: Path) -> None:
        """
        Look after the keys in ``pki_dir``.

        Salt 3008 makes each directory when it first needs it. They are all made now: one that is missing later is
        a fault (a disk that is not mounted), not a set of deleted keys.

        :raises UnavailableError: they cannot be made.
        """
        self._pki = pki_dir
        self._folders = [pki_dir / folder for folder in _DIRECTORIES.values()]
        self._prefix = str(pki_dir)  # thousands of keys are looked at: a Path for each would take half of the time
        self._read: dict[str, dict[str, tuple[int, Key | None]]] = {
            folder: {} for folder in (*_DIRECTORIES.values(), _DENIED)
        }
        self._written: dict[tuple[str, str], int] = {}
        try:
            for folder in (*_DIRECTORIES.values(), _DENIED):
                (pki_dir / folder).mkdir(mode=0o700, exist_ok=True)
        except OSError as err:
            raise UnavailableError(f"the key store {pki_dir} cannot be used: {err.strerror}") from err

    def stamp(self) -> object:
        """Return a value that changes whenever a key file is added, moved or removed (not when one is rewritten)."""
        return tuple((one.st_ino, one.st_mtime_ns) for one in self._directories())

    def identity(self) -> str:
        """Return what tells these directories from others in their place, such as an empty mount point."""
        return " ".join(f"{one.st_dev}:{one.st_ino}" for one in self._directories())

    def _directories(self) -> list[os.stat_result]:
        try:
            return [folder.stat() for folder in self._folders]
        except OSError as err:
            raise UnavailableError(f"the key store {err.filename} cannot be read: {err.strerror}") from err

    async def follow(self, hint: Callable[[str], None]) -> None:
        """
        Call ``hint`` with each id whose files change, as soon as they do (inotify), until cancelled.

        :raises UnavailableError: the kernel does not let it be followed.
        """
        mask = Mask.MOVED_TO | Mask.MOVED_FROM | Mask.DELETE | Mask.CLOSE_WRITE
        self._written.clear()
        try:
            with Inotify() as inotify:
                watches = {inotify.add_watch(self._pki / folder, mask): folder for folder in _DIRECTORIES.values()}
                async for event in inotify:
                    if event.watch is None or event.name is None:
                        continue
                    name = event.name.name
                    if is_minion_id(name) and not self._is_written(watches[event.watch], name):
                        hint(name)
        except OSError as err:
            raise UnavailableError(f"the key store {self._pki} cannot be followed: {err.strerror}") from err

    def scan(self) -> Iterator[tuple[str, Held]]:
        """
        Yield everything that the store holds, each id once. Names that cannot be ids are passed over.

        :raises UnavailableError: a directory cannot be read: what is missing then proves nothing.
        """
        *rare, most = _DIRECTORIES.items()  # nearly all keys are accepted: these are not gathered first
        places: dict[str, dict[str, Key | None]] = {}
        for state, folder in rare:
            for name, key in self._folder(folder):
                places.setdefault(name, {})[state] = key
        for name, key in self._folder(most[1]):
            others = places.pop(name, None)
            yield name, Held(most[0], key) if key and not others else _held({**(others or {}), most[0]: key})
        for name, keys in places.items():
            yield name, _held(keys)

    def read(self, ids: Iterable[str]) -> dict[str, Held]:
        """
        Return what the store holds of ``ids``; an id that it does not hold is left out.

        :raises UnavailableError: a directory is missing or a file cannot be read.
        """
        self._directories()
        found: dict[str, Held] = {}
        for minion in ids:
            held = self.look(minion)
            if held:
                found[minion] = held
        return found

    def put(self, minion: str, state: State, key: Key) -> None:
        """
        Make ``key`` the one of ``minion``, in ``state``. Another key that is pending there becomes a denied one.

        :raises UnavailableError: it cannot be written; then the store is as before.
        """
        target = _DIRECTORIES[state.value]
        try:
            self._deny_other(minion, key)
            places = [folder for folder in _DIRECTORIES.values() if folder != target]
            seen = {folder: _Seen.of(f"{self._prefix}/{folder}/{minion}") for folder in places}
            others = {folder: self._key(folder, minion, one) for folder, one in seen.items() if one}
            same = next((folder for folder, one in others.items() if one == key), None)
            if same:  # it is moved: at no moment it stands in two places or in none
                (self._pki / same / minion).rename(self._pki / target / minion)
            else:
                self._write(target, minion, key)
            for folder in others.keys() - {same}:
                (self._pki / folder / minion).unlink(missing_ok=True)
            if self._current(_DENIED, minion) == key:  # it was denied for another one in its place
                (self._pki / _DENIED / minion).unlink(missing_ok=True)
        except OSError as err:
            raise UnavailableError(f"the key of {minion!r} cannot be written: {err.strerror}") from err

    def remove(self, minion: str, fingerprint: str) -> bool:
        """
        Remove the accepted or rejected key of ``minion`` if it is the one of ``fingerprint``; say whether it was.

        :raises UnavailableError: it cannot be removed.
        """
        removed = False
        for folder in (_DIRECTORIES["accepted"], _DIRECTORIES["rejected"]):
            key = self._current(folder, minion)
            if key and key.fingerprint == fingerprint:
                try:
                    (self._pki / folder / minion).unlink()
                except FileNotFoundError:
                    continue
                except OSError as err:
                    raise UnavailableError(f"the key of {minion!r} cannot be removed: {err.strerror}") from err
                removed = True
        return removed

    def _folder(self, folder: str) -> Iterator[tuple[str, Key | None]]:
        try:
            with os.scandir(f"{self._prefix}/{folder}") as entries:
                for entry in entries:
                    if entry.name in self._read[folder] or is_minion_id(entry.name):
                        seen = _Seen.of(entry.path)
                        if seen:
                            yield entry.name, self._key(folder, entry.name, seen)
        except OSError as err:
            raise UnavailableError(f"the key store {err.filename} cannot be read: {err.strerror}") from err

    def is_denied(self, minion: str) -> bool:
        """Say whether a key of ``minion`` is among the denied ones."""
        return is_minion_id(minion) and (self._pki / _DENIED / minion).exists()

    def waiting(self, limit: int) -> dict[str, Any]:
        """
        Return the keys that are pending or denied here: by state their number, and at most ``limit`` of them by id.

        :raises UnavailableError: they cannot be read.
        """
        found = {}
        for state, folder in (("pending", _DIRECTORIES["pending"]), ("denied", _DENIED)):
            keys = [(name, key) for name, key in self._folder(folder) if key]
            shown = {name: key.fingerprint for name, key in sorted(keys)[:limit]}
            found[state] = {"count": len(keys), "keys": shown}
        return found

    def look(self, minion: str) -> Held | None:
        """
        Return what the store holds of one id now, None for nothing: which may be because its directories are missing.

        :raises UnavailableError: a file cannot be looked at.
        """
        if not is_minion_id(minion):
            return None
        keys: dict[str, Key | None] = {}
        for state, folder in _DIRECTORIES.items():
            seen = _Seen.of(f"{self._prefix}/{folder}/{minion}")
            if seen:
                keys[state] = self._key(folder, minion, seen)
        return _held(keys) if keys else None

    def _key(self, folder: str, minion: str, seen: _Seen | None) -> Key | None:
        """Return the key in a file that was ``seen`` so; it is read again only when it was seen otherwise before."""
        if seen is None or not seen.regular:
            self._read[folder].pop(minion, None)
            return None
        known = self._read[folder].get(minion)
        if known and known[0] == hash(seen):
            return known[1]
        path = self._pki / folder / minion
        try:
            with path.open(encoding="utf-8", errors="replace") as file:
                key = parse_key(file.read(64 * 1024))
        except FileNotFoundError:
            return None
        except OSError as err:  # damaged for now, and looked at again: one file must not stop all others
            log.warning("The key file %s cannot be read: %s", path, err.strerror)
            return None
        self._read[folder][minion] = (hash(seen), key)
        return key

    def _current(self, folder: str, minion: str) -> Key | None:
        return self._key(folder, minion, _Seen.of(f"{self._prefix}/{folder}/{minion}"))

    def _deny_other(self, minion: str, key: Key) -> None:
        pending = self._current(_DIRECTORIES["pending"], minion)
        if pending and pending != key:
            (self._pki / _DIRECTORIES["pending"] / minion).rename(self._pki / _DENIED / minion)

    def _write(self, folder: str, minion: str, key: Key) -> None:
        """Write a file beside the directories, and move it there; remember that it was written here."""
        content, target = key.pem.encode("ascii"), f"{self._prefix}/{folder}/{minion}"
        name = f"{self._prefix}/.logilab-{secrets.token_hex(8)}"
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            try:
                if os.write(descriptor, content) != len(content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fchmod(descriptor, 0o644)
                written = os.fstat(descriptor)
            finally:
                os.close(descriptor)
            os.rename(name, target)  # noqa: PTH104 - thousands of keys are written: as above
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise
        seen = _Seen.of(target)
        if seen and (seen.inode, seen.mtime_ns, seen.size) == (written.st_ino, written.st_mtime_ns, written.st_size):
            self._read[folder][minion] = (hash(seen), key)
            self._written[folder, minion] = hash(seen)

    def _is_written(self, folder: str, minion: str) -> bool:
        """Say whether a file that the kernel tells of is still the one that was written here."""
        if len(self._written) > _REMEMBERED:
            self._written.clear()  # too much was looked at once: no harm
        known = self._written.pop((folder, minion), None)
        return known is not None and known == hash(_Seen.of(f"{self._prefix}/{folder}/{minion}"))
