"""
What YAML said, kept as JSON in a folder: to read a schema as YAML costs more than all else of a formula's data.

A file is kept under its name with the hash of its text, so that another version takes its place.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .formula import mapping


class Kept:
    """The folder ``folder``; that it cannot be written is no error."""

    def __init__(self, folder: Path) -> None:
        """Keep what is read in ``folder``, which is made when it is needed."""
        self.folder = folder

    def mapping(self, file: str, text: str) -> Mapping[str, Any]:
        """
        Return the mapping that the YAML ``text`` of ``file`` is.

        :raises FormulaError: it is no YAML, or no mapping.
        """
        place = self.folder / f"{file.replace('/', '.')}.json"
        digest = hashlib.sha256(text.encode()).hexdigest()
        kept = _read(place)
        if kept.get("sha256") == digest and isinstance(kept.get("mapping"), Mapping):
            found: Mapping[str, Any] = kept["mapping"]
            return found
        found = mapping(file, text)
        with contextlib.suppress(OSError, TypeError):  # TypeError: a date, which JSON does not have
            _write(place, {"sha256": digest, "mapping": found})
        return found


def _read(place: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, Mapping) else {}


def _write(place: Path, kept: Mapping[str, Any]) -> None:
    """Write ``kept``, unless JSON would make something else of it, such as texts of numbers that are keys."""
    text = json.dumps(kept)
    if json.loads(text) != kept:
        return
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = place.with_name(f"{place.name}.{os.getpid()}")
    new.write_text(text, encoding="utf-8")
    new.replace(place)
