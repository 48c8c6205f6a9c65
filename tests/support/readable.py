"""A view of the machine in which every user can read what these tests run: this Python and this checkout."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

from tests.support.processes import program

ROOT = Path(__file__).resolve().parents[2]

# $1 is a folder that others cannot enter, the rest are folders below it: only these are seen through in its place.
_SHOW = """
set -e
closed=$1; shift
hold=$(mktemp -d); mount --bind "$closed" "$hold"
mount -t tmpfs -o mode=755 readable "$closed"
while [ "$1" != -- ]; do mkdir -p "$closed/$1"; mount --bind "$hold/$1" "$closed/$1"; shift; done
umount -l "$hold"; rmdir "$hold"; shift
exec "$@"
"""


def readable_by_all(*argv: str) -> list[str]:
    """
    Return the command that runs ``argv`` in a mount namespace where every user can enter the folders of this Python.

    A Python may be installed in root's home folder, which is closed to others. Nothing outside the namespace changes.
    """
    needed = [Path(sys.base_prefix).resolve(), Path(sys.prefix).resolve(), ROOT]
    closed = {top for path in needed for top in reversed(path.parents) if not top.stat().st_mode & stat.S_IXOTH}
    command = list(argv)
    for top in closed:
        below = [str(path.relative_to(top)) for path in needed if path.is_relative_to(top)]
        command = [program("sh", "dash"), "-c", _SHOW, "sh", str(top), *below, "--", *command]
    return [program("unshare", "util-linux"), "--mount", *command]
