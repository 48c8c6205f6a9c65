"""A TCP relay that delays, cuts and swallows: a bad network on one machine."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CHUNK = 65536
DEPTH = 64
RESET = struct.pack("ii", 1, 0)  # SO_LINGER that makes close() send RST


@dataclass
class _Direction:
    """One way through the relay: how long a byte takes, and whether bytes go through now."""

    delay: float
    open: asyncio.Event = field(default_factory=asyncio.Event)


class Relay:
    """
    A listener that forwards to a target: an address with a port, or a Unix socket.

    ``there`` is the way from the client to the target, ``back`` the way from the target to the client. Bytes keep their
    order and are never lost while a connection lives: what a black hole held comes out after :meth:`heal`, as with TCP.
    """

    def __init__(
        self,
        target: tuple[str, int] | Path,
        there: float = 0,
        back: float = 0,
        listen: tuple[str, int] = ("127.0.0.1", 0),
    ) -> None:
        """Take the target, the delay of each direction in seconds, and where to listen; :meth:`start` begins."""
        self._target = target
        self._place = listen
        self._delays = (there, back)
        self._accepting = True
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self.port = 0

    def start(self) -> None:
        """Listen; unless a port was given the kernel chooses it: :attr:`port`."""
        self._thread.start()
        self._do(self._listen())

    def close(self) -> None:
        """Abort what is connected and end."""
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()

    def cut(self) -> None:
        """Reset every connection, and each new one, until :meth:`heal`."""
        self._do(self._set(accepting=False, abort=True))

    def drop_new(self) -> None:
        """Reset each new connection until :meth:`heal`; those that stand go on."""
        self._do(self._set(accepting=False))

    def blackhole(self, *, there: bool = True, back: bool = True) -> None:
        """Hold the bytes of these directions until :meth:`heal`; connections stand, and new ones are accepted."""
        self._do(self._set(hold=(there, back)))

    def heal(self) -> None:
        """Let everything through again."""
        self._do(self._set(accepting=True, hold=(False, False)))

    @property
    def connections(self) -> int:
        """How many connections stand now."""
        return len(self._writers) // 2

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)

    async def _listen(self) -> None:
        self._ways = tuple(_Direction(delay) for delay in self._delays)
        for way in self._ways:
            way.open.set()
        self._server = await asyncio.start_server(self._accept, *self._place)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        self._abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _set(
        self, accepting: bool | None = None, abort: bool = False, hold: tuple[bool, bool] | None = None
    ) -> None:
        if accepting is not None:
            self._accepting = accepting
        if abort:
            self._abort()
        for way, held in zip(self._ways, hold or (), strict=False):
            way.open.clear() if held else way.open.set()

    def _abort(self) -> None:
        for writer in list(self._writers):
            _reset(writer)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._accepting:
            _reset(writer)
            return
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._connect(reader, writer)
        except (OSError, asyncio.CancelledError):
            _reset(writer)
        finally:
            self._tasks.discard(task)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if isinstance(self._target, Path):
            far_reader, far_writer = await asyncio.open_unix_connection(self._target)
        else:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        both = {writer, far_writer}
        self._writers |= both
        there, back = self._ways
        try:
            await asyncio.gather(_carry(reader, far_writer, there), _carry(far_reader, writer, back))
        finally:
            self._writers -= both
            for end in both:
                end.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection with RST."""
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: _Direction) -> None:
    """Carry one direction until its end; the end of the stream takes the same time as a byte."""
    queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(DEPTH)
    delivery = asyncio.ensure_future(_deliver(queue, writer, way))
    try:
        data = b"-"
        while data:
            data = await reader.read(CHUNK)
            await queue.put((asyncio.get_running_loop().time() + way.delay, data))
        await delivery
    finally:
        delivery.cancel()


async def _deliver(queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter, way: _Direction) -> None:
    """Write what is due, in order, while the way is open."""
    loop = asyncio.get_running_loop()
    while True:
        due, data = await queue.get()
        await asyncio.sleep(max(0.0, due - loop.time()))
        await way.open.wait()
        if not data:
            if writer.can_write_eof():
                writer.write_eof()
            return
        writer.write(data)
        await writer.drain()


@pytest.fixture
def tcp_relay() -> Iterator[Callable[..., Relay]]:
    """
    Return a maker of relays: ``tcp_relay(port, there=0.1, back=0.1)``; in place of the port may stand a Unix socket.

    ``host`` is the target's where it is not 127.0.0.1; ``at`` another loopback address, to listen at the same port.
    """
    made: list[Relay] = []

    def make(port: int | Path, *, host: str = "127.0.0.1", there: float = 0, back: float = 0, at: str = "") -> Relay:
        target, listen = port if isinstance(port, Path) else (host, port), ("127.0.0.1", 0)
        if at and isinstance(port, int):
            listen = (at, port)
        relay = Relay(target, there, back, listen)
        relay.start()
        made.append(relay)
        return relay

    yield make
    for relay in made:
        relay.close()
