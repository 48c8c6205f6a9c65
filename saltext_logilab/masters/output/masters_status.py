"""
Show ``salt-run masters.status`` as a table.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from typing import Any

from saltext_logilab.masters.status import table


def output(data: Any, **_kwargs: Any) -> str:
    """Return ``data``, a mapping from masters to their status, as text for people."""
    return "\n\n".join(table(name, found) for name, found in data.items() if name != "retcode")
