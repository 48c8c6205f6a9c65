"""The relay delays, cuts and swallows without changing the bytes."""

from __future__ import annotations

import random
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.relays import Relay

DELAY = 0.15


class Echo(socketserver.BaseRequestHandler):
    """Send back what comes, and remember it."""

    def handle(self) -> None:
        """Serve one connection."""
        try:
            while data := self.request.recv(65536):
                self.server.seen.extend(data)  # type: ignore[attr-defined]
                self.request.sendall(data)
        except ConnectionError:
            return


class EchoServer(socketserver.ThreadingTCPServer):
    """An echo on a port that the kernel chooses."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Echo)
        self.seen = bytearray()


@pytest.fixture
def echo() -> Iterator[EchoServer]:
    """Serve an echo during one test."""
    with EchoServer() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def connect(relay: Relay) -> socket.socket:
    """Connect to a relay."""
    return socket.create_connection(("127.0.0.1", relay.port), timeout=10)


def receive(client: socket.socket, size: int) -> bytes:
    """Read exactly ``size`` bytes, or what came before the end."""
    data = bytearray()
    while len(data) < size and (part := client.recv(size - len(data))):
        data += part
    return bytes(data)


def silent(client: socket.socket, seconds: float = 0.3) -> bool:
    """Whether nothing can be read for a while."""
    client.settimeout(seconds)
    try:
        client.recv(1)
    except TimeoutError:
        return True
    finally:
        client.settimeout(10)
    return False


def test_round_trip_takes_both_delays(tcp_relay: Callable[..., Relay], echo: EchoServer) -> None:
    """A round trip takes at least the delay there plus the delay back."""
    relay = tcp_relay(echo.server_address[1], there=DELAY, back=DELAY)
    with connect(relay) as client:
        started = time.monotonic()
        client.sendall(b"ping")
        assert receive(client, 4) == b"ping"
        assert time.monotonic() - started >= 2 * DELAY


def test_bytes_keep_order_and_content(tcp_relay: Callable[..., Relay], echo: EchoServer) -> None:
    """A stream of megabytes comes back as it was sent, up to its end."""
    sent = random.Random(1).randbytes(3 << 20)
    with connect(tcp_relay(echo.server_address[1], there=0.01, back=0.01)) as client:
        sender = threading.Thread(target=lambda: (client.sendall(sent), client.shutdown(socket.SHUT_WR)))
        sender.start()
        assert receive(client, len(sent) + 1) == sent
        sender.join()


def test_cut_resets_and_heal_serves_again(tcp_relay: Callable[..., Relay], echo: EchoServer) -> None:
    """A cut resets the connections that stand and each new one; after the healing new ones work."""
    relay = tcp_relay(echo.server_address[1])
    with connect(relay) as client:
        client.sendall(b"a")
        assert receive(client, 1) == b"a"
        relay.cut()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with pytest.raises(ConnectionResetError), connect(relay) as client:
        client.recv(1)
    relay.heal()
    with connect(relay) as client:
        client.sendall(b"c")
        assert receive(client, 1) == b"c"


def test_dropping_new_connections_spares_old_ones(tcp_relay: Callable[..., Relay], echo: EchoServer) -> None:
    """With new connections dropped, one that stands goes on."""
    relay = tcp_relay(echo.server_address[1])
    with connect(relay) as old:
        old.sendall(b"a")
        assert receive(old, 1) == b"a"
        relay.drop_new()
        with pytest.raises(ConnectionResetError), connect(relay) as new:
            new.recv(1)
        old.sendall(b"b")
        assert receive(old, 1) == b"b"


@pytest.mark.parametrize("there", [True, False])
def test_one_way_black_hole_delivers_late(tcp_relay: Callable[..., Relay], echo: EchoServer, there: bool) -> None:
    """A black hole of one direction holds its bytes, lets the other pass, and gives them after the healing."""
    relay = tcp_relay(echo.server_address[1])
    with connect(relay) as client:
        client.sendall(b"1")
        assert receive(client, 1) == b"1"
        relay.blackhole(there=there, back=not there)
        client.sendall(b"2")
        assert silent(client)
        assert bytes(echo.seen) == (b"1" if there else b"12")
        relay.heal()
        assert receive(client, 1) == b"2"
