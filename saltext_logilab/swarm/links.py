"""
Requests to one master, each with its answer, over connections that are used again.

Both modes are made of the same: pooled, a few connections serve all minions; per minion, each has its own.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
from collections import deque
from typing import Protocol

from saltext_logilab.patience import within
from saltext_logilab.swarm import zmtp
from saltext_logilab.swarm.connections import Address, Connection

log = logging.getLogger(__name__)

_SWEEP = 1.0  # seconds between looks for requests that nobody answers


class Exchange(Protocol):
    """A request and its answer."""

    def message(self) -> bytes:
        """Make the request: its turn has come."""

    def done(self, answer: bytes | None) -> None:
        """Take the answer, or None when none came."""


class _Line:
    """One connection, and the exchange that is under way on it."""

    __slots__ = ("connection", "deadline", "exchange")

    connection: Connection

    def __init__(self) -> None:
        self.exchange: Exchange | None = None
        self.deadline = 0.0


class Requests:
    """Requests to ``address``, as many at a time as there are connections: ``width``."""

    __slots__ = ("_address", "_idle", "_lines", "_loop", "_sweeping", "_timeout", "_waiting", "_width")

    def __init__(self, address: Address, width: int, timeout: float) -> None:
        """Open no connection yet."""
        self._loop = asyncio.get_running_loop()
        self._address = address
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

    def hurry(self) -> None:
        """Connect now and not after the back-off, as :meth:`Connection.hurry`."""
        for line in self._lines:
            line.connection.hurry()

    def close(self) -> None:
        """Close all connections; what is under way is forgotten."""
        self._waiting = None
        for line in self._lines:
            line.connection.close()
        self._lines.clear()
        self._idle.clear()

    def _begin(self, line: _Line, exchange: Exchange) -> None:
        line.exchange = exchange
        line.deadline = self._loop.time() + self._timeout
        try:
            line.connection.send(zmtp.request(exchange.message()))
        except Exception:
            log.exception("a request to %s:%s could not be made", *self._address)
            self._loop.call_soon(self._fail, line)
            return
        if not self._sweeping:
            self._sweeping = True
            self._loop.call_later(_SWEEP, self._sweep)

    def _received(self, line: _Line, answer: bytes) -> None:
        exchange, line.exchange = line.exchange, None
        if exchange:
            self._next(line)
            _tell(exchange, answer)

    def _changed(self, line: _Line, connected: bool) -> None:
        if not connected and line.exchange:
            exchange, line.exchange = line.exchange, None
            self._next(line)
            _tell(exchange, None)

    def _next(self, line: _Line) -> None:
        if self._waiting:
            self._begin(line, self._waiting.popleft())
        else:
            self._idle.append(line)

    def _fail(self, line: _Line) -> None:
        """Give up what is under way on ``line``, and the line: an answer that comes late must reach nobody."""
        exchange, line.exchange = line.exchange, None
        if line not in self._lines:
            return
        self._lines.remove(line)
        line.connection.close()
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
        line = _Line()
        self._lines.append(line)
        received, changed = functools.partial(self._received, line), functools.partial(self._changed, line)
        line.connection = Connection(self._address, "REQ", received, changed)
        return line


def _tell(exchange: Exchange, answer: bytes | None) -> None:
    try:
        exchange.done(answer)
    except Exception:
        log.exception("an answer could not be handled")


async def reachable(host: str, port: int, patience: float = 3.0) -> str:
    """Return nothing when somebody listens on ``host:port``, else what is wrong."""
    try:
        _, writer = await within(patience, asyncio.open_connection(host, port))
    except asyncio.TimeoutError:
        return f"no answer within {patience:g} s"
    except OSError as err:
        return os.strerror(err.errno) if err.errno else str(err)
    writer.close()
    return ""
