"""
Let a minion look at its guests whenever one starts, stops, comes or goes, or its agent does.

On a minion whose guests are targets of their own (Salt 3008, pillar ``resources: {libvirt: …}``). Of several engines
on one host, one is at work and the others stand by.

.. code-block:: yaml

    engines:
      - libvirt_targets: {}

.. versionadded:: 0.1.0
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from saltext_logilab import locks
from saltext_logilab.errors import ConfigurationError, LogilabError
from saltext_logilab.lifetime import while_parent_lives
from saltext_logilab.within import registration

if TYPE_CHECKING:
    __opts__: dict[str, Any]

log = logging.getLogger(__name__)

LOCK = "targets.lock"
RETRY = 10.0
STANDBY = 0.5


def __virtual__() -> bool | tuple[bool, str]:
    """Load on minions."""
    if __opts__.get("__role") == "master":
        return False, "The engine libvirt_targets runs on minions only"
    return True


def start() -> None:
    """
    Run until the minion ends.

    With a wrong configuration, or without libvirt's binding, it says so in the log and stands still or tries again.
    """
    from saltext_logilab.guests import lifecycle, settings  # noqa: PLC0415 - nothing of it is needed to load this file

    alive, patience = while_parent_lives(), RETRY
    while alive():
        try:
            configured = settings.read(__opts__)
            with locks.elected(configured.folder / LOCK, partial(_stand_by, alive)) as is_owner:
                if is_owner:
                    lifecycle.Follower(configured.uri, partial(registration.refresh, __opts__), alive).run()
        except ConfigurationError as err:
            log.critical("libvirt_targets does not run: %s", err)
            patience = float("inf")
        except LogilabError as err:
            log.critical("libvirt_targets does not run: %s", err)
        except Exception:  # the outermost loop
            log.exception("libvirt_targets: an error that should not be")
        end = time.monotonic() + patience
        while alive() and time.monotonic() < end:
            time.sleep(1)


def _stand_by(alive: Any) -> bool:
    time.sleep(STANDBY)
    return bool(alive())
