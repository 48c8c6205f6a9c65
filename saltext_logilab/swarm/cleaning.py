"""
Removing fake minions from a master: their keys, grains, pillar, mine and sessions, and nothing else.

A minion is fake when its key is one of this user's swarm keys (:mod:`saltext_logilab.swarm.keys`); ids prove nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import salt.cache
import salt.config
from salt.exceptions import SaltException

from saltext_logilab.errors import UnavailableError
from saltext_logilab.swarm.keys import Pool

DIRECTORIES = ("minions", "minions_pre", "minions_rejected", "minions_denied")
_DRIVER = "localfs_key"  # of Salt 3008; 3006 and 3007 know no other
_BANKS = ("grains", "pillar", "mine")  # of Salt 3008, by id; before, one bank of each minion held all
_END = "-----END PUBLIC KEY-----"


@dataclass(frozen=True)
class Cleaned:
    """What was removed: ids of minions, and how many keys of real minions were left alone."""

    minions: tuple[str, ...]
    left: int


def options(config: Path) -> dict[str, Any]:
    """
    Return the options of the master whose configuration is in the folder ``config``.

    :raises UnavailableError: there is no readable ``master`` in it.
    """
    path = config / "master" if config.is_dir() else config
    if not path.is_file():
        raise UnavailableError(f"there is no master's configuration in {config}")
    try:
        return dict(salt.config.master_config(str(path)))
    except (SaltException, OSError) as err:
        raise UnavailableError(f"the configuration {path} cannot be read: {err}") from err


def clean(opts: Mapping[str, Any], pool: Pool, *, test: bool = False) -> Cleaned:
    """
    Remove from the master with ``opts`` all minions whose keys are in ``pool``; with ``test`` only say which.

    :raises UnavailableError: something cannot be read or removed; the rest is done first.
    """
    store: _Store = _Directories(opts) if opts.get("keys.cache_driver", _DRIVER) == _DRIVER else _Bank(opts)
    own: set[str] = set()
    foreign = 0
    faults: list[str] = []
    for held in store.held():
        if all(pool.is_own(public) for public in held.publics):
            own.add(held.minion)
            if not test:
                faults += _tried(lambda held=held: store.remove(held))
        else:
            foreign += 1
    if not test:
        real = {held.minion for held in store.held()}
        for minion in sorted(own - real):  # another key under this id is a real minion's, and so is the data
            faults += _tried(lambda minion=minion: _forget(opts, minion))
    if faults:
        raise UnavailableError(f"not everything could be removed: {faults[0]}")
    return Cleaned(tuple(sorted(own)), foreign)


@dataclass(frozen=True)
class _Held:
    """A place in a key store: ``publics`` are the keys that stand there."""

    minion: str
    place: str
    publics: tuple[str, ...]


class _Store:
    """Where a master keeps keys."""

    def held(self) -> list[_Held]:
        """Return all keys."""
        raise NotImplementedError

    def remove(self, held: _Held) -> None:
        """Remove one of them."""
        raise NotImplementedError


class _Directories(_Store):
    """Keys as files."""

    def __init__(self, opts: Mapping[str, Any]) -> None:
        self._pki = Path(opts["cluster_pki_dir"] if opts.get("cluster_id") else opts["pki_dir"])

    def held(self) -> list[_Held]:
        return [held for folder in DIRECTORIES for held in self._folder(self._pki / folder)]

    def remove(self, held: _Held) -> None:
        Path(held.place).unlink(missing_ok=True)

    def _folder(self, folder: Path) -> Iterator[_Held]:
        if not folder.is_dir():
            return
        for path in sorted(folder.iterdir()):
            if path.is_file() and not path.name.startswith("."):
                yield _Held(path.name, str(path), _publics(path.read_text(errors="replace")))


class _Bank(_Store):
    """Keys in ``salt.cache``."""

    def __init__(self, opts: Mapping[str, Any]) -> None:
        self._cache = salt.cache.Cache(opts, driver=opts["keys.cache_driver"])

    def held(self) -> list[_Held]:
        found = []
        for minion in self._cache.list("keys"):
            entry = self._cache.fetch("keys", minion) or {}
            found.append(_Held(minion, "keys", (str(entry.get("pub", "")),)))
        for minion in self._cache.list("denied_keys"):
            denied = self._cache.fetch("denied_keys", minion) or []
            found.append(_Held(minion, "denied_keys", tuple(map(str, denied))))
        return found

    def remove(self, held: _Held) -> None:
        self._cache.flush(held.place, held.minion)


def _publics(text: str) -> tuple[str, ...]:
    """Return the keys in a file: several may be denied under one id."""
    parts = [part.strip() + "\n" + _END for part in text.split(_END)[:-1]]
    return tuple(parts) or (text,)


def _forget(opts: Mapping[str, Any], minion: str) -> None:
    cache = salt.cache.factory(opts)
    cache.flush(f"minions/{minion}")
    for bank in _BANKS:
        cache.flush(bank, minion)
    (Path(opts["cachedir"]) / "sessions" / minion).unlink(missing_ok=True)


def _tried(work: Any) -> list[str]:
    try:
        work()
    except (OSError, SaltException) as err:
        return [str(err)]
    return []
