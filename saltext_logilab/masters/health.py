"""The health of a member: a small file that the engine replaces and that ``masters.status`` reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from saltext_logilab import files
from saltext_logilab.errors import UnavailableError

NAME = "health.json"


def write(folder: Path, health: dict[str, Any]) -> None:
    """
    Replace the health file in ``folder``, atomically.

    :raises UnavailableError: it cannot be written; the old one stays.
    """
    files.replace(folder / NAME, json.dumps(health), durable=False)


def read(folder: Path) -> dict[str, Any] | None:
    """
    Return what the engine has last written; None when it has never run.

    :raises UnavailableError: the file cannot be read or is no health file.
    """
    try:
        found = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as err:
        raise UnavailableError(f"{folder / NAME} cannot be read: {err}") from err
    if not isinstance(found, dict) or not {"written", "errors", "peers"} <= found.keys():
        raise UnavailableError(f"{folder / NAME} is damaged; the engine writes it anew when it runs")
    return found
