"""
Sockets to one master: requests with answers (REQ), and its publications (SUB).

Both modes of connection are made of the same: pooled, a few of these serve all minions; per minion, each has its own.
Sockets hang on the loop by their descriptor, without a task each. ZeroMQ's descriptor tells of changes only ("edge"),
so what has come is asked for after each call (zmq_getsockopt(3), ZMQ_FD and ZMQ_EVENTS).
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import zmq
from zmq.utils.monitor import parse_monitor_message

log = logging.getLogger(__name__)

_SWEEP = 1.0  # seconds between looks for requests that nobody answers
_READABLE = int(zmq.POLLIN)  # its enumeration costs more than the call
_GONE = (zmq.EVENT_DISCONNECTED, zmq.EVENT_CLOSED)
_ALL = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED


@dataclass(frozen=True)
class Exchange:
    """A request: ``message`` makes it when its turn comes, ``done`` gets the answer, or None when none came."""

    message: Callable[[], bytes]
    done: Callable[[bytes | None], None]


class _Line:
    """One REQ socket, and the exchange that is under way on it."""

    __slots__ = ("deadline", "exchange", "socket")

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self.socket = socket
        self.exchange: Exchange | None = None
        self.deadline = 0.0


class Requests:
    """Requests to ``uri``, as many at a time as there are sockets: ``width``."""

    __slots__ = ("_context", "_idle", "_lines", "_loop", "_sweeping", "_timeout", "_uri", "_waiting", "_width")

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], uri: str, width: int, timeout: float) -> None:
        """Open no socket yet."""
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._uri = uri
        self._width = width
        self._timeout = timeout
        self._lines: list[_Line] = []
        self._idle: list[_Line] = []
        self._waiting: deque[Exchange] | None = None
        self._sweeping = False

    def submit(self, exchange: Exchange) -> None:
        """Let ``exchange`` happen as soon as a socket is free."""
        if self._idle:
            self._begin(self._idle.pop(), exchange)
        elif len(self._lines) < self._width:
            self._begin(self._open(), exchange)
        else:
            if self._waiting is None:
                self._waiting = deque()
            self._waiting.append(exchange)

    def interrupt(self) -> None:
        """Give up all requests that wait for an answer: their master is gone."""
        for line in [line for line in self._lines if line.exchange]:
            self._fail(line)

    def close(self) -> None:
        """Close all sockets; what is under way is forgotten."""
        self._waiting = None
        for line in self._lines:
            self._discard(line)
        self._lines.clear()
        self._idle.clear()

    def _begin(self, line: _Line, exchange: Exchange) -> None:
        line.exchange = exchange
        line.deadline = self._loop.time() + self._timeout
        try:
            line.socket.send(exchange.message(), zmq.NOBLOCK)
        except Exception:
            log.exception("a request to %s could not be sent", self._uri)
            self._loop.call_soon(self._fail, line)
            return
        if not self._sweeping:
            self._sweeping = True
            self._loop.call_later(_SWEEP, self._sweep)
        if _has_come(line.socket):
            self._loop.call_soon(self._look, line)

    def _look(self, line: _Line) -> None:
        if not _has_come(line.socket):
            return
        answer = line.socket.recv(zmq.NOBLOCK)
        exchange, line.exchange = line.exchange, None
        self._next(line)
        if exchange:
            _tell(exchange, answer)

    def _next(self, line: _Line) -> None:
        if self._waiting:
            self._begin(line, self._waiting.popleft())
        else:
            self._idle.append(line)

    def _fail(self, line: _Line) -> None:
        """Give up what is under way on ``line``; a REQ socket without its answer is of no use any more."""
        exchange, line.exchange = line.exchange, None
        if line not in self._lines:
            return
        self._lines.remove(line)
        self._discard(line)
        if self._waiting:
            self._begin(self._open(), self._waiting.popleft())
        if exchange:
            _tell(exchange, None)

    def _sweep(self) -> None:
        now = self._loop.time()
        for line in [line for line in self._lines if line.exchange and line.deadline < now]:
            self._fail(line)
        self._sweeping = any(line.exchange for line in self._lines)
        if self._sweeping:
            self._loop.call_later(_SWEEP, self._sweep)

    def _open(self) -> _Line:
        socket = self._context.socket(zmq.REQ)
        _keep_trying(socket, self._uri)
        socket.connect(self._uri)
        line = _Line(socket)
        self._lines.append(line)
        self._loop.add_reader(socket.FD, self._look, line)
        return line

    def _discard(self, line: _Line) -> None:
        self._loop.remove_reader(line.socket.FD)
        line.socket.close(0)


class Subscription:
    """The publications of ``uri``: ``received`` gets each, ``changed`` whether there is a connection."""

    __slots__ = ("_changed", "_loop", "_monitor", "_received", "_socket")

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        uri: str,
        received: Callable[[bytes], None],
        changed: Callable[[bool], None] | None = None,
    ) -> None:
        """Connect, and go on connecting."""
        self._loop = asyncio.get_running_loop()
        self._received = received
        self._changed = changed
        self._socket = context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.RCVHWM, 0)
        self._socket.setsockopt(zmq.SUBSCRIBE, b"")
        _keep_trying(self._socket, uri)
        self._monitor: zmq.Socket[bytes] | None = None
        if changed:
            self._monitor = self._socket.get_monitor_socket(_ALL)
            self._loop.add_reader(self._monitor.FD, self._watch)
        self._loop.add_reader(self._socket.FD, self._read)
        self._socket.connect(uri)
        self._loop.call_soon(self._read)
        self._loop.call_soon(self._watch)

    def close(self) -> None:
        """Disconnect."""
        if self._monitor:
            self._loop.remove_reader(self._monitor.FD)
            self._socket.disable_monitor()
            self._monitor.close(0)
        self._loop.remove_reader(self._socket.FD)
        self._socket.close(0)

    def _read(self) -> None:
        while _has_come(self._socket):
            frames = self._socket.recv_multipart(zmq.NOBLOCK)
            try:
                self._received(frames[-1])  # a master with zmq_filtering puts a topic before it
            except Exception:
                log.exception("a publication could not be handled")

    def _watch(self) -> None:
        monitor = self._monitor
        while self._changed and monitor and _has_come(monitor):
            event = parse_monitor_message(monitor.recv_multipart(zmq.NOBLOCK))
            try:
                self._changed(event["event"] not in _GONE)
            except Exception:
                log.exception("a change of the connection could not be handled")


def _has_come(socket: zmq.Socket[bytes]) -> bool:
    return not socket.closed and bool(int(socket.getsockopt(zmq.EVENTS)) & _READABLE)


def _tell(exchange: Exchange, answer: bytes | None) -> None:
    try:
        exchange.done(answer)
    except Exception:
        log.exception("an answer could not be handled")


def _keep_trying(socket: zmq.Socket[bytes], uri: str) -> None:
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.IPV6, int("[" in uri))  # with it, even IPv4 goes over sockets of IPv6
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
        return os.strerror(err.errno) if err.errno else str(err)
    writer.close()
    return ""
