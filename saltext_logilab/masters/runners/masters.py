"""
Look at the group of masters that share their keys.

What goes wrong is told in a sentence, with exit code 1: an exception in a runner would be shown as a traceback.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from saltext_logilab.errors import LogilabError
from saltext_logilab.identity import load_or_create
from saltext_logilab.masters import settings as masters_settings
from saltext_logilab.masters import status as masters_status
from saltext_logilab.settings import state_dir

if TYPE_CHECKING:
    __opts__: dict[str, Any]


def status() -> dict[str, Any]:
    """
    Show this master's view of the group: its peers, how far they are behind, and what is wrong.

    Returns a mapping from this master's name to ``ok``, ``fingerprint``, ``listen``, ``engine`` (``running`` or
    ``stopped``), ``age`` (seconds since the engine last showed itself), ``records`` (their number by state), ``peers``
    and ``problems`` (sentences). Of a peer it tells whether it is ``connected`` and ``for`` how many seconds, when it
    was last ``heard`` (seconds ago), and how many of this master's changes it has not acknowledged (``behind``). It is
    shown as a table; ``--out`` chooses another form. When something is wrong, ``retcode`` and the exit code are 1.

    CLI Example:

    .. code-block:: bash

        salt-run masters.status
        salt-run masters.status --out json
    """
    try:
        settings = masters_settings.read(__opts__)
        name, found = settings.name, masters_status.status(settings, time.time())
    except LogilabError as err:
        name, found = str(__opts__["id"]), {"ok": False, "problems": [str(err)]}
    return {"outputter": "masters_status", "data": {name: found, **({} if found["ok"] else {"retcode": 1})}}


def identity() -> dict[str, Any]:
    """
    Show the fingerprint by which the other masters know this one; its key is made when there is none yet.

    Returns ``fingerprint`` and the private key's ``file``; or ``error``, a sentence, with exit code 1.

    CLI Example:

    .. code-block:: bash

        salt-run masters.identity
    """
    try:
        path = state_dir(__opts__, masters_settings.AREA) / masters_settings.IDENTITY
        return {"fingerprint": load_or_create(path).fingerprint, "file": str(path)}
    except LogilabError as err:
        return {"error": str(err), "retcode": 1}
