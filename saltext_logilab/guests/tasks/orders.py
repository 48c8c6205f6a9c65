"""
What can be ordered, a function for each kind of task: its words are read here, and looked at by libvirt later.

The words come from people by way of a command line, so names may have come as numbers.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from saltext_logilab.errors import ConfigurationError
from saltext_logilab.guests.connection import Connection
from saltext_logilab.guests.seeds import wish as wishes
from saltext_logilab.guests.tasks import backup as backups
from saltext_logilab.guests.tasks import clone as clones
from saltext_logilab.guests.tasks import convert as conversions
from saltext_logilab.guests.tasks import copy_disk as copies
from saltext_logilab.guests.tasks import create as creations
from saltext_logilab.guests.tasks import migrate as migrations
from saltext_logilab.guests.tasks import resize as growths
from saltext_logilab.guests.tasks import restore as restores
from saltext_logilab.guests.tasks import seed as seedings
from saltext_logilab.guests.tasks import snapshot as snapshots
from saltext_logilab.guests.tasks import verify as verifications
from saltext_logilab.guests.tasks.limits import Limits, number

VERIFY_STALL = 3600.0  # seconds that the check of one image may take
NO_LIMITS = Limits(0, 0)
Masters = Callable[[], Mapping[str, Any]]


@dataclass(frozen=True)
class Wanted:
    """
    A task that is wanted.

    :param check: returns the guest's name and the task's spec, by what libvirt says; raises what stands against it.
    :param limits: what holds for tasks of this kind whatever was told; None for what was told.
    :param starts: whether it starts a guest that is there already.
    """

    kind: str
    check: Callable[[Connection], tuple[str, dict[str, object]]]
    limits: Limits | None = None
    starts: bool = False


def copy_disk(name: str, disk: str, pool: str, pivot: bool, bandwidth: object) -> Wanted:
    """Return the copy of a disk."""
    options: dict[str, object] = {"pivot": bool(pivot), "bandwidth": _bandwidth(bandwidth)}
    return _of("copy_disk", name, lambda link: copies.check(link, name, str(disk), str(pool), options))


def backup(name: str, pool: str, checkpoint: str | None, since: str | None, incremental: bool) -> Wanted:
    """Return a backup; :raises ConfigurationError: it shall choose the checkpoint by itself, and one is named."""
    if incremental and (checkpoint or since):
        raise ConfigurationError("incremental chooses checkpoint and since by itself")
    wish = backups.Wish(checkpoint, since, bool(incremental))
    return _of("backup", name, lambda link: backups.check(link, name, str(pool), wish))


def restore(backup: str, name: str, pool: str, target: str | None) -> Wanted:
    """Return a guest that is restored."""
    told = (str(pool), str(backup), str(name), str(target or pool))
    return _of("restore", name, lambda link: restores.check(link, *told))


def verify(backup: str, pool: str, seconds: object, timeout: object) -> Wanted:
    """Return the verification of a backup; the guest is the one whose backup it is."""
    times = {"seconds": number("seconds", seconds), "timeout": number("timeout", timeout)}

    def check(link: Connection) -> tuple[str, dict[str, object]]:
        guest, spec = verifications.check(link, str(pool), str(backup))
        return guest, spec | times

    return Wanted("verify", check, Limits(VERIFY_STALL, 0))


def snapshot(name: str, snapshot: str, description: str | None) -> Wanted:
    """Return a snapshot; it makes no progress that could be seen, so it has no limits."""
    told = (name, str(snapshot), description and str(description))
    return _of("snapshot", name, lambda link: snapshots.check(link, *told), NO_LIMITS)


def clone(name: str, clone: str, pool: str) -> Wanted:
    """Return a clone."""
    return _of("clone", name, lambda link: clones.check(link, name, str(clone), str(pool)))


def convert(pool: str, volume: str, new: Mapping[str, object], target: str | None) -> Wanted:
    """Return the conversion of a volume; ``new`` is ``name`` and ``format`` of the new one."""
    told = (str(pool), str(volume), str(target or pool), {key: str(value) for key, value in new.items()})
    return _of("convert", f"{pool}/{volume}", lambda link: conversions.check(link, *told))


def resize_disk(name: str, disk: str, size_gib: object) -> Wanted:
    """Return the growth of a disk."""
    size = number("size_gib", size_gib)
    return _of("resize_disk", name, lambda link: growths.check(link, name, str(disk), size), Limits())


def migrate(name: str, to: str, options: Mapping[str, Any]) -> Wanted:
    """Return a migration; ``options`` are ``transport``, ``bandwidth`` and ``unsafe``."""
    transport = options["transport"] and str(options["transport"])
    told = {"to": str(to), "transport": transport, "bandwidth": _bandwidth(options["bandwidth"])}
    told["unsafe"] = bool(options["unsafe"])
    return _of("migrate", name, lambda link: migrations.check(link, name, told))


def create(name: str, image: Mapping[str, Any], told: Mapping[str, Any], own: Mapping[str, object]) -> Wanted:
    """
    Return a new guest.

    :param image: ``volume``, ``from``, ``pool``, ``size_gib``, ``linked`` and ``host``, as of ``create.check``.
    :param told: what a state would tell of the guest, but for its disks.
    :param own: what it is told, see :func:`read_seed`.
    """
    names = {key: None if image[key] is None else str(image[key]) for key in ("volume", "from", "pool", "host")}
    size = None if image["size_gib"] is None else number("size_gib", image["size_gib"])
    source = {**names, "from": names["from"] or names["pool"], "size_gib": size, "linked": image["linked"]}
    return _of("create", name, lambda link: {**creations.check(link, str(name), source, told), **own})


def seed(name: str, pool: str | None, own: Mapping[str, object]) -> Wanted:
    """Return the seed of a guest; ``own`` is what it is told, see :func:`read_seed`."""

    def check(link: Connection) -> tuple[str, dict[str, object]]:
        return str(name), {**seedings.check(link, str(name), pool and str(pool)), **own}

    return Wanted("seed", check, Limits(), starts=True)


def read_seed(name: str, told: object, masters: Masters, nonce: str | None, timeout: object) -> dict[str, object]:
    """
    Return what a guest is told, checked.

    :param masters: what a guest is told for which no master was named: ``minion`` (of its configuration) and
        ``master_key``.
    :raises ConfigurationError: something of it is impossible.
    """
    if not isinstance(told, (dict, type(None))):
        raise ConfigurationError(f"seed must be a mapping, not {told!r}")
    own = {key: value for key, value in (told or {}).items() if value is not None}
    minion = own.get("minion") or {}
    if isinstance(minion, dict) and "master" not in minion:
        known = masters()
        own |= {"minion": {**known["minion"], **minion}, "master_key": known["master_key"]}
    wish = wishes.read(str(name), own).plain()
    return {"wish": wish, "nonce": str(nonce or secrets.token_hex(16)), "timeout": number("timeout", timeout)}


def _of(
    kind: str, guest: str, check: Callable[[Connection], dict[str, object]], limits: Limits | None = None
) -> Wanted:
    return Wanted(kind, lambda link: (str(guest), check(link)), limits)


def _bandwidth(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigurationError(f"bandwidth must be a whole number of bytes a second, at least 0, not {value!r}")
    return value
