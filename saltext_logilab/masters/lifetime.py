"""An engine lives as long as the daemon that started it, also when that one is killed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from typing import Any


async def while_parent_lives(running: Coroutine[Any, Any, None]) -> None:
    """Await ``running``, and cancel it when the process that started this one has ended."""
    work = asyncio.ensure_future(running)
    parent = os.getppid()
    while not work.done():
        await asyncio.wait([work], timeout=1)
        if os.getppid() != parent:  # a daemon that was killed leaves its engines behind
            work.cancel()
    await work
