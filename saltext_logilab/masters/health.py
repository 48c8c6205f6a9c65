"""The health of a member: a small file that the engine replaces and that ``masters.status`` reads."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

NAME = "health.json"


def write(folder: Path, health: dict[str, Any]) -> None:
    """Replace the health file in ``folder``, atomically."""
    with tempfile.NamedTemporaryFile("w", dir=folder, prefix=".health-", delete=False) as file:
        json.dump(health, file)
    Path(file.name).replace(folder / NAME)


def read(folder: Path) -> dict[str, Any] | None:
    """Return what the engine has last written; None when it has never run."""
    try:
        found: dict[str, Any] = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return found
