"""Waiting with a limit."""

import asyncio
import gc

import pytest

from saltext_logilab.patience import within


def test_a_cancellation_that_comes_with_the_result_is_not_lost():
    """A task that waits in a loop ends, however its cancellation and what it waits for fall together."""

    async def story():
        event = asyncio.Event()

        async def work():
            while True:
                await within(60, event.wait())

        task = asyncio.ensure_future(work())
        await asyncio.sleep(0)
        event.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # what it waits for is done, and it has not yet gone on
        task.cancel()
        await asyncio.wait([task], timeout=5)
        assert task.cancelled()

    asyncio.run(story())


def test_what_takes_too_long_is_cancelled():
    """After the limit the work has ended, and who has waited is told so."""

    async def story():
        work = asyncio.ensure_future(asyncio.Event().wait())
        with pytest.raises(asyncio.TimeoutError):
            await within(0.01, work)
        assert work.cancelled()

    asyncio.run(story())


def test_results_and_errors_come_through():
    """The limit changes nothing about work that ends in time."""

    async def answer(value):
        if value is None:
            raise ValueError("none")
        return value

    async def story():
        assert await within(5, answer(3)) == 3
        with pytest.raises(ValueError, match="none"):
            await within(5, answer(None))

    asyncio.run(story())


def test_work_that_fails_as_it_is_cancelled_is_no_error_nobody_has_heard_of():
    """A link that breaks while its member ends leaves no traceback in the log."""
    unheard = []

    async def fails():
        try:
            await asyncio.Event().wait()
        finally:
            raise ConnectionResetError

    async def story():
        asyncio.get_running_loop().set_exception_handler(lambda _loop, told: unheard.append(told))
        waiting = asyncio.ensure_future(within(60, fails()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        await asyncio.sleep(0)
        gc.collect()

    asyncio.run(story())
    assert unheard == []
