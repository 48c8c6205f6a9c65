"""Files that are replaced whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from saltext_logilab.errors import UnavailableError


def read(path: Path) -> str | None:
    """
    Return what the file holds; None when there is none.

    :raises UnavailableError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as err:
        raise UnavailableError(f"{path} cannot be read: {err}") from err


def replace(path: Path, text: str, mode: int = 0o600, durable: bool = True) -> None:
    """
    Put ``text`` in the place of the file, with its owner kept and ``mode``; a crash leaves the old one or the new one.

    ``durable``: so does a power failure, which costs a write to the disk.

    :raises UnavailableError: it cannot be written; the old one stays.
    """
    name = ""
    try:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}-", delete=False) as file:
            name = file.name
            file.write(text)
            file.flush()
            if durable:
                os.fsync(file.fileno())
            os.fchmod(file.fileno(), mode)
            if path.exists():
                was = path.stat()
                os.fchown(file.fileno(), was.st_uid, was.st_gid)
        Path(name).replace(path)
    except OSError as err:
        if name:
            Path(name).unlink(missing_ok=True)
        raise UnavailableError(f"{path} cannot be written: {err.strerror}") from err
