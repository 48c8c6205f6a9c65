"""What qemu-img says of images, and what may be read: no file outside of all pools that an image names by itself."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from saltext_logilab.errors import RefusedError
from saltext_logilab.guests import storage
from saltext_logilab.guests.connection import Connection


def info(path: Path, kind: str = "qcow2") -> dict[str, Any]:
    """
    Return what qemu-img says of the image ``path`` of the format ``kind``.

    :raises RefusedError: it is gone, or of another format.
    """
    words = ["qemu-img", "info", "-U", "-f", kind, "--output=json", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RefusedError(f"the image {path} cannot be used: {done.stderr.strip()}")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def alone(path: Path) -> dict[str, Any]:
    """
    Return what :func:`info` says of a qcow2 image that stands on no other.

    :raises RefusedError: it names a file of its own choice.
    """
    told = info(path)
    if "backing-filename" in told or told["format-specific"]["data"].get("data-file"):
        raise RefusedError(f"the image {path} stands on another file, which its manifest does not say")
    return told


def in_pools(link: Connection, path: Path, kind: str) -> int:
    """
    Return how many bytes the image ``path`` takes, with all that it stands on.

    :raises RefusedError: one of them is no volume of an active pool, or does not say the format of the next.
    """
    taken, seen = 0, set()
    while True:
        if path in seen or storage.by_path(link, str(path)) is None:
            raise RefusedError(f"the image {path} is no volume of an active pool")
        seen.add(path)
        told = info(path, kind)
        taken += int(told["actual-size"])
        if "backing-filename" not in told:
            return taken
        if "backing-filename-format" not in told:
            raise RefusedError(f"the image {path} does not say of which format the one is that it stands on")
        path, kind = Path(told.get("full-backing-filename", told["backing-filename"])), told["backing-filename-format"]
