"""
Show ``salt-run masters.status`` as a table.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from typing import Any

import salt.output

from saltext_logilab.masters.status import table

__virtualname__ = "masters_status"


def __virtual__() -> str:
    """Load always."""
    return __virtualname__


def output(data: Any, **_kwargs: Any) -> str:
    """Return ``data``, a status, as a table; anything else (an error's text) as ``nested`` shows it."""
    if isinstance(data, dict) and "problems" in data:
        return table(data)
    return str(salt.output.out_format(data, "nested", {}))
