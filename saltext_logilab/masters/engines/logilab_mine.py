"""
Bring this minion's mine to each of its masters: see the execution module ``logilab_mine``.

Minion configuration:

.. code-block:: yaml

    providers:
      mine: logilab_mine
    engines:
      - logilab_mine: {}

.. versionadded:: 0.1.0
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import salt.channel.client
import salt.minion
import salt.payload
from salt.exceptions import SaltException

from saltext_logilab.errors import LogilabError, UnavailableError

if TYPE_CHECKING:
    __opts__: dict[str, Any]

log = logging.getLogger(__name__)

TIMEOUT = 3  # seconds for one request: longer, and a master that comes back waits for it


def __virtual__() -> bool | tuple[bool, str]:
    """Load on minions."""
    if __opts__.get("__role") != "minion":
        return False, "The engine logilab_mine runs on minions only"
    return True


def start() -> None:
    """Run until the minion stops; with several masters (hot-hot) Salt starts one such process for each of them."""
    from saltext_logilab.masters.mine import courier  # noqa: PLC0415 - nothing of it is needed to load this file

    failover = __opts__.get("master_type") == "failover"
    masters = __opts__.get("master_list") if failover else None
    try:
        senders = {master: _sender(master) for master in masters or [__opts__["master"]]}
        courier.bring_all(__opts__, senders, salt.payload.loads)
    except LogilabError as err:
        log.critical("logilab_mine does not run: %s", err)


def _sender(master: str) -> Callable[[dict[str, Any]], object]:
    """Return what sends a request to ``master`` over a connection of its own, kept as long as it works."""
    kept: list[Any] = []

    def send(load: dict[str, Any]) -> object:
        try:
            if not kept:
                kept.append(salt.channel.client.ReqChannel.factory(_options(master)))
            return kept[0].send(load, timeout=TIMEOUT, tries=1)
        except SaltException as err:
            while kept:
                kept.pop().close()
            raise UnavailableError(f"{master}: {err or type(err).__name__}") from err

    return send


def _options(master: str) -> dict[str, Any]:
    """Return the options of a connection to ``master``, as the minion makes them."""
    opts = dict(__opts__, master=master, retry_dns=0)
    opts.update(salt.minion.prep_ip_port(opts))
    opts.update(salt.minion.resolve_dns(opts, fallback=False))
    return opts
