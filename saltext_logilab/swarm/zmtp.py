"""
ZMTP, the protocol of ZeroMQ's sockets, as far as a REQ and a SUB socket without encryption speak it; no I/O.

Sources: RFC 23/ZMTP 3.0 (greeting, NULL mechanism, frames), RFC 28/REQREP (the empty frame before a request), RFC
29/PUBSUB (a subscription is a message) and RFC 37/ZMTP 3.1 (heartbeats) of https://rfc.zeromq.org. It is spoken here
because a pair of libzmq's sockets takes 70 kB, and its thread a third of the CPU of a fake minion.
"""

from __future__ import annotations

from collections.abc import Iterator

from saltext_logilab.errors import WireError

MOST = 256 * 2**20
_MORE, _LONG, _COMMAND = 1, 2, 4
_SIGNATURE = b"\xff" + bytes(8) + b"\x7f"
_GREETING = _SIGNATURE + b"\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
_SUBSCRIBE_ALL = b"\x01"
_PING, _PONG, _ERROR = b"\x04PING", b"\x04PONG", b"\x05ERROR"
_TTL = 2  # bytes of a ping between its name and what its pong has to repeat


def opening(kind: str) -> bytes:
    """Return what a socket of ``kind``, ``REQ`` or ``SUB``, says first; nothing else before the other is ready."""
    value = kind.encode()
    ready = b"\x05READY\x0bSocket-Type" + len(value).to_bytes(4, "big") + value
    return _GREETING + _frame(ready, _COMMAND)


def beginning(kind: str) -> bytes:
    """Return what a socket of ``kind`` says when the other is ready: a SUB socket subscribes to everything."""
    return _frame(_SUBSCRIBE_ALL) if kind == "SUB" else b""


def request(body: bytes) -> bytes:
    """Return ``body`` as a REQ socket sends it."""
    return b"\x01\x00" + _frame(body)


def _frame(body: bytes, flags: int = 0) -> bytes:
    if len(body) < 256:
        return bytes((flags, len(body))) + body
    return bytes((flags | _LONG,)) + len(body).to_bytes(8, "big") + body


class Decoder:
    """What the other side says, piece by piece; ``ready`` once it has greeted and agreed."""

    __slots__ = ("_greeted", "_rest", "ready")

    def __init__(self) -> None:
        """Begin with nothing."""
        self._rest = bytearray()
        self._greeted = False
        self.ready = False

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """
        Return the last frames of all messages that are whole with ``data``, and what is to be sent in return.

        A message's last frame is its body: before it stand only the empty frame of an answer, or a topic.

        :raises WireError: the other side speaks something else, or refuses this socket.
        """
        self._rest += data
        if not self._greeted and not self._greeting():
            return [], b""
        bodies, answers = [], []
        for flags, body in self._frames():
            if flags & _COMMAND:
                self.ready = True
                answers.append(_obeyed(body))
            elif not flags & _MORE:
                bodies.append(body)
        return bodies, b"".join(answers)

    def _greeting(self) -> bool:
        begun = bytes(self._rest[: len(_SIGNATURE)])
        if begun[:1] not in (b"", b"\xff") or begun[9:10] not in (b"", b"\x7f"):
            raise WireError(f"no ZeroMQ socket listens there, but something that says {begun!r}")
        if len(self._rest) < len(_GREETING):
            return False
        major, mechanism = self._rest[10], bytes(self._rest[12:32]).rstrip(b"\0")
        if major < 3 or mechanism != b"NULL":
            raise WireError(f"the master speaks version {major} of ZMTP with {mechanism!r}: 3 with NULL is needed")
        del self._rest[: len(_GREETING)]
        self._greeted = True
        return True

    def _frames(self) -> Iterator[tuple[int, bytes]]:
        data, at = self._rest, 0
        while len(data) - at >= 2:
            flags = data[at]
            head = 9 if flags & _LONG else 2
            if len(data) - at < head:
                break
            size = int.from_bytes(data[at + 1 : at + head], "big")
            if size > MOST:
                raise WireError(f"a frame of {size} bytes is too large")
            if len(data) - at < head + size:
                break
            at += head + size
            yield flags, bytes(data[at - size : at])
        del data[:at]


def _obeyed(command: bytes) -> bytes:
    """Return the answer to ``command``: nothing, but for a ping; :raises WireError: it is a refusal."""
    if command.startswith(_PING):
        return _frame(_PONG + command[len(_PING) + _TTL :], _COMMAND)
    if command.startswith(_ERROR):
        raise WireError(f"the master's socket refuses the connection: {command[len(_ERROR) + 1 :]!r}")
    return b""
