"""
What states make sure of inside, each as one function: the facts, the difference, and, unless it is a test, the change.

Each returns an :class:`Outcome` with the changes that were made or would be, as Salt's own states tell them.
"""

from __future__ import annotations

import difflib
import posixpath
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from saltext_logilab.errors import ConfigurationError
from saltext_logilab.within import files, transport
from saltext_logilab.within.transport import DIRECTORY, FILE, LINK, SHELL, Command, NoSuchFileError, Stat, Transport

MOST = 64 * transport.MOST
MOST_SHOWN = 65536


@dataclass(frozen=True)
class Outcome:
    """What has changed, or would, and a sentence; ``is_right`` False: it cannot be so."""

    comment: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    is_right: bool = True


@dataclass(frozen=True)
class Wanted:
    """A file as it should be; None: as it is."""

    data: bytes | None
    mode: int | None = None
    user: str | None = None
    group: str | None = None
    replace: bool = True
    create: bool = True
    shown: bool = True


@dataclass(frozen=True)
class Place:
    """Where a file goes: whether folders are made, with which mode, and the command that checks it before."""

    folders: bool = False
    folder_mode: int | None = None
    check: str | None = None


def mode(told: object) -> int | None:
    """
    Return the permissions that a state tells: ``"0644"``, or the number that YAML makes of ``0644``.

    :raises ConfigurationError: it is none.
    """
    if told is None or told == "":
        return None
    if told == "keep":
        raise ConfigurationError("mode: keep is not to be had without a Python inside")
    try:
        return int(str(told), 8)
    except ValueError as err:
        raise ConfigurationError(f"{told!r} is no mode") from err


def text(told: Any, newline: bool) -> bytes:
    """Return the bytes of ``contents``, ``text``: a text, or a list of lines."""
    if isinstance(told, bytes):
        return told
    whole = "\n".join(map(str, told)) if isinstance(told, list | tuple) else str(told)
    return (whole if not newline or not whole or whole.endswith("\n") else f"{whole}\n").encode()


def file(inside: Transport, path: str, wanted: Wanted, place: Place, is_test: bool) -> Outcome:
    """Make sure of a file's contents, owner and mode."""
    path = files.checked_path(path)
    was = files.stat(inside, path)
    if was is not None and was.kind != FILE:
        return Outcome(f"{path} is no regular file", is_right=False)
    if was is None and (wanted.data is None or not wanted.create):
        return Outcome(f"there is no {path}", is_right=wanted.data is not None)
    data = None if was and not wanted.replace else wanted.data
    old = transport.read(inside, path, MOST) if was and data is not None else b""
    owner, changes = _owner(inside, was, wanted.user, wanted.group)
    if data is not None and (was is None or data != old):
        changes = {"diff": _diff(old, data, was is None, wanted.shown), **changes}
    if wanted.mode is not None and was and was.mode != wanted.mode:
        changes["mode"] = f"{wanted.mode:04o}"
    if not changes:
        return Outcome(f"{path} is in the correct state")
    if is_test:
        return Outcome(f"{path} would be changed", changes)
    bits = wanted.mode if wanted.mode is not None else was.mode if was else 0o644
    body = data if data is not None else transport.read(inside, path, MOST)
    return _put(inside, path, (body, bits, owner), place) or Outcome(f"{path} was written", changes)


def _put(inside: Transport, path: str, what: tuple[bytes, int, tuple[int, int]], place: Place) -> Outcome | None:
    """Write a file, once its check has passed; return what is wrong, or None."""
    folder = posixpath.dirname(path)
    if not files.is_directory(inside, folder):
        if not place.folders:
            return Outcome(f"there is no folder {folder}", is_right=False)
        files.make_folder(inside, folder, place.folder_mode)
    body, bits, owner = what
    if place.check:
        trial = posixpath.join(folder, f".{posixpath.basename(path)}.{secrets.token_hex(4)}")
        inside.write(trial, body, bits, owner)
        try:
            done = inside.run(Command((SHELL, "-c", f"{place.check} {trial}")))
        finally:
            files.remove(inside, trial)
        if done.code != 0:
            return Outcome(
                f"check_cmd execution failed\n{done.text}\n{done.stderr.decode(errors='replace')}", {}, False
            )
    inside.write(files.real(inside, path), body, bits, owner)
    return None


def _owner(
    inside: Transport, was: Stat | None, user: str | None, group: str | None
) -> tuple[tuple[int, int], dict[str, Any]]:
    changes, found = {}, []
    for name, told, database, now in (
        ("user", user, "/etc/passwd", was.uid if was else 0),
        ("group", group, "/etc/group", was.gid if was else 0),
    ):
        number = files.identity(inside, str(told), database) if told not in (None, "") else now
        if number is None:
            raise NoSuchFileError(f"{inside.label} has no {name} {told!r}")
        if was and number != now:
            changes[name] = str(told)
        found.append(number)
    return (found[0], found[1]), changes


