"""
The lab directory: marked by ``lab.json``, changed by one command at a time, never confused with anything else.

::

    lab.json             what the lab consists of; written before anything starts, removed last
    keys/                the key pair that all masters share
    srv/salt srv/pillar  files and pillar of one's own, before those of the package
    paris/daemon.json    the daemon that was started: its token and its pid
    paris/etc/           its configuration
    paris/bin/           Salt's programs, bound to this configuration
    paris/root/          its keys, cache, log, sockets and state
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from saltext_logilab.errors import ConfigurationError, LogilabError, RefusedError, UnavailableError
from saltext_logilab.lab import configs, plan
from saltext_logilab.lab.plan import Plan

MARK = "lab.json"


class NoLabError(LogilabError):
    """There is no lab in the folder, which is absent or empty."""


def default_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of the lab when none is named: ``${XDG_STATE_HOME:-~/.local/state}/saltext-logilab/lab``."""
    base = environment.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "saltext-logilab" / "lab"


def read(folder: Path) -> Plan:
    """
    Return the plan of the lab in ``folder``.

    :raises NoLabError: the folder is absent or empty.
    :raises RefusedError: it holds something that is no lab.
    :raises ConfigurationError: its ``lab.json`` is damaged.
    """
    try:
        text = (folder / MARK).read_text()
    except NotADirectoryError as err:
        raise RefusedError(f"{folder} is no folder") from err
    except FileNotFoundError as err:
        if _is_empty(folder):
            raise NoLabError(f"there is no lab in {folder}: start one with `salt-lab up`") from err
        raise RefusedError(f"{folder} is not empty and no lab (it has no {MARK}): salt-lab does not touch it") from err
    except OSError as err:
        raise UnavailableError(f"the lab in {folder} cannot be read: {err.strerror}") from err
    try:
        return plan.from_json(json.loads(text))
    except (ValueError, ConfigurationError) as err:
        raise ConfigurationError(
            f"the lab in {folder} cannot be used: {MARK} is damaged or of another version"
        ) from err


def write(folder: Path, values: Plan) -> None:
    """Mark ``folder`` as the lab ``values``."""
    write_json(folder / MARK, plan.to_json(values))


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write ``values`` to ``path``: the file is the old one or the new one, whole, whatever happens."""
    new = path.with_name(f".{path.name}.new")
    with new.open("w") as file:
        json.dump(values, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


@contextmanager
def locked(folder: Path, *, create: bool = False) -> Iterator[None]:
    """
    Hold the lab in ``folder`` alone; the lock is on the folder itself, so that ``down`` leaves no lock file.

    :param create: make the folder when it is absent.
    :raises NoLabError: it is absent and not to be made.
    :raises RefusedError: another command holds it, or it is no folder.
    """
    try:
        if create:
            folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (NotADirectoryError, FileExistsError) as err:
        raise RefusedError(f"{folder} is no folder") from err
    except FileNotFoundError as err:
        raise NoLabError(f"there is no lab in {folder}: start one with `salt-lab up`") from err
    except OSError as err:
        raise UnavailableError(f"{folder} cannot be used: {err.strerror}") from err
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            raise RefusedError(f"another salt-lab is changing the lab in {folder}: wait until it is done") from err
        yield
    finally:
        os.close(descriptor)


def short_link(folder: Path, names: list[str], lab_id: str, *, shared: bool) -> str:
    """
    Return the path of a link to ``folder`` when sockets below it have too long paths for the kernel, else nothing.

    The daemons are then configured by way of the link. It is made by :func:`layout.lay_out`.

    :param shared: another user than this one must reach it.
    :raises ConfigurationError: no path is short enough.
    """
    if configs.fits(folder, names):
        return ""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    bases = [*([runtime] if runtime and not shared else []), tempfile.gettempdir(), "/tmp"]  # noqa: S108  # a name of its own
    for base in bases:
        short = Path(base) / f"salt-lab-{lab_id}"
        if Path(base).is_dir() and configs.fits(short, names):
            return str(short)
    raise ConfigurationError(f"the folder {folder} or the name {max(names, key=len)} is too long for Unix sockets")


def remove(folder: Path, values: Plan) -> None:
    """Remove the lab ``values`` from the disk; its mark goes last, so that a crash leaves what ``down`` knows."""
    if values.short:
        Path(values.short).unlink(missing_ok=True)
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != MARK:
            path.unlink()
    (folder / MARK).unlink()
    folder.rmdir()


def _is_empty(folder: Path) -> bool:
    try:
        return not {path.name for path in folder.iterdir()} - {f".{MARK}.new"}
    except FileNotFoundError:
        return True
