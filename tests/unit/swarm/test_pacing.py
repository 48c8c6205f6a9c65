"""The loop that lets answers gather."""

import asyncio
import itertools
import selectors
import socket
from collections.abc import Iterator

import pytest

from saltext_logilab.swarm import pacing


class Time:
    """A clock that goes on only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    made = [socket.socketpair() for _ in range(16)]
    yield made
    for pair in made:
        for one in pair:
            one.close()


def test_few_answers_are_waited_for_and_many_are_not(pairs: list[tuple[socket.socket, socket.socket]]) -> None:
    """With few sockets ready the pauses grow up to a limit; with many there is none any more; no timer is late."""
    time = Time()
    with pacing.Pacing(16, time.sleep, lambda: time.now) as selector:
        for inside, _ in pairs:
            selector.register(inside, selectors.EVENT_READ)
        time.now += 60
        pairs[0][1].send(b"x")
        for _ in range(20):
            assert len(selector.select(None)) == 1
        assert time.slept[0] == pytest.approx(0.001)  # not for the first one, after a rest
        assert len(time.slept) == 19
        assert all(later > sooner - 1e-9 for sooner, later in itertools.pairwise(time.slept))
        assert time.slept[-1] == pytest.approx(pacing.MOST)
        time.now += 60
        selector.select(None)
        selector.select(None)
        assert time.slept[-1] == pytest.approx(0.001)  # after a rest, short pauses again
        selector.pause = pacing.MOST
        selector.select(0.01)
        assert time.slept[-1] == pytest.approx(0.01)
        for _, outside in pairs:
            outside.send(b"x")
        for _ in range(20):
            assert len(selector.select(None)) == 16
        count = len(time.slept)
        assert len(selector.select(None)) == 16
        assert len(time.slept) == count


def test_a_single_socket_is_never_kept_waiting(pairs: list[tuple[socket.socket, socket.socket]]) -> None:
    """Who has but one request under way at a time would wait for nothing."""
    time = Time()
    with pacing.Pacing(1, time.sleep, lambda: time.now) as selector:
        selector.register(pairs[0][0], selectors.EVENT_READ)
        pairs[0][1].send(b"x")
        for _ in range(20):
            selector.select(None)
    assert time.slept == []


def test_a_coroutine_is_run_to_its_end_and_nothing_is_left() -> None:
    """As asyncio.run: the result comes back, what was begun beside is cancelled."""
    ended: list[str] = []

    async def beside() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("beside")

    async def nothing() -> int:
        return 4

    async def work() -> int:
        task = asyncio.create_task(beside())
        await asyncio.sleep(0)
        assert not task.done()
        return await asyncio.to_thread(lambda: 5)

    assert pacing.run(nothing(), 16) == 4
    assert pacing.run(work(), 16) == 5
    assert ended == ["beside"]
