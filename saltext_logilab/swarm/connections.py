"""
A connection to a ZeroMQ socket of a master: made again whenever it is lost, with back-off and jitter, without end.

It hangs on the loop by its descriptor and needs no task, no thread and no buffer while nothing happens.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from collections.abc import Callable

from saltext_logilab.errors import WireError
from saltext_logilab.swarm import zmtp

log = logging.getLogger(__name__)

Address = tuple[str, int]

_PIECE = 256 * 1024
_SOONEST, _LATEST = 0.1, 3.0  # seconds between attempts to connect
_IDLE = 300  # seconds after which the kernel looks whether the other side is still there


class Connection:
    """A connection of ``kind``, ``REQ`` or ``SUB``: ``received`` gets each message, ``changed`` whether it is there."""

    __slots__ = (
        "_address",
        "_changed",
        "_decoder",
        "_delay",
        "_kind",
        "_loop",
        "_out",
        "_received",
        "_socket",
        "closed",
    )

    def __init__(
        self,
        address: Address,
        kind: str,
        received: Callable[[bytes], None],
        changed: Callable[[bool], None] | None = None,
    ) -> None:
        """Begin to connect."""
        self._loop = asyncio.get_running_loop()
        self._address = address
        self._kind = kind
        self._received = received
        self._changed = changed
        self._socket: socket.socket | None = None
        self._decoder: zmtp.Decoder | None = None
        self._out = b""
        self._delay = _SOONEST
        self.closed = False
        self._connect()

    def send(self, message: bytes) -> None:
        """Send ``message``, as soon as the other side is ready."""
        if self._out or not self.ready:
            self._out += message
        else:
            self._write(message)

    @property
    def ready(self) -> bool:
        """Whether the other side has said that it takes messages."""
        return self._decoder is not None and self._decoder.ready

    def hurry(self) -> None:
        """Connect now and not after the back-off: somebody has seen that the other side is there."""
        self._delay = _SOONEST
        self._connect()

    def close(self) -> None:
        """Disconnect for ever."""
        self.closed = True
        self._drop()

    def _connect(self) -> None:
        if self.closed or self._socket:
            return
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        self._socket = made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _IDLE)
        made.connect_ex(self._address)  # whether it did well is told with the first chance to write
        self._loop.add_writer(made.fileno(), self._connected)

    def _connected(self) -> None:
        assert self._socket
        self._loop.remove_writer(self._socket.fileno())
        if self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._lost()
            return
        self._decoder = zmtp.Decoder()
        self._loop.add_reader(self._socket.fileno(), self._read)
        self._write(zmtp.opening(self._kind))

    def _write(self, data: bytes) -> None:
        assert self._socket
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._lost()
            return
        if sent < len(data):
            self._out = data[sent:] + self._out
            self._loop.add_writer(self._socket.fileno(), self._flush)

    def _flush(self) -> None:
        assert self._socket
        self._loop.remove_writer(self._socket.fileno())
        waiting, self._out = self._out, b""
        if waiting:
            self._write(waiting)

    def _read(self) -> None:
        assert self._socket
        assert self._decoder
        was_ready = self.ready
        try:
            data = self._socket.recv(_PIECE)
            messages, answer = self._decoder.feed(data)
        except BlockingIOError:
            return
        except (OSError, WireError) as err:
            log.debug("the connection to %s:%s is lost: %s", *self._address, err)
            data = b""
        if not data:
            self._lost()
            return
        if answer:
            self.send(answer)
        if self.ready and not was_ready:
            self._delay = _SOONEST
            self._out = zmtp.beginning(self._kind) + self._out
            self._flush()
            self._tell(self._changed, True)
        for message in messages:
            self._tell(self._received, message)

    def _lost(self) -> None:
        """Begin anew. What is not wholly sent then is forgotten: who sent it learns of the loss."""
        was_ready = self.ready
        if was_ready:
            self._out = b""
        self._drop()
        self._loop.call_later(self._delay * random.uniform(0.5, 1.5), self._connect)  # noqa: S311  # no secret
        self._delay = min(2 * self._delay, _LATEST)
        if was_ready:
            self._tell(self._changed, False)

    def _drop(self) -> None:
        gone, self._socket, self._decoder = self._socket, None, None
        if gone:
            self._loop.remove_reader(gone.fileno())
            self._loop.remove_writer(gone.fileno())
            gone.close()

    def _tell(self, whom: Callable[..., None] | None, what: object) -> None:
        if whom is None or self.closed:
            return
        try:
            whom(what)
        except Exception:
            log.exception("a message of %s:%s could not be handled", *self._address)
