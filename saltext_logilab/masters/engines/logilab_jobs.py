"""
File this master's jobs into the group's PostgreSQL: see the returner ``logilab_jobs``.

Master configuration:

.. code-block:: yaml

    master_job_cache: logilab_jobs
    engines:
      - logilab_jobs: {}
    logilab:
      masters:
        jobs:
          dsn: host=db.example.com dbname=salt user=salt sslmode=verify-full

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
        return False, "The engine logilab_jobs runs on masters only"
    return True


def start() -> None:
    """Run until the master stops; with a wrong configuration say so in the master's log, and end."""
    from saltext_logilab.masters.jobs import clerk  # noqa: PLC0415 - nothing of it is needed to load this file

    try:
        clerk.run(__opts__)
    except LogilabError as err:
        log.critical("logilab_jobs does not run: %s", err)
