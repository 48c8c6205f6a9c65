"""Connections to ZeroMQ sockets, held against libzmq's own."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from saltext_logilab.errors import WireError
from saltext_logilab.swarm import zmtp
from saltext_logilab.swarm.connections import Connection
from saltext_logilab.swarm.links import Requests

PATIENCE = 20


@dataclass(frozen=True)
class Asked:
    """A request that is a message, and what is done with its answer."""

    text: bytes
    told: Callable[[bytes | None], object]

    def message(self) -> bytes:
        return self.text

    def done(self, answer: bytes | None) -> None:
        self.told(answer)


GREETING = zmtp.opening("REQ")[:64]
READY = zmtp.opening("REQ")[64:]


@contextmanager
def listening(kind: int, address: str = "tcp://127.0.0.1:*", **options: int) -> Iterator[tuple[Any, tuple[str, int]]]:
    """Give a socket of libzmq and where it listens."""
    context = zmq.Context()
    made = context.socket(kind)
    try:
        for name, value in options.items():
            made.setsockopt(getattr(zmq, name), value)
        made.bind(address)
        yield made, ("127.0.0.1", int(made.LAST_ENDPOINT.decode().rpartition(":")[2]))
    finally:
        context.destroy(0)


@contextmanager
def echo(**options: int) -> Iterator[tuple[str, int]]:
    """Answer each request with itself, in a thread, until it is ``end``."""
    with listening(zmq.ROUTER, **options) as (router, address):

        def serve() -> None:
            while (frames := router.recv_multipart())[-1] != b"end":
                router.send_multipart(frames)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield address
        finally:
            with zmq.Context() as context, context.socket(zmq.REQ) as last:
                last.connect("tcp://{}:{}".format(*address))
                last.send(b"end")
                thread.join()


async def until(condition: Callable[[], object]) -> None:
    async def wait() -> None:
        while not condition():
            await asyncio.sleep(0.01)

    await asyncio.wait_for(wait(), PATIENCE)


@given(st.lists(st.binary(max_size=600), max_size=6), st.integers(1, 97))
def test_messages_are_read_in_pieces_of_any_length(bodies: list[bytes], length: int) -> None:
    """Wherever the network cuts, the messages are the same."""
    stream = GREETING + READY + b"".join(map(zmtp.request, bodies))
    decoder, seen = zmtp.Decoder(), []
    for begin in range(0, len(stream), length):
        messages, _ = decoder.feed(stream[begin : begin + length])
        seen += messages
    assert seen == bodies
    assert decoder.ready


@given(st.binary(min_size=1, max_size=200), st.booleans())
def test_any_bytes_give_messages_or_an_error_of_ours(data: bytes, greeted: bool) -> None:
    """Whatever listens on the port, a fake minion survives it."""
    decoder = zmtp.Decoder()
    try:
        messages, _ = decoder.feed((GREETING if greeted else b"") + data)
    except WireError:
        return
    assert all(isinstance(message, bytes) for message in messages)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "no ZeroMQ socket listens there"),
        (GREETING[:10] + b"\x01" + GREETING[11:], "version 1"),
        (GREETING.replace(b"NULL\0", b"CURVE"), "CURVE"),
        (GREETING + b"\x04\x0b\x05ERROR\x04full", "full"),
        (GREETING + READY + b"\x02" + b"\x7f" * 8, "too large"),
    ],
    ids=["another program", "version", "mechanism", "refusal", "size"],
)
def test_what_is_no_master_is_said(data: bytes, said: str) -> None:
    """Another program, another version and a refusal have a text each."""
    with pytest.raises(WireError, match=said):
        zmtp.Decoder().feed(data)


def test_requests_of_any_size_are_answered() -> None:
    """Short and long frames go both ways, over fewer connections than there are requests."""
    sizes = [0, 1, 255, 256, 70_000, 3_000_000]
    seen: dict[int, bytes | None] = {}

    async def main(address: tuple[str, int]) -> None:
        requests = Requests(address, 2, PATIENCE)
        for size in sizes:
            message = bytes(size)
            requests.submit(Asked(message, lambda got, size=size: seen.update({size: got})))  # type: ignore[misc]
        await until(lambda: len(seen) == len(sizes))
        requests.close()

    with echo() as address:
        asyncio.run(main(address))
    assert seen == {size: bytes(size) for size in sizes}


def test_a_heartbeat_is_answered() -> None:
    """A master that drops who does not answer its heartbeats keeps the connection through many of them."""
    ping, pong = b"\x04\x0a\x04PING\x00\x0acon", b"\x04\x08\x04PONGcon"
    assert zmtp.Decoder().feed(GREETING + READY + ping) == ([], pong)
    changes: list[bool] = []

    async def main(address: tuple[str, int]) -> None:
        got: list[bytes] = []
        connection = Connection(address, "REQ", got.append, changes.append)
        late = asyncio.get_running_loop().time() + 0.5  # libzmq gives up after 0.1
        await until(lambda: asyncio.get_running_loop().time() > late)
        connection.send(zmtp.request(b"here"))
        await until(lambda: got)
        connection.close()

    with echo(HEARTBEAT_IVL=25, HEARTBEAT_TIMEOUT=75) as address:
        asyncio.run(main(address))
    assert changes == [True]


def test_publications_come_and_come_again_after_a_restart() -> None:
    """The subscription is made anew at the same address; the topic before a message is not part of it."""
    got: list[bytes] = []
    changes: list[bool] = []

    async def published(address: str, body: bytes) -> tuple[str, int]:
        with listening(zmq.XPUB, address) as (publisher, where):
            connections = [] if changes else [Connection(where, "SUB", got.append, changes.append)]
            await asyncio.to_thread(publisher.recv)  # the subscription
            publisher.send_multipart([b"topic", body])
            await until(lambda: got[-1:] == [body])
            kept.extend(connections)
        return where

    kept: list[Connection] = []

    async def main() -> None:
        host, port = await published("tcp://127.0.0.1:*", b"one")
        await until(lambda: changes == [True, False])
        await published(f"tcp://{host}:{port}", b"two")
        kept[0].close()

    asyncio.run(main())
    assert got == [b"one", b"two"]
    assert changes[:3] == [True, False, True]


def test_a_request_fails_when_its_connection_is_lost_and_a_late_one_waits() -> None:
    """What was under way is told at once; what is asked while nobody listens is answered when somebody does."""
    seen: list[bytes | None] = []

    async def main() -> None:
        with listening(zmq.ROUTER) as (router, address):
            requests = Requests(address, 1, PATIENCE)
            requests.submit(Asked(b"first", seen.append))
            await asyncio.to_thread(router.recv_multipart)
        await until(lambda: seen == [None])
        requests.submit(Asked(b"second", seen.append))
        with listening(zmq.ROUTER, "tcp://{}:{}".format(*address)) as (router, _):
            router.send_multipart(await asyncio.to_thread(router.recv_multipart))
            await until(lambda: len(seen) == 2)
        requests.close()

    asyncio.run(main())
    assert seen == [None, b"second"]


def test_a_program_that_is_no_master_is_tried_again() -> None:
    """A listener that speaks something else gets more than one visit, and no request."""

    async def main() -> None:
        visits: list[bytes] = []

        async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            visits.append(await reader.read(1000))
            writer.write(b"220 mail.example ESMTP\r\n")
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(rude, "127.0.0.1", 0, family=socket.AF_INET)
        requests = Requests(server.sockets[0].getsockname(), 1, PATIENCE)
        requests.submit(Asked(b"secret", lambda _answer: None))
        await until(lambda: len(visits) > 1)
        requests.close()
        server.close()
        assert all(b"secret" not in visit for visit in visits)

    asyncio.run(main())
