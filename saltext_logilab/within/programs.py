"""
Files by programs inside, for where a transport has no way of its own: ``stat``, ``cat``, ``mv``, as every userland has.

Each function takes the transport's own ``run``.
"""

from __future__ import annotations

import posixpath
import secrets
import stat as modes
from collections.abc import Callable

from saltext_logilab.errors import UnavailableError, WireError
from saltext_logilab.within.transport import (
    DIRECTORY,
    FILE,
    LINK,
    OTHER,
    Command,
    Done,
    NoProgramError,
    NoSuchFileError,
    Stat,
)

Run = Callable[[Command], Done]
FORMAT = "%f %s %u %g %Y"  # the mode in hexadecimal, size, owner, group, time of change: GNU and busybox
MISSING = (126, 127)
_REPLACE = 'umask 077 && cat >"$1" && chmod "$2" "$1" && chown "$3" "$1" && mv -f "$1" "$0"'
_OVERWRITE = 'cat >"$0" && chmod "$1" "$0"'


def stat(run: Run, path: str) -> Stat | None:
    """
    Return what stands at a path; None when nothing does.

    :raises NoProgramError: there is no ``stat`` inside.
    :raises WireError: what it says is malformed.
    """
    done = run(Command(("stat", "-c", FORMAT, "--", path), most_bytes=4096))
    if done.code in MISSING:
        raise NoProgramError(f"there is no stat inside, which {path} needs")
    if done.code:
        return None
    try:
        mode, size, uid, gid, mtime = done.text.split()
        bits = int(mode, 16)
        found = Stat(kind(bits), int(size), modes.S_IMODE(bits), int(uid), int(gid), int(mtime))
    except ValueError as err:
        raise WireError(f"what stat says of {path} is malformed: {done.text[:80]!r}") from err
    if found.kind != LINK:
        return found
    target = run(Command(("readlink", "--", path), most_bytes=8192)).text.rstrip("\n")
    return Stat(LINK, found.size, found.mode, found.uid, found.gid, found.mtime, target)


def kind(bits: int) -> str:
    """Return what a file is by its ``st_mode``."""
    if modes.S_ISREG(bits):
        return FILE
    if modes.S_ISDIR(bits):
        return DIRECTORY
    return LINK if modes.S_ISLNK(bits) else OTHER


def read(run: Run, path: str, most_bytes: int) -> bytes:
    """
    Return what a regular file holds.

    :raises NoSuchFileError: there is none.
    :raises UnavailableError: it holds more than ``most_bytes``, or cannot be read.
    """
    done = run(Command(("cat", "--", path), most_bytes=most_bytes, timeout=600))
    if done.code in MISSING:
        raise NoProgramError(f"there is no cat inside, which {path} needs")
    if done.code:
        raise NoSuchFileError(f"{path} cannot be read inside: {done.complaint}")
    if done.is_cut:
        raise UnavailableError(f"{path} holds more than {most_bytes} bytes")
    return done.stdout


def write(run: Run, path: str, data: bytes, mode: int, owner: tuple[int, int]) -> None:
    """
    Put a file in the place of another, whole or not at all; one that is mounted there is written over.

    :raises NoSuchFileError: there is no such folder.
    :raises NoProgramError: there is no shell inside.
    """
    folder, name = posixpath.split(path)
    part = posixpath.join(folder, f".{name[:100]}.{secrets.token_hex(6)}")
    told = (part, f"{mode:04o}", f"{owner[0]}:{owner[1]}")
    done = run(Command(("/bin/sh", "-c", _REPLACE, path, *told), stdin=data, timeout=600))
    if done.code in MISSING:
        raise NoProgramError(f"there is no shell inside, which {path} needs")
    if not done.code:
        return
    run(Command(("rm", "-f", "--", part)))
    if stat(run, folder) is None:
        raise NoSuchFileError(f"there is no folder {folder} inside")
    again = run(Command(("/bin/sh", "-c", _OVERWRITE, path, f"{mode:04o}"), stdin=data, timeout=600))
    if again.code != 0:
        raise UnavailableError(f"{path} cannot be written inside: {again.complaint}")
