"""
Share accepted, rejected and deleted keys with other masters.

Master configuration:

.. code-block:: yaml

    engines:
      - logilab_masters: {}
    logilab:
      masters:
        name: paris
        listen: 192.0.2.1:4507

Who is in the group is told by ``salt-run masters.init``, ``masters.invite`` and ``masters.join``.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from saltext_logilab.errors import LogilabError

if TYPE_CHECKING:
    __opts__: dict[str, Any]

log = logging.getLogger(__name__)


def __virtual__() -> bool | tuple[bool, str]:
    """Load on masters."""
    if __opts__.get("__role") != "master":
        return False, "The engine logilab_masters runs on masters only"
    return True


def start() -> None:
    """
    Run until the master stops.

    With a wrong configuration it says so in the master's log and in ``salt-run masters.status``, and stands still; when
    something that it needs cannot be had, it says so there and tries again.
    """
    from saltext_logilab.masters import service  # noqa: PLC0415 - nothing of it is needed to load this file

    while True:
        try:
            service.run(__opts__)
        except LogilabError as err:
            log.critical("logilab_masters does not run: %s", err)
            service.wait(__opts__, err)
        else:
            return
