"""
Where a pulled tree is put together, and how it takes the place of the one that is served.

Beside each root, on its file system, lies a folder of mode 0700: in ``parts`` the contents that have come, by their
digest, in ``new`` the tree that is built of them, in ``old`` the tree that was served before. Then root and ``new``
are exchanged in one step (renameat2(2)): a file server sees the one or the other. Before the first exchange of a pull
a note of all of them is written, so that a pull of several roots that is cut off in between is brought to its end.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from saltext_logilab import files
from saltext_logilab.errors import RefusedError, UnavailableError
from saltext_logilab.masters.files.manifest import Entry, Limits, difference
from saltext_logilab.masters.files.trees import PIECE, scan

NOTE = "switching.json"
RESERVE = 16 * 1024 * 1024  # bytes that stay free on the disk
_CURRENT_FOLDER = -100  # AT_FDCWD
_EXCHANGE = 2  # RENAME_EXCHANGE
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


class Stage:
    """The folder beside one root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root.parent / f".{root.name}.logilab-pull"
        self.parts, self.new, self.old = (self.folder / name for name in ("parts", "new", "old"))

    def prepare(self, needed: int) -> None:
        """
        Make the folders.

        :param needed: so many bytes will be written.
        :raises RefusedError: the root cannot be replaced as a whole, or there is no room.
        :raises UnavailableError: they cannot be made.
        """
        check_root(self.root)
        with _told(self.folder):
            self.folder.mkdir(mode=0o700, exist_ok=True)
            facts = self.folder.lstat()
            if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_mode & 0o077:
                raise RefusedError(f"{self.folder} is no folder that this master alone can use: remove it")
            self.parts.mkdir(mode=0o700, exist_ok=True)
            disk = os.statvfs(self.folder)
            free = disk.f_bavail * disk.f_frsize
        if needed + RESERVE > free:
            raise RefusedError(f"{needed} bytes have to be written beside {self.root}, and only {free} are free")

    def has(self, entry: Entry) -> bool:
        """Say whether the content of ``entry`` has come."""
        return self._part(entry).exists()

    def begun(self, entry: Entry) -> int:
        """Return how many bytes of ``entry`` have come, in this or an earlier pull."""
        try:
            size = self._unfinished(entry).stat().st_size
        except FileNotFoundError:
            return 0
        return size if size <= entry.size else 0

    def add(self, entry: Entry, offset: int, data: bytes) -> bool:
        """
        Add ``data`` at ``offset`` to the content of ``entry``; say whether it is whole now, and what it must be.

        :raises RefusedError: it is whole and not what was signed, or more than that.
        :raises UnavailableError: it cannot be written.
        """
        path = self._unfinished(entry)
        with _told(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "r+b") as file:
                file.truncate(offset)
                file.seek(offset)
                file.write(data)
                file.flush()
                if offset + len(data) < entry.size:
                    return False
                file.seek(0)
                right = offset + len(data) == entry.size and _digest_of(file) == entry.digest
            if not right:
                path.unlink()
                raise RefusedError(f"what has come of {entry.path} is not what was signed: it has changed meanwhile")
            path.rename(self._part(entry))
        return True

    def build(self, entries: Sequence[Entry], here: Mapping[bytes, str]) -> None:
        """
        Build the tree ``entries`` of what has come, and of what is here already.

        :param here: the paths below the root by the digest of what is in them.
        :raises RefusedError: what was built, read again, is something else: two names are one on this file system, or
            a file here has changed meanwhile.
        :raises UnavailableError: it cannot be written.
        """
        with _told(self.new):
            if self.new.exists():
                shutil.rmtree(self.new)
            like = self.root.stat()
            self._folder(self.new, like)
            linked: set[bytes] = set()
            for one in entries:
                self._place(one, here, linked, like)
            _settle(self.new)
        limits = Limits(len(entries) + 1, sum(one.size for one in entries) + 1)
        unlike = difference(scan(self.new, str(self.new), limits).entries, entries)
        if unlike:
            names = ", ".join((*unlike.add, *unlike.change, *unlike.remove)[:5])
            raise RefusedError(f"the new tree for {self.root} cannot be built as it was signed ({names})")

    def _place(self, entry: Entry, here: Mapping[bytes, str], linked: set[bytes], like: os.stat_result) -> None:
        path = self.new / entry.path
        missing = [one for one in path.parents if not one.exists()]
        for folder in reversed(missing):
            self._folder(folder, like)
        if entry.is_folder:
            self._folder(path, like)
            return
        known = entry.digest in here
        source = self.root / here[entry.digest] if known else self._part(entry)
        if not known and entry.digest not in linked:
            linked.add(entry.digest)
            os.link(source, path, follow_symlinks=False)
        else:
            with source.open("rb") as old, os.fdopen(os.open(path, _NEW_FILE, 0o600), "wb") as new:
                shutil.copyfileobj(old, new, PIECE)
            if known and here[entry.digest] == entry.path:  # so that caches of its hash stay good
                facts = source.stat()
                os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
        path.chmod(entry.mode)
        if os.geteuid() == 0:
            os.chown(path, like.st_uid, like.st_gid)

    @staticmethod
    def _folder(path: Path, like: os.stat_result) -> None:
        path.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(path, like.st_uid, like.st_gid)
        path.chmod(stat.S_IMODE(like.st_mode))

    def clean(self) -> None:
        """Remove what has come and what was built, but not what was served before."""
        for path in (self.parts, self.new):
            shutil.rmtree(path, ignore_errors=True)
        with contextlib.suppress(OSError):  # what was served before lies in it
            self.folder.rmdir()

    def _part(self, entry: Entry) -> Path:
        return self.parts / entry.digest.hex()

    def _unfinished(self, entry: Entry) -> Path:
        return self.parts / f"{entry.digest.hex()}.part"


