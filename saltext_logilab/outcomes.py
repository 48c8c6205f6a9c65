"""What a state answers."""

from __future__ import annotations

from typing import Any


def outcome(name: str, result: bool | None, comment: str, changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """
    Return what Salt expects of a state.

    :param result: None where something would be changed, and is not.
    :param changes: what was changed, or would be: ``{thing: {"old": …, "new": …}}``.
    """
    return {"name": name, "result": result, "comment": comment, "changes": changes or {}}
