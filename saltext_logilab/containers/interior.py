"""
The way into a container: commands by the Engine's ``exec``, files by its archive calls.

The archive calls see the container's own file system and its volumes, but none of what is mounted by the kernel or from
within (``/proc``, a tmpfs on ``/run``): there files are read and written by programs inside. Of an archive only a
first, regular file is ever taken, as a stream and without a look at the name that it bears.
"""

from __future__ import annotations

import contextlib
import io
import posixpath
import secrets
import tarfile
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from saltext_logilab.containers import inside
from saltext_logilab.containers.client import Client, NoSuchContainerError
from saltext_logilab.errors import UnavailableError, WireError
from saltext_logilab.within import programs, transport
from saltext_logilab.within.transport import (
    DIRECTORY,
    FILE,
    LINK,
    OTHER,
    Command,
    Done,
    NoProgramError,
    NoSuchFileError,
    NotRunningError,
    Stat,
)

PIECE = 256 * 1024
MOST_BY_PROGRAM = 64 * 1024 * 1024
_KINDS = {tarfile.REGTYPE: FILE, tarfile.AREGTYPE: FILE, tarfile.DIRTYPE: DIRECTORY, tarfile.SYMTYPE: LINK}
_MOVERS = ("/bin/mv", "/usr/bin/mv")


