"""
``formula.data`` for salt-ssh: states are rendered on the master, with the target's grains and pillar.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import salt.fileclient
from salt.exceptions import CommandExecutionError

from saltext_logilab.formula.schemas import lookup
from saltext_logilab.formula.schemas.problems import FormulaError

if TYPE_CHECKING:
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __pillar__: dict[str, Any]
    __context__: dict[str, Any]


def data(name: str, saltenv: str | None = None) -> dict[str, Any]:
    """
    Return the checked data of the formula ``name`` for the target; see the execution module ``formula``.

    CLI Example:

    .. code-block:: bash

        salt-ssh '*' formula.data haproxy
    """
    saltenv = saltenv or __opts__.get("saltenv") or "base"
    opts = __context__.get("master_opts") or __opts__["__master_opts__"]
    client = __context__.get("fileclient") or salt.fileclient.FSClient(opts)

    def read(path: str) -> str | None:
        file = client.cache_file(f"salt://{path}", saltenv)
        return Path(file).read_text(encoding="utf-8") if file else None

    pillar, grains = dict(__pillar__), dict(__grains__)
    try:
        key = lookup.pillar_key(opts, pillar, name)
        mountpoint = (lookup.settings(opts, pillar, "mountpoint") or "").removeprefix("salt://")
        formula = lookup.load(name, read, lambda: client.file_list(saltenv), mountpoint)
        return formula.data(grains, lookup.traverse(pillar, key), key)
    except FormulaError as err:
        raise CommandExecutionError(str(err)) from err
