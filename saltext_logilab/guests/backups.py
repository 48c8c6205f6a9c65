"""
The backups in a pool: beside the images of each lies a manifest, so a pool tells by itself what is in it.

A manifest says what a restore needs: the guest's definition, the images with their formats, and the backup that an
incremental one stands on. It appears when its backup is whole. Which backups may go is a pure decision.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from saltext_logilab.errors import LogilabError, RefusedError, UnavailableError, WireError

FORMAT = 1
SUFFIX = ".backup.json"
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*\.qcow2")
_TASK = re.compile(r"[0-9]{8}T[0-9]{6}-[0-9a-f]{8}")


@dataclass(frozen=True)
class Backup:
    """
    A backup that is whole.

    :param task: the id of the task that has made it, which is its name.
    :param at: the moment that it holds, in Unix time.
    :param definition: the guest's XML, without passwords.
    :param images: for each disk the name of its image, a qcow2 volume of the pool.
    :param checkpoint: the guest's checkpoint of that moment, or None.
    :param base: the backup from which it holds the difference only, or None for a full one.
    :param verified: when it was last seen to start, in Unix time, or None.
    """

    task: str
    guest: str
    uuid: str
    at: float
    definition: str
    images: Mapping[str, str]
    checkpoint: str | None = None
    base: str | None = None
    verified: float | None = None

    @property
    def file(self) -> str:
        """The name of its manifest."""
        return f"{self.guest}-{self.task}{SUFFIX}"


def read(text: str) -> Backup:
    """
    Return the backup that the manifest ``text`` tells of.

    :raises WireError: it is none, or names a file outside of its folder.
    """
    try:
        told = json.loads(text)
        if told.pop("format") != FORMAT:
            raise ValueError("another format")
        backup = Backup(**told)
        names = [*backup.images.values()]
        wrong = [name for name in names if not _IMAGE.fullmatch(name)]
        wrong += [name for name in (backup.task, backup.base or backup.task) if not _TASK.fullmatch(name)]
        float(backup.at)
        if wrong or not isinstance(backup.guest, str) or not isinstance(backup.definition, str):
            raise ValueError(f"{wrong or backup.guest!r:.100}")
    except (ValueError, TypeError, KeyError, AttributeError) as err:
        raise WireError(f"no manifest of a backup: {type(err).__name__}: {err}") from err
    return backup


def all_in(folder: Path) -> dict[str, Backup]:
    """
    Return the backups in ``folder`` by their task, the oldest first.

    :raises UnavailableError: a manifest cannot be read.
    :raises WireError: a manifest is none.
    """
    found = []
    try:
        for path in folder.glob(f"*{SUFFIX}"):
            found.append(_from(path))
    except OSError as err:
        raise UnavailableError(f"the backups in {folder} cannot be read: {err.strerror}") from err
    return {one.task: one for one in sorted(found, key=lambda one: (one.at, one.task))}


def _from(path: Path) -> Backup:
    try:
        return read(path.read_text(encoding="utf-8"))
    except WireError as err:
        raise WireError(f"{path}: {err}") from err


def draft(folder: Path, backup: Backup) -> None:
    """Write what :func:`publish` makes visible; :raises UnavailableError: it cannot be written."""
    _write(_draft(folder, backup.guest, backup.task), backup)


def publish(folder: Path, guest: str, task: str) -> None:
    """Let a backup appear that was drafted; again and again, if need be."""
    path = _draft(folder, guest, task)
    try:
        path.rename(folder / f"{guest}-{task}{SUFFIX}")
    except FileNotFoundError:
        if not (folder / f"{guest}-{task}{SUFFIX}").exists():
            raise UnavailableError(f"the manifest of {task} is gone from {folder}") from None


def discard(folder: Path, guest: str, task: str) -> None:
    """Remove the draft of a backup that did not become whole; it may not be there."""
    _draft(folder, guest, task).unlink(missing_ok=True)


def rewrite(folder: Path, backup: Backup) -> None:
    """Write the manifest of ``backup`` anew; the old one or the new one is there at any time."""
    path = _draft(folder, backup.guest, backup.task)
    _write(path, backup)
    path.rename(folder / backup.file)


def _draft(folder: Path, guest: str, task: str) -> Path:
    return folder / f".{guest}-{task}{SUFFIX}.draft"


def _write(path: Path, backup: Backup) -> None:
    text = json.dumps({"format": FORMAT, **asdict(backup)}, indent=1)
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:  # noqa: PTH123
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as err:
        raise UnavailableError(f"the manifest {path} cannot be written: {err.strerror}") from err


def chain(known: Mapping[str, Backup], task: str) -> list[Backup]:
    """
    Return the backup ``task`` and those that it stands on, the full one last.

    :raises LogilabError: there is no such backup.
    :raises RefusedError: one that it stands on is gone.
    """
    if task not in known:
        raise LogilabError(f"there is no backup {task!r} (there are {', '.join(known) or 'none'})")
    found = [known[task]]
    while (base := found[-1].base) is not None:
        if base not in known or known[base] in found:
            raise RefusedError(f"the backup {task} stands on {base}, which is gone")
        found.append(known[base])
    return found


def surplus(known: Iterable[Backup], keep: int, busy: Collection[str] = ()) -> list[Backup]:
    """
    Return the backups of one guest that may go when ``keep`` of them shall stay, the newest first.

    The newest stay, with all that they stand on; so do those in ``busy``, with which a task is at work.
    """
    newest = sorted(known, key=lambda one: (one.at, one.task), reverse=True)
    by_task = {one.task: one for one in newest}
    needed: set[str] = set()
    for one in [*newest[:keep], *(by_task[task] for task in busy if task in by_task)]:
        task: str | None = one.task
        while task is not None and task not in needed:
            needed.add(task)
            task = by_task[task].base if task in by_task else None
    return [one for one in newest if one.task not in needed]


def latest_checkpoint(known: Iterable[Backup], present: Collection[str]) -> Backup | None:
    """Return the newest backup from whose checkpoint the guest can go on; None where it has to be a full one."""
    newest: Sequence[Backup] = sorted(known, key=lambda one: (one.at, one.task), reverse=True)
    return next((one for one in newest if one.checkpoint in present), None)


def plain(backup: Backup) -> dict[str, Any]:
    """Return what people want to know of a backup."""
    told = asdict(backup)
    del told["definition"]
    return {**told, "full": backup.base is None}
