"""
Show the ports of the fleet as a table.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from typing import Any

from saltext_logilab.containers import formats


def output(data: Any, **_kwargs: Any) -> str:
    """Return the answer of the runner ``docker_ports`` as text for people."""
    if not isinstance(data, dict) or "ports" not in data:
        return str(data)
    lines = [formats.table(data["ports"])] if data["ports"] else ["no port is published"]
    lines += [
        formats.printable(f"PROBLEM: {minion}: {problem}")
        for minion, told in sorted(data.get("minions", {}).items())
        for problem in told["problems"]
    ]
    return "\n".join(lines)
