"""
Look at the group of masters that share their keys.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from salt.exceptions import CommandExecutionError

from saltext_logilab.errors import LogilabError
from saltext_logilab.identity import load_or_create
from saltext_logilab.masters import settings as masters_settings
from saltext_logilab.masters import status as masters_status
from saltext_logilab.settings import state_dir

if TYPE_CHECKING:
    __opts__: dict[str, Any]
    __context__: dict[str, Any]


def status() -> dict[str, Any]:
    """
    Show this master's view of the group: its peers, how far they are behind, and what is wrong.

    Returns a mapping with ``ok``, ``name``, ``fingerprint``, ``listen``, ``engine`` (``running`` or ``stopped``),
    ``age`` (seconds since the engine last showed itself), ``keys`` (records by state), ``peers`` and ``problems``
    (sentences). Of a peer it tells whether it is ``connected`` and ``for`` how many seconds, when it was last ``heard``
    (seconds ago), and how many of this master's changes it has not acknowledged (``behind``). It is shown as a table;
    ``--out`` chooses another form. The exit code is 1 when something is wrong.

    :raises CommandExecutionError: the engine has never run here, or its configuration is wrong.

    CLI Example:

    .. code-block:: bash

        salt-run masters.status
        salt-run masters.status --out json
    """
    try:
        found = masters_status.status(masters_settings.read(__opts__), time.time())
    except LogilabError as err:
        raise CommandExecutionError(str(err)) from err
    if not found["ok"]:
        __context__["retcode"] = 1
    return {"outputter": "masters_status", "data": found}


def identity() -> dict[str, str]:
    """
    Show the fingerprint by which the other masters know this one; its key is made when there is none yet.

    :raises CommandExecutionError: the key can be neither read nor made.

    CLI Example:

    .. code-block:: bash

        salt-run masters.identity
    """
    try:
        path = state_dir(__opts__, masters_settings.AREA) / masters_settings.IDENTITY
        return {"fingerprint": load_or_create(path).fingerprint, "file": str(path)}
    except LogilabError as err:
        raise CommandExecutionError(str(err)) from err
