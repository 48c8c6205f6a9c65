"""The outermost loop of each of a member's tasks: what nobody thought of is told and logged, and the task goes on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from saltext_logilab.errors import LogilabError

log = logging.getLogger(__name__)

PAUSE = 1.0


async def forever(work: Callable[[], Awaitable[None]], failed: Callable[[str], None], pause: float = PAUSE) -> None:
    """Do ``work`` again and again until cancelled; tell ``failed`` in a sentence why it has ended; wait in between."""
    while True:
        try:
            await work()
        except Exception as err:  # noqa: BLE001 - the outermost loop
            failed(sentence(err))
        await asyncio.sleep(pause)


def sentence(err: Exception) -> str:
    """Return what to tell of ``err``; one that is not meant for users is logged with its traceback."""
    if isinstance(err, LogilabError):
        return str(err)
    log.error("An error that should not be", exc_info=err)
    return f"{type(err).__name__}: {err} (see the log of this master)"