def _diff(old: bytes, new: bytes, is_new: bool, shown: bool) -> str:
    if is_new:
        return "New file"
    if not shown:
        return "<show_changes=False>"
    if b"\0" in old + new or len(old) + len(new) > MOST_SHOWN:
        return "Replace binary or large file"
    before, after = (part.decode(errors="replace").splitlines(keepends=True) for part in (old, new))
    return "".join(difflib.unified_diff(before, after))


def folder(
    inside: Transport, path: str, wanted: tuple[str | None, str | None, int | None], folders: bool, is_test: bool
) -> Outcome:
    """Make sure of a folder, its owner and its mode."""
    path = files.checked_path(path)
    user, group, bits = wanted
    was = files.stat(inside, path)
    if was is not None and was.kind != DIRECTORY:
        return Outcome(f"{path} is no folder", is_right=False)
    if was is None and not folders and not files.is_directory(inside, posixpath.dirname(path)):
        return Outcome(f"there is no folder {posixpath.dirname(path)}", is_right=False)
    _, changes = _owner(inside, was, user, group)
    if was is None:
        changes = {path: "new directory"}
    elif bits is not None and was.mode != bits:
        changes["mode"] = f"{bits:04o}"
    if not changes:
        return Outcome(f"{path} is in the correct state")
    if is_test:
        return Outcome(f"{path} would be changed", changes)
    if was is None:
        files.make_folder(inside, path)
    files.set_owner(inside, path, str(user or ""), str(group or ""))
    if bits is not None:
        files.set_mode(inside, path, bits)
    return Outcome(f"{path} was changed", changes)


def nothing(inside: Transport, path: str, is_test: bool) -> Outcome:
    """Make sure that nothing stands at a path."""
    path = files.checked_path(path)
    if inside.stat(path) is None:
        return Outcome(f"{path} is not present")
    if not is_test:
        files.remove(inside, path)
    return Outcome(f"{path} {'would be' if is_test else 'was'} removed", {"removed": path})


def link(inside: Transport, path: str, target: str, how: tuple[bool, bool], is_test: bool) -> Outcome:
    """Make sure of a symbolic link; ``how``: whether it takes the place of something else, whether folders are made."""
    path, (force, folders) = files.checked_path(path), how
    was = inside.stat(path)
    if was and was.kind == LINK and was.target == target:
        return Outcome(f"{path} leads to {target}")
    if was and was.kind != LINK and (not force or was.kind == DIRECTORY):
        return Outcome(f"{path} is no link and stays", is_right=False)
    changes = {"new": {path: target}, **({"old": {path: was.target or was.kind}} if was else {})}
    if is_test:
        return Outcome(f"{path} would lead to {target}", changes)
    if folders:
        files.make_folder(inside, posixpath.dirname(path))
    files.link(inside, path, target)
    return Outcome(f"{path} leads to {target}", changes)


def lines(inside: Transport, path: str, wanted: bytes, folders: bool, is_test: bool) -> Outcome:
    """Make sure that a file has certain lines, at its end where they are missing."""
    path = files.checked_path(path)
    old = transport.read(inside, path, MOST) if files.is_file(inside, path) else b""
    known = set(old.splitlines())
    missing = [one for one in wanted.splitlines() if one not in known]
    if not missing:
        return Outcome(f"{path} has the lines")
    changes = {"diff": "".join(f"+{one.decode(errors='replace')}\n" for one in missing)}
    if not is_test:
        new = (old if not old or old.endswith(b"\n") else old + b"\n") + b"".join(one + b"\n" for one in missing)
        files.write(inside, path, new, folders=folders)
    return Outcome(f"{len(missing)} lines {'would be' if is_test else 'were'} appended to {path}", changes)


def presence(inside: Transport, path: str, wanted: bool) -> Outcome:
    """Look whether something stands at a path."""
    found = inside.stat(files.checked_path(path)) is not None
    return Outcome(f"{path} is {'there' if found else 'not there'}", is_right=found is wanted)


def packages(before: Mapping[str, str], wanted: Mapping[str, str], present: bool) -> list[Any]:
    """Return which of the wanted packages are to be installed, or with ``present`` False to be removed."""
    if not present:
        return [name for name in wanted if name in before]
    found: list[Any] = []
    for name, version in wanted.items():
        if name not in before or (version and before[name] != version):
            found.append({name: version} if version else name)
    return found
