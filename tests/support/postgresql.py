"""A private PostgreSQL."""

from __future__ import annotations

import pwd
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.certificates import Authority, place
from tests.support.processes import Daemon, MissingProgram, free_port, program, run
from tests.support.roots import new_root
from tests.support.sessions import remove_tree

PACKAGE = "postgresql"
USER = "postgres"
PASSWORD = "not in the open"
HBA = "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n"
SETTINGS = (
    "listen_addresses=127.0.0.1",
    "fsync=off",  # a killed process loses nothing by it, only a killed machine does
    "shared_buffers=16MB",
    "max_connections=50",
)


def binary(name: str) -> str:
    """Return a program of the newest PostgreSQL of this machine."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda it: -int(it.parent.name))
    return program(name, PACKAGE, *map(str, folders))


class PostgresqlServer:
    """
    One PostgreSQL server as user ``postgres``, on 127.0.0.1 and on a Unix socket in :attr:`root`.

    Everybody may connect as ``postgres``; with an ``authority`` over TCP only by TLS and with :data:`PASSWORD`. Its
    data outlive :meth:`kill`.
    """

    def __init__(self, root: Path, authority: Authority | None = None) -> None:
        self.host = "localhost" if authority else "127.0.0.1"
        self.port = free_port()
        self.root = root
        self.data = root / "data"
        self.tls = place(authority, root / "tls") if authority else None
        proven = ("ssl=on", f"ssl_cert_file={self.tls.certificate}", f"ssl_key_file={self.tls.key}",
                  f"hba_file={root / 'hba'}") if self.tls else ()  # fmt: skip
        settings = (*SETTINGS, *proven, f"port={self.port}", f"unix_socket_directories={root}")
        options = [word for setting in settings for word in ("-c", setting)]
        self._daemon = Daemon("postgres", [binary("postgres"), "-D", self.data, *options], root, user=USER)

    @property
    def dsn(self) -> str:
        """The connection string over TCP."""
        return f"host={self.host} port={self.port} user={USER} dbname=postgres"

    @property
    def socket_dsn(self) -> str:
        """The connection string over the Unix socket."""
        return f"host={self.root} port={self.port} user={USER} dbname=postgres"

    @property
    def pid(self) -> int:
        """The process id of the postmaster."""
        return self._daemon.pid

    def create(self) -> None:
        """Make the empty database."""
        try:
            account = pwd.getpwnam(USER)
        except KeyError as err:
            raise MissingProgram(f"there is no user {USER}: apt-get install {PACKAGE}") from err
        (self.root / "hba").write_text(HBA)
        (self.root / "password").write_text(PASSWORD)
        for path in (self.root, *self.root.rglob("*")):
            shutil.chown(path, account.pw_uid, account.pw_gid)
        make = (
            binary("initdb"),
            "-D",
            self.data,
            "--pwfile",
            self.root / "password",
            "--auth=trust",
            "--no-sync",
            "--locale=C.UTF-8",
            "-U",
            USER,
        )
        run(*make, user=account.pw_uid, group=account.pw_gid, extra_groups=[], cwd=self.root)

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        self._daemon.start(self.ready)

    def ready(self) -> bool:
        """Whether it takes connections."""
        ask = [binary("pg_isready"), "-q", "-h", self.host, "-p", str(self.port)]
        return subprocess.run(ask, check=False).returncode == 0

    def halt(self) -> None:
        """Stop it; its data stay."""
        self._daemon.stop(signal.SIGINT)

    def kill(self) -> None:
        """Kill the postmaster and all its processes with SIGKILL."""
        self._daemon.kill()
        self._daemon.end_owned()

    def restart(self) -> None:
        """Start it again on the same port with the same data, stopped first where it runs."""
        self._daemon.stop(signal.SIGINT)
        self.start()

    def stop(self) -> None:
        """End it and remove what it kept."""
        self._daemon.stop(signal.SIGINT)
        remove_tree(self.root)


def _start(parent: Path) -> PostgresqlServer:
    server = PostgresqlServer(new_root(parent, "pg"))
    server.create()
    server.start()
    return server


@pytest.fixture(scope="session")
def postgresql_server(daemon_root: Path) -> Iterator[PostgresqlServer]:
    """One PostgreSQL for the session; tests make databases or schemas of their own and do not kill it."""
    server = _start(daemon_root)
    yield server
    server.stop()


@pytest.fixture
def new_postgresql_server(daemon_root: Path) -> Iterator[Callable[[], PostgresqlServer]]:
    """Return a maker of servers that a test may kill."""
    made: list[PostgresqlServer] = []

    def make() -> PostgresqlServer:
        made.append(_start(daemon_root))
        return made[-1]

    yield make
    for server in made:
        server.stop()
