"""
What is told of a minion's resources: to the minion, that there are others now; to its masters, which ids are refused.

Salt's inside, as of 3008: at the event ``resource_refresh`` on its bus a minion discovers its resources and registers
them at its masters; an older one does not know it. What stands under ``fire_master`` it takes to its masters.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import salt.utils.event

SETTLE = 3.0  # a minion discovers its resources a moment before it is connected, and drops events until then


def refresh(opts: Mapping[str, Any]) -> None:
    """Let each minion of this process's host look at its resources and register them."""
    with salt.utils.event.get_event("minion", opts=opts, listen=False) as bus:
        bus.fire_event({}, "resource_refresh")


def tell_refused(opts: Mapping[str, Any], area: str, before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Tell the masters which ids are refused ``now``, with the reasons, where that is not as it was ``before``."""
    if dict(now) == dict(before):
        return
    told = {"data": {"refused": dict(now)}, "tag": f"salt/logilab/{area}/refused", "events": None, "pretag": None}

    def fire() -> None:  # not in the minion's own loop, which serves the bus
        time.sleep(SETTLE)
        with salt.utils.event.get_event("minion", opts=opts, listen=False) as bus:
            bus.fire_event(told, "fire_master")

    threading.Thread(target=fire, name=f"{area}: refused ids", daemon=True).start()