def check_root(root: Path) -> None:
    """:raises RefusedError: ``root`` is no folder that can be replaced as a whole."""
    if root.is_symlink():
        raise RefusedError(f"{root} is a symbolic link: name the folder itself in the configuration")
    if not root.is_dir():
        raise RefusedError(f"{root} is no folder: make it, empty")
    if root.is_mount():
        raise RefusedError(f"{root} is a mount point and cannot be replaced as a whole: serve a folder in it")


# -- the exchange ------------------------------------------------------------------------------------------------------


def switch(folder: Path, staged: Iterable[Path]) -> None:
    """
    Let each tree of ``staged`` (``new`` or ``old`` of a stage) take the place of its root; the other becomes ``old``.

    :param folder: where the note of it is kept.
    :raises UnavailableError: it cannot be done; what was begun is brought to its end by :func:`finish`.
    """
    pairs = [[str(_root(one)), one.stat().st_ino] for one in staged]
    files.replace(folder / NOTE, json.dumps(pairs))
    finish(folder)


def finish(folder: Path) -> int:
    """
    Bring to its end what a :func:`switch` has begun that was cut off; return the number of roots.

    :raises UnavailableError: a tree cannot be exchanged.
    """
    told = files.read(folder / NOTE)
    if told is None:
        return 0
    try:
        pairs = [(Stage(Path(root)), int(number)) for root, number in json.loads(told)]
    except (ValueError, TypeError) as err:
        raise UnavailableError(f"{folder / NOTE} is damaged: look at the roots, then remove it") from err
    for stage, number in pairs:
        with _told(stage.root):
            staged = next((one for one in (stage.new, stage.old) if _inode(one) == number), None)
            if staged:
                _exchange(staged, stage.root)
            if _inode(stage.root) == number and stage.new.exists():
                shutil.rmtree(stage.old, ignore_errors=True)
                stage.new.rename(stage.old)
    (folder / NOTE).unlink()
    return len(pairs)


def _root(staged: Path) -> Path:
    folder = staged.parent
    return folder.parent / folder.name[1 : -len(".logilab-pull")]


def _inode(path: Path) -> int:
    try:
        return path.lstat().st_ino
    except FileNotFoundError:
        return 0


def _exchange(one: Path, other: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    rename = getattr(libc, "renameat2", None)
    if rename is None:
        raise UnavailableError("the C library of this system has no renameat2: two folders cannot be exchanged")
    if rename(_CURRENT_FOLDER, os.fsencode(one), _CURRENT_FOLDER, os.fsencode(other), _EXCHANGE):
        number = ctypes.get_errno()
        raise OSError(number, f"{os.strerror(number)} (it was to be exchanged with {one})", str(other))


def _settle(folder: Path) -> None:
    """Have all that was written below ``folder`` on the disk."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if libc.syncfs(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(descriptor)


def _digest_of(file: object) -> bytes:
    content = hashlib.sha256()
    while piece := file.read(PIECE):  # type: ignore[attr-defined]
        content.update(piece)
    return content.digest()


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as err:
        raise UnavailableError(f"{err.filename or path} cannot be written: {err.strerror}") from err
