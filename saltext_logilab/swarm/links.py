"""
Sockets to one master: requests with answers (REQ), and its publications (SUB).

Both modes of connection are made of the same: pooled, a few of these serve all minions; per minion, each has its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import zmq
import zmq.asyncio
from zmq.utils.monitor import parse_monitor_message

log = logging.getLogger(__name__)

_POLL = 1000  # milliseconds after which a waiting request looks whether the master is still there
_GONE = (zmq.EVENT_DISCONNECTED, zmq.EVENT_CLOSED)


@dataclass(frozen=True)
class Exchange:
    """A request: ``message`` makes it when its turn comes, ``done`` gets the answer, or None when none came."""

    message: Callable[[], bytes]
    done: Callable[[bytes | None], None]


class Requests:
    """Requests to ``uri``, as many at a time as there are sockets: ``width``."""

    __slots__ = ("_active", "_context", "_idle", "_round", "_tasks", "_timeout", "_uri", "_waiting", "_width")

    def __init__(self, context: zmq.asyncio.Context, uri: str, width: int, timeout: float) -> None:
        """Open no socket yet."""
        self._context = context
        self._uri = uri
        self._width = width
        self._timeout = timeout
        self._idle: list[zmq.asyncio.Socket] = []
        self._waiting: deque[Exchange] | None = None
        self._tasks: set[asyncio.Task[None]] | None = None
        self._active = 0
        self._round = 0

    def submit(self, exchange: Exchange) -> None:
        """Let ``exchange`` happen as soon as a socket is free."""
        if self._active < self._width:
            self._active += 1
            task = asyncio.get_running_loop().create_task(self._run(exchange))
            self._tasks = self._tasks or set()
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            if self._waiting is None:
                self._waiting = deque()
            self._waiting.append(exchange)

    def interrupt(self) -> None:
        """Give up all requests that wait for an answer: their master is gone."""
        self._round += 1

    def close(self) -> None:
        """Close all sockets; what is under way is forgotten."""
        self._waiting = None
        for task in self._tasks or ():
            task.cancel()
        for socket in self._idle:
            socket.close(0)
        self._idle.clear()

    async def _run(self, first: Exchange) -> None:
        socket: zmq.asyncio.Socket | None = None
        exchange: Exchange | None = first
        try:
            while exchange:
                socket = socket or (self._idle.pop() if self._idle else self._open())
                answer = await self._exchange(socket, exchange)
                if answer is None:  # a REQ socket without its answer is of no use any more
                    socket.close(0)
                    socket = None
                _tell(exchange, answer)
                exchange = self._waiting.popleft() if self._waiting else None
        finally:
            self._active -= 1
            if socket and exchange is None:
                self._idle.append(socket)
            elif socket:
                socket.close(0)

    async def _exchange(self, socket: zmq.asyncio.Socket, exchange: Exchange) -> bytes | None:
        begun = self._round
        try:
            message = exchange.message()
        except Exception:
            log.exception("a request to %s could not be made", self._uri)
            return None
        await socket.send(message)
        for _ in range(max(1, round(self._timeout * 1000 / _POLL))):
            try:
                return bytes(await socket.recv())
            except zmq.Again:
                if self._round != begun:
                    return None
        return None

    def _open(self) -> zmq.asyncio.Socket:
        socket = self._context.socket(zmq.REQ)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVTIMEO, min(_POLL, round(self._timeout * 1000)))
        _keep_trying(socket)
        socket.connect(self._uri)
        return socket


class Subscription:
    """The publications of ``uri``: ``received`` gets each, ``changed`` whether there is a connection."""

    __slots__ = ("_monitor", "_socket", "_tasks")

    def __init__(
        self,
        context: zmq.asyncio.Context,
        uri: str,
        received: Callable[[bytes], None],
        changed: Callable[[bool], None] | None = None,
    ) -> None:
        """Connect, and go on connecting."""
        self._socket = context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RCVHWM, 0)
        self._socket.setsockopt(zmq.SUBSCRIBE, b"")
        _keep_trying(self._socket)
        loop = asyncio.get_running_loop()
        self._monitor: zmq.asyncio.Socket | None = None
        self._tasks: list[asyncio.Task[None]] = []
        if changed:
            events = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED
            self._monitor = self._socket.get_monitor_socket(events)
            self._tasks.append(loop.create_task(self._watch(self._monitor, changed)))
        self._socket.connect(uri)
        self._tasks.append(loop.create_task(self._read(received)))

    def close(self) -> None:
        """Disconnect."""
        for task in self._tasks:
            task.cancel()
        if self._monitor:
            self._socket.disable_monitor()
            self._monitor.close(0)
        self._socket.close(0)

    async def _read(self, received: Callable[[bytes], None]) -> None:
        while True:
            frames = await self._socket.recv_multipart()
            try:
                received(frames[-1])  # a master with zmq_filtering puts a topic before it
            except Exception:
                log.exception("a publication could not be handled")

    async def _watch(self, monitor: zmq.asyncio.Socket, changed: Callable[[bool], None]) -> None:
        while True:
            event = parse_monitor_message(await monitor.recv_multipart())
            try:
                changed(event["event"] not in _GONE)
            except Exception:
                log.exception("a change of the connection could not be handled")


def _tell(exchange: Exchange, answer: bytes | None) -> None:
    try:
        exchange.done(answer)
    except Exception:
        log.exception("an answer could not be handled")


def _keep_trying(socket: zmq.asyncio.Socket) -> None:
    socket.setsockopt(zmq.IPV6, 1)
    socket.setsockopt(zmq.RECONNECT_IVL, 100)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 3000)
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 300)


async def reachable(host: str, port: int, patience: float = 3.0) -> str:
    """Return nothing when somebody listens on ``host:port``, else what is wrong."""
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), patience)
    except asyncio.TimeoutError:
        return f"no answer within {patience:g} s"
    except OSError as err:
        return err.strerror or str(err)
    writer.close()
    return ""
