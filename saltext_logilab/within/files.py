"""
Files inside, by what a transport can do and the few programs that every userland has.

Paths are absolute and mean what they mean inside; no path of this host is ever made of one.
"""

from __future__ import annotations

import hashlib
import posixpath

from saltext_logilab.errors import ConfigurationError, UnavailableError
from saltext_logilab.within import transport
from saltext_logilab.within.transport import DIRECTORY, FILE, LINK, Command, NoSuchFileError, Stat, Transport

ALGORITHMS = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")
LINKS = 16


def checked_path(path: object) -> str:
    """
    Return a path in its plain form.

    :raises ConfigurationError: it is not absolute, or no path at all.
    """
    if not isinstance(path, str) or not path.startswith("/") or "\0" in path or "\n" in path:
        raise ConfigurationError(f"{path!r} is no absolute path")
    return posixpath.normpath(path).replace("//", "/")


def stat(inside: Transport, path: str, follow: bool = True) -> Stat | None:
    """
    Return what stands at a path, by default at the end of its links; None when nothing does.

    :raises UnavailableError: the links go round in a circle.
    """
    path = checked_path(path)
    for _ in range(LINKS):
        found = inside.stat(path)
        if found is None or not follow or found.kind != LINK:
            return found
        path = checked_path(posixpath.join(posixpath.dirname(path), found.target))
    raise UnavailableError(f"{path} in {inside.label} leads through too many links")


def is_file(inside: Transport, path: str) -> bool:
    """Say whether a regular file stands at a path."""
    found = stat(inside, path)
    return found is not None and found.kind == FILE


def is_directory(inside: Transport, path: str) -> bool:
    """Say whether a folder stands at a path."""
    found = stat(inside, path)
    return found is not None and found.kind == DIRECTORY


def digest(inside: Transport, path: str, algorithm: str = "sha256") -> str:
    """
    Return the hash of what a file holds, of any size.

    :raises NoSuchFileError: there is no such file.
    :raises ConfigurationError: the algorithm is unknown.
    """
    if algorithm not in ALGORITHMS:
        raise ConfigurationError(f"{algorithm!r} is none of {', '.join(ALGORITHMS)}")
    found = hashlib.new(algorithm, usedforsecurity=False)
    for piece in inside.stream(checked_path(path)):
        found.update(piece)
    return found.hexdigest()


def real(inside: Transport, path: str) -> str:
    """Return the path at the end of the links that stand at it: what a writer must replace."""
    path = checked_path(path)
    for _ in range(LINKS):
        found = inside.stat(path)
        if found is None or found.kind != LINK:
            return path
        path = checked_path(posixpath.join(posixpath.dirname(path), found.target))
    raise UnavailableError(f"{path} in {inside.label} leads through too many links")


def write(inside: Transport, path: str, data: bytes, mode: int | None = None, folders: bool = False) -> None:
    """
    Write a file whole; one that is there keeps its owner, and its mode unless ``mode`` is told.

    :raises NoSuchFileError: there is no such folder and ``folders`` does not ask for it.
    """
    path = real(inside, path)
    was = inside.stat(path)
    if was is not None and was.kind != FILE:
        raise ConfigurationError(f"{path} in {inside.label} is no regular file")
    if folders and was is None and not is_directory(inside, posixpath.dirname(path)):
        make_folder(inside, posixpath.dirname(path))
    kept = was or Stat(FILE, 0, 0o644, 0, 0, 0)
    inside.write(path, data, kept.mode if mode is None else mode, (kept.uid, kept.gid))


def append(inside: Transport, path: str, data: bytes) -> None:
    """Write ``data`` at the end of a file, which need not be there."""
    was = transport.read(inside, checked_path(path), 64 * transport.MOST) if is_file(inside, path) else b""
    if was and not was.endswith(b"\n"):
        was += b"\n"
    write(inside, path, was + data)


def make_folder(inside: Transport, path: str, mode: int | None = None) -> None:
    """Make a folder and those above it."""
    told = ("-m", f"{mode:04o}") if mode is not None else ()
    transport.checked(inside, Command(("mkdir", "-p", *told, "--", checked_path(path))))


def remove(inside: Transport, path: str) -> bool:
    """
    Remove a file, or a folder with all in it; return whether there was anything.

    :raises ConfigurationError: it is the root, or one of the folders that a system cannot be without.
    """
    path = checked_path(path)
    if path in ("/", "/bin", "/dev", "/etc", "/lib", "/proc", "/sbin", "/sys", "/usr", "/var"):
        raise ConfigurationError(f"{path} is not removed")
    if inside.stat(path) is None:
        return False
    transport.checked(inside, Command(("rm", "-rf", "--", path)))
    return True


def set_mode(inside: Transport, path: str, mode: int) -> None:
    """Set the permissions of a file or folder."""
    transport.checked(inside, Command(("chmod", f"{mode:04o}", "--", checked_path(path))))


def set_owner(inside: Transport, path: str, user: str, group: str) -> None:
    """Set the owner and the group, by name or number; an empty one stays."""
    told = f"{user}:{group}" if group else user
    if told:
        transport.checked(inside, Command(("chown", "-h", "--", told, checked_path(path))))


def link(inside: Transport, path: str, target: str) -> None:
    """Make a symbolic link in the place of another, or where nothing stands."""
    transport.checked(inside, Command(("ln", "-sfn", "--", str(target), checked_path(path))))


def listing(inside: Transport, path: str) -> list[str]:
    """
    Return the names in a folder, sorted.

    :raises NoSuchFileError: there is no such folder.
    """
    if not is_directory(inside, path):
        raise NoSuchFileError(f"{inside.label} has no folder {path}")
    return sorted(transport.checked(inside, Command(("ls", "-1A", "--", checked_path(path)))).splitlines())


def identity(inside: Transport, name: str, database: str = "/etc/passwd") -> int | None:
    """Return the number of a user, or of a group of ``/etc/group``; None when there is none of that name."""
    if str(name).isdigit():
        return int(name)
    return _names(inside, database).get(str(name))


def owner_name(inside: Transport, number: int, database: str = "/etc/passwd") -> str:
    """Return the name of a user or group by its number; the number where it has none."""
    return next((name for name, one in _names(inside, database).items() if one == number), str(number))


def _names(inside: Transport, database: str) -> dict[str, int]:
    try:
        text = transport.read(inside, database).decode(errors="replace")
    except NoSuchFileError:
        return {}
    rows = (line.split(":") for line in text.splitlines())
    return {row[0]: int(row[2]) for row in rows if len(row) > 2 and row[2].isdigit()}
