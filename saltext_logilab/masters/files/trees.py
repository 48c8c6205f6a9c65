"""What stands in a root: its files with their digests, as a file server shows them, and what has changed since."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from saltext_logilab.errors import UnavailableError
from saltext_logilab.masters.files.manifest import MODE, Entry, Limits, unfit

WORKING_COPIES = frozenset({".git", ".hg", ".svn", ".bzr", "CVS"})
PIECE = 1024 * 1024
SHOWN = 20


@dataclass
class Tree:
    """
    What stands in a root.

    :param entries: the files and the empty folders, by path. A symbolic link stands as what it leads to, as Salt's
        file server shows it.
    :param left_out: what is neither, with the reason; no more than some.
    :param links: how many symbolic links there are.
    :param copies: the folders of version control systems.
    """

    root: Path
    entries: list[Entry] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    links: int = 0
    copies: list[str] = field(default_factory=list)

    def contents(self) -> dict[bytes, str]:
        """Return the path of a file with each content."""
        return {one.digest: one.path for one in self.entries if one.digest}


def scan(root: Path, name: str, limits: Limits, ignored: Callable[[str], bool] = lambda _path: False) -> Tree:
    """
    Read the tree in ``root``.

    :param name: what it is called in errors.
    :param ignored: says whether a path below the root is not served.
    :raises RefusedError: it is larger than ``limits``.
    :raises UnavailableError: something cannot be read.
    """
    found = Tree(root)
    size = 0
    try:
        for entry in _walk(found, root, "", frozenset(), ignored):
            size += entry.size
            found.entries.append(entry)
            limits.check(name, len(found.entries), size)
    except OSError as err:
        raise UnavailableError(f"{name}: {err.filename or root} cannot be read: {err.strerror}") from err
    found.entries.sort(key=lambda one: one.path)
    return found


def _walk(
    tree: Tree, folder: Path, above: str, within: frozenset[tuple[int, int]], ignored: Callable[[str], bool]
) -> Iterator[Entry]:
    """Yield what stands below ``folder``; ``within`` are the folders that lead there, so that no link leads round."""
    facts = folder.stat()
    here = (facts.st_dev, facts.st_ino)
    if here in within:
        _leave_out(tree, above, "a link leads round in a circle")
        return
    empty = True
    for one in sorted(os.scandir(folder), key=lambda one: one.name):
        path = f"{above}/{one.name}" if above else one.name
        empty = False
        if one.name in WORKING_COPIES:
            tree.copies.append(path)
        elif reason := unfit(path):
            _leave_out(tree, repr(path)[1:-1], f"its name {reason}")
        elif not ignored(path):
            yield from _read(tree, one, path, within | {here}, ignored)
    if empty and above:
        yield Entry(above, 0, b"", 0)


def _read(
    tree: Tree,
    one: os.DirEntry[str],
    path: str,
    within: frozenset[tuple[int, int]],
    ignored: Callable[[str], bool],
) -> Iterator[Entry]:
    tree.links += one.is_symlink()
    if one.is_dir():
        yield from _walk(tree, Path(one.path), path, within, ignored)
    elif one.is_file():
        yield _entry(Path(one.path), path)
    elif one.is_symlink() and not os.path.exists(one.path):  # noqa: PTH110 - a DirEntry
        _leave_out(tree, path, "the link leads nowhere")
    else:
        _leave_out(tree, path, "it is neither a file nor a folder")


def _entry(file: Path, path: str) -> Entry:
    content, size = hashlib.sha256(), 0
    with file.open("rb") as opened:
        mode = os.fstat(opened.fileno()).st_mode
        while piece := opened.read(PIECE):
            content.update(piece)
            size += len(piece)
    return Entry(path, size, content.digest(), stat.S_IMODE(mode) & MODE)


def _leave_out(tree: Tree, path: str, reason: str) -> None:
    if len(tree.left_out) < SHOWN:
        tree.left_out.append(f"{path}: {reason}")


def stamp(root: Path) -> bytes:
    """Return what changes when anything below ``root`` does: a look at inodes, not at contents."""
    seen = hashlib.sha256()
    for folder, names, files in os.walk(root):
        names.sort()
        for name in sorted([*files, *names]):
            facts = os.lstat(os.path.join(folder, name))  # noqa: PTH118 - names that are no text, too
            told = (name, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
            seen.update(repr(told).encode("utf-8", "surrogateescape"))
    return seen.digest()
