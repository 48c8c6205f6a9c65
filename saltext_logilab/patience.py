"""Waiting with a limit, without losing a cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def within(seconds: float, work: Awaitable[T]) -> T:
    """
    Return what ``work`` returns within ``seconds``.

    :func:`asyncio.wait_for` of Python 3.10 and 3.11 returns a result that comes together with a cancellation, which is
    lost then (https://github.com/python/cpython/issues/81839): a task that waits in a loop would never end.

    :raises asyncio.TimeoutError: it takes longer; it is cancelled then.
    """
    task = asyncio.ensure_future(work)
    task.add_done_callback(_hear)
    try:
        await asyncio.wait([task], timeout=seconds)
    finally:
        ended = task.done()
        if not ended:
            task.cancel()
    if not ended:
        await asyncio.wait([task])
        raise asyncio.TimeoutError
    return task.result()


def _hear(task: asyncio.Future[T]) -> None:
    """Take notice of how ``task`` has ended: one that fails as it is cancelled is no error that nobody has heard of."""
    if not task.cancelled():
        task.exception()
