"""
Let minions of a master apply no states while it serves other files than a reference member of its group.

Master configuration:

.. code-block:: yaml

    ext_pillar:
      - logilab_hold: {}
    logilab:
      masters:
        hold:
          reference: paris

It gives a pillar error, with the reason: so states that are published, scheduled or run by ``salt-call`` are refused
alike. Whether there is a hold is decided by the engine ``logilab_masters``; what cannot be read holds nobody.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from saltext_logilab.errors import LogilabError
from saltext_logilab.masters import settings
from saltext_logilab.masters.files import hold

if TYPE_CHECKING:
    __opts__: dict[str, Any]

log = logging.getLogger(__name__)


def ext_pillar(minion_id: str, pillar: dict[str, Any], *_args: Any, **_kwargs: Any) -> dict[str, Any]:
    """Return ``_errors`` with the reason while this master is held, else nothing."""
    try:
        configured = settings.read(__opts__)
        standing = hold.read(configured.folder)
    except LogilabError as err:
        log.error("logilab_hold holds nobody: %s", err)
        return {}
    reference = configured.hold.reference
    if reference in ("", configured.name) or not standing.is_held(time.time()):
        return {}
    log.warning("%s applies no states: this master is held, it is behind %s", minion_id, reference)
    return {"_errors": [*pillar.get("_errors", []), hold.reason(configured.name, reference, standing)]}
