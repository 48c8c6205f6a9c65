"""A private etcd, in the clear or over TLS, where it asks its clients for certificates, too."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.certificates import Authority, place
from tests.support.processes import Daemon, free_port, program
from tests.support.roots import new_root
from tests.support.sessions import remove_tree


class EtcdServer:
    """
    One etcd of one member on 127.0.0.1; its data outlive :meth:`kill`.

    :param authority: who has signed its certificate and those of its clients; without one it speaks in the clear.
    """

    def __init__(self, root: Path, authority: Authority | None = None, *options: str) -> None:
        self.host = "localhost" if authority else "127.0.0.1"
        self.port = free_port()
        self.root = root
        self.data = root / "data"
        self.tls = place(authority, root / "tls") if authority else None
        files = self.tls
        proven = ("--cert-file", files.certificate, "--key-file", files.key, "--client-cert-auth",
                  "--trusted-ca-file", files.ca) if files else ()  # fmt: skip
        peers = f"http://127.0.0.1:{free_port()}"
        self._daemon = Daemon(
            "etcd",
            [
                program("etcd", "etcd-server"),
                *("--name", "test", "--data-dir", self.data),
                *("--listen-client-urls", self.url.replace("localhost", "127.0.0.1")),
                *("--advertise-client-urls", self.url),
                *proven,
                *options,
                *("--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers),
                *("--initial-cluster", f"test={peers}"),
            ],
            root,
        )

    @property
    def url(self) -> str:
        """The address for clients."""
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        """The process id."""
        return self._daemon.pid

    def start(self) -> None:
        """Start it and wait until it is healthy."""
        self._daemon.start(self.healthy)

    def healthy(self) -> bool:
        """Whether it says that it is."""
        context = None
        if self.tls:
            context = ssl.create_default_context(cafile=str(self.tls.ca))
            context.load_cert_chain(self.tls.certificate, self.tls.key)
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5, context=context) as answer:
                return b'"true"' in answer.read()
        except (urllib.error.URLError, OSError):
            return False

    def halt(self) -> None:
        """Stop it; its data stay."""
        self._daemon.stop()

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self._daemon.kill()

    def restart(self) -> None:
        """Start it again on the same port with the same data, stopped first where it runs."""
        self._daemon.stop()
        self.start()

    def stop(self) -> None:
        """End it and remove what it kept."""
        self._daemon.stop()
        remove_tree(self.root)


@pytest.fixture(scope="session")
def etcd_server(daemon_root: Path) -> Iterator[EtcdServer]:
    """One etcd for the session; tests keep to keys of their own and do not kill it."""
    server = EtcdServer(new_root(daemon_root, "etcd"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def new_etcd_server(daemon_root: Path) -> Iterator[Callable[[], EtcdServer]]:
    """Return a maker of etcds that a test may kill."""
    made: list[EtcdServer] = []

    def make() -> EtcdServer:
        made.append(EtcdServer(new_root(daemon_root, "etcd")))
        made[-1].start()
        return made[-1]

    yield make
    for server in made:
        server.stop()