class Interior:
    """The inside of one running container; what it asks the daemon goes over one connection, and the streams'."""

    def __init__(self, client: Client, container: str, limit: float = 0.0) -> None:
        """Take a container by its name or id; ``limit``: no command may run for longer, whatever it asks for."""
        self._client = client
        self._container = container
        self._limit = limit

    @property
    def label(self) -> str:
        """What it is, for a sentence."""
        return f"the container {self._container!r}"

    def run(self, command: Command) -> Done:
        """Run a command; as :meth:`.Transport.run`."""
        if self._limit and command.timeout > self._limit:
            command = replace(command, timeout=self._limit)
        return inside.run(self._client, self._container, command)

    def has(self, path: str) -> bool:
        """Say whether anything stands at a path that no mount hides; as :meth:`.Transport.has`."""
        return self._client.has_path(self._container, path)

    def stat(self, path: str) -> Stat | None:
        """Return what stands at a path; as :meth:`.Transport.stat`."""
        if self._is_hidden(path):
            return programs.stat(self.run, path)
        if self._is_podman and self._state.get("Running"):  # its archives tell no owner
            with contextlib.suppress(NoProgramError):
                return programs.stat(self.run, path)
        try:
            with self._first(path) as (member, _):
                mode, owner = member.mode & 0o7777, (member.uid, member.gid)
                kind = _KINDS.get(member.type, OTHER)
                return Stat(kind, member.size, mode, *owner, int(member.mtime), member.linkname)
        except NoSuchFileError:
            return None

    def stream(self, path: str) -> Iterator[bytes]:
        """Yield what a file holds; as :meth:`.Transport.stream`."""
        if self._is_hidden(path):
            yield programs.read(self.run, path, MOST_BY_PROGRAM)
            return
        for _ in range(16):
            with self._first(path) as (member, archive):
                if member.type != tarfile.SYMTYPE:
                    yield from self._pieces(path, member, archive)
                    return
                path = posixpath.normpath(posixpath.join(posixpath.dirname(path), member.linkname))
            if self._is_hidden(path):
                yield programs.read(self.run, path, MOST_BY_PROGRAM)
                return
        raise NoSuchFileError(f"{path} in {self.label} leads through too many links")

    def write(self, path: str, data: bytes, mode: int = 0o644, owner: tuple[int, int] = (0, 0)) -> None:
        """Put a file; as :meth:`.Transport.write`."""
        if not self._state.get("Running"):
            raise NotRunningError(f"{self.label} is not running")
        if self._is_hidden(path):
            programs.write(self.run, path, data, mode, owner)
            return
        folder, name = posixpath.split(path)
        part = f".{name[:100]}.{secrets.token_hex(6)}"
        if not self._has_mover:
            self._put(folder, packed(name, data, mode, owner))
            return
        self._put(folder, packed(part, data, mode, owner))
        if owner != (0, 0) and (made := self.stat(posixpath.join(folder, part))) and (made.uid, made.gid) != owner:
            told = Command(("chown", f"{owner[0]}:{owner[1]}", posixpath.join(folder, part)))  # Podman gives it to root
            transport.checked(self, told)
        if self.run(Command((self._has_mover, "-f", "--", posixpath.join(folder, part), path))).code:
            self.run(Command(("rm", "-f", "--", posixpath.join(folder, part))))
            programs.write(self.run, path, data, mode, owner)  # a file that is mounted there cannot be replaced

    @contextlib.contextmanager
    def _first(self, path: str) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
        """Give the first member of the archive of a path, and the archive, which stands at its data."""
        try:
            connection, response = self._client.get_archive(self._container, path)
        except NoSuchContainerError as err:
            self._client.inspect(self._container)  # says so when it is the container that is missing
            raise NoSuchFileError(f"there is no {path} in {self.label}") from err
        with contextlib.closing(connection):
            try:
                with tarfile.open(fileobj=response, mode="r|", bufsize=32 * 512) as archive:
                    member = archive.next()
                    if member is None:
                        raise WireError(f"the engine's archive of {path} in {self.label} is empty")
                    yield member, archive
            except (tarfile.TarError, EOFError, OSError) as err:
                raise WireError(f"the engine's archive of {path} in {self.label} is malformed: {err}") from err

    def _pieces(self, path: str, member: tarfile.TarInfo, archive: tarfile.TarFile) -> Iterator[bytes]:
        source = archive.extractfile(member) if member.isreg() else None
        if source is None:
            raise NoSuchFileError(f"{path} in {self.label} is no regular file")
        while piece := source.read(PIECE):
            yield piece

    def _put(self, folder: str, tar: bytes) -> None:
        if self._is_podman and not self.has(folder):  # it would make one
            raise NoSuchFileError(f"there is no folder {folder} in {self.label}")
        try:
            self._client.put_archive(self._container, folder, tar)
        except NoSuchContainerError as err:
            self._client.inspect(self._container)
            raise NoSuchFileError(f"there is no folder {folder} in {self.label}") from err

    @cached_property
    def _has_mover(self) -> str:
        return next((one for one in _MOVERS if self._client.has_path(self._container, one)), "")

    @cached_property
    def _is_podman(self) -> bool:
        return self._client.version().startswith("Podman")

    @cached_property
    def _told(self) -> dict[str, Any]:
        return self._client.inspect(self._container)

    @property
    def _state(self) -> dict[str, Any]:
        return dict(self._told.get("State") or {})

    @cached_property
    def _hidden(self) -> tuple[str, ...]:
        """The mounts that the archive calls do not see."""
        pid = int(self._state.get("Pid") or 0)
        seen = {str(one.get("Destination", "")) for one in self._told.get("Mounts") or () if one.get("Type") != "tmpfs"}
        try:
            lines = Path(f"/proc/{pid}/mountinfo").read_text(encoding="utf-8").splitlines() if pid else []
        except OSError as err:
            raise UnavailableError(f"the mounts of {self.label} cannot be read: {err.strerror}") from err
        found = {line.split()[4].encode().decode("unicode_escape") for line in lines}
        return tuple(sorted(found - seen - {"/"} - {"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"}))

    def _is_hidden(self, path: str) -> bool:
        return any(path == one or path.startswith(f"{one}/") for one in self._hidden)


def packed(name: str, data: bytes, mode: int, owner: tuple[int, int]) -> bytes:
    """Return a tar file of one file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(data), mode
        member.uid, member.gid = owner
        member.mtime = int(time.time())
        archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()
