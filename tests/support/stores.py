"""etcd and PostgreSQL over TLS as the store of a group: alike for tests that do not care which of the two it is."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psycopg
import pytest
from aetcd import rpc
from grpc import ssl_channel_credentials

from saltext_logilab.masters.addresses import Address
from saltext_logilab.masters.stores.settings import EtcdSettings, PostgresqlSettings, StoreSettings, Tls
from tests.support.certificates import Authority
from tests.support.etcd import EtcdServer
from tests.support.postgresql import PASSWORD, PostgresqlServer
from tests.support.roots import new_root

WRITES = "-c default_transaction_read_only=off"
KINDS = ("etcd", "postgresql")


class Store(ABC):
    """A server of tests, with a place of its own for each group."""

    server: EtcdServer | PostgresqlServer

    def __init__(self) -> None:
        self._copies = 0

    @abstractmethod
    def settings(self) -> StoreSettings:
        """Return what a member's configuration says of it."""

    @abstractmethod
    def content(self) -> dict[str, bytes]:
        """Return all that lies there, by a name."""

    @abstractmethod
    def put(self, name: str, content: bytes) -> None:
        """Write something under a name of :meth:`content`, as somebody with access does, without a word to anybody."""

    @abstractmethod
    def empty(self) -> None:
        """Remove everything."""

    def kill(self) -> None:
        """Kill the server with SIGKILL."""
        self.server.kill()

    def start(self) -> None:
        """Start it again."""
        self.server.restart()

    def backup(self) -> Path:
        """Copy its data, for which it is stopped for a moment."""
        self._copies += 1
        copy = self.server.root / f"copy{self._copies}"
        self.server.halt()
        _copy(self.server.data, copy)
        self.server.start()
        return copy

    def restore(self, copy: Path) -> None:
        """Put back the data of ``copy``."""
        self.server.halt()
        shutil.rmtree(self.server.data)
        _copy(copy, self.server.data)
        self.server.start()


def _copy(source: Path, target: Path) -> None:
    owner = source.stat()
    shutil.copytree(source, target)
    for path in (target, *target.rglob("*")):
        shutil.chown(path, owner.st_uid, owner.st_gid)


class EtcdStore(Store):
    """etcd; clients show certificates."""

    def __init__(self, server: EtcdServer) -> None:
        super().__init__()
        self.server: EtcdServer = server
        self.prefix = f"test-{secrets.token_hex(4)}"

    def settings(self) -> EtcdSettings:
        """Return what a member's configuration says of it."""
        files = self.server.tls
        assert files
        tls = Tls(files.ca, files.certificate, files.key)
        return EtcdSettings((Address(self.server.host, self.server.port),), self.prefix, tls)

    def _call(self, stub: str, name: str, request: object) -> object:
        """Call etcd as somebody else does, over a connection of its own."""
        import grpc  # noqa: PLC0415 - the one that waits, beside the one that does not

        files = self.server.tls
        assert files
        credentials = ssl_channel_credentials(
            files.ca.read_bytes(), files.key.read_bytes(), files.certificate.read_bytes()
        )
        with grpc.secure_channel(f"{self.server.host}:{self.server.port}", credentials) as channel:
            return getattr(getattr(rpc, stub)(channel), name)(request, timeout=10)

    def _range(self) -> dict[str, bytes]:
        start = f"{self.prefix}/".encode()
        return {"key": start, "range_end": start[:-1] + b"0"}

    def content(self) -> dict[str, bytes]:
        """Return all that lies there."""
        answer = self._call("KVStub", "Range", rpc.RangeRequest(**self._range()))
        return {one.key.decode(): one.value for one in answer.kvs}

    def put(self, name: str, content: bytes) -> None:
        """Write a key."""
        self._call("KVStub", "Put", rpc.PutRequest(key=name.encode(), value=content))

    def empty(self) -> None:
        """Remove all keys."""
        self._call("KVStub", "DeleteRange", rpc.DeleteRangeRequest(**self._range()))

    def fill(self) -> None:
        """Write until etcd takes nothing more."""
        import grpc  # noqa: PLC0415 - as above

        with contextlib.suppress(grpc.RpcError):
            while True:
                self.put("filling", bytes(1024 * 1024))

    def make_room(self) -> None:
        """Let etcd take something again, as an operator does: forget the history, give space back, disarm the alarm."""
        self.compact()
        self._call("MaintenanceStub", "Defragment", rpc.DefragmentRequest())
        alarms = self._call("MaintenanceStub", "Alarm", rpc.AlarmRequest(action=rpc.AlarmRequest.AlarmAction.GET))
        for one in alarms.alarms:
            off = rpc.AlarmRequest.AlarmAction.DEACTIVATE
            self._call("MaintenanceStub", "Alarm", rpc.AlarmRequest(action=off, memberID=one.memberID, alarm=one.alarm))

    def ask_for_passwords(self, users: Mapping[str, str]) -> None:
        """Let etcd ask for the passwords of ``users``; all but root may read and write what lies in this place only."""
        place = self._range()
        permission = rpc.Permission(permType=rpc.Permission.READWRITE, **place)
        self._call("AuthStub", "RoleAdd", rpc.AuthRoleAddRequest(name="group"))
        self._call("AuthStub", "RoleGrantPermission", rpc.AuthRoleGrantPermissionRequest(name="group", perm=permission))
        self._call("AuthStub", "RoleAdd", rpc.AuthRoleAddRequest(name="root"))
        for name, password in users.items():
            self._call("AuthStub", "UserAdd", rpc.AuthUserAddRequest(name=name, password=password))
            role = "root" if name == "root" else "group"
            self._call("AuthStub", "UserGrantRole", rpc.AuthUserGrantRoleRequest(user=name, role=role))
        self._call("AuthStub", "AuthEnable", rpc.AuthEnableRequest())

    def compact(self) -> None:
        """Forget all history."""
        answer = self._call("KVStub", "DeleteRange", rpc.DeleteRangeRequest(key=b"filling"))
        answer = self._call("KVStub", "Put", rpc.PutRequest(key=b"last", value=b"")) if not answer.deleted else answer
        self._call("KVStub", "Compact", rpc.CompactionRequest(revision=answer.header.revision, physical=True))


class PostgresqlStore(Store):
    """PostgreSQL; clients give a password."""

    def __init__(self, server: PostgresqlServer) -> None:
        super().__init__()
        self.server: PostgresqlServer = server
        self.database = f"test_{secrets.token_hex(4)}"
        with psycopg.connect(server.socket_dsn, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {self.database}")
        self.password_file = server.root / f"{self.database}.password"
        self.password_file.touch(mode=0o600)
        self.password_file.write_text(f"{PASSWORD}\n")

    def settings(self) -> PostgresqlSettings:
        """Return what a member's configuration says of it."""
        assert self.server.tls
        where = f"host=localhost port={self.server.port} user=postgres dbname={self.database}"
        return PostgresqlSettings(f"{where} sslmode=verify-full sslrootcert={self.server.tls.ca}", self.password_file)

    def connect(self) -> psycopg.Connection:
        """Connect as somebody with all rights."""
        return psycopg.connect(f"{self.server.socket_dsn} dbname={self.database}", autocommit=True, options=WRITES)

    def content(self) -> dict[str, bytes]:
        """Return all rows."""
        with self.connect() as connection:
            parts = connection.execute(
                "SELECT team, member, log, number, content FROM logilab.masters_parts"
            ).fetchall()
            heads = connection.execute("SELECT team, member, content FROM logilab.masters_heads").fetchall()
        rows = [(("logs", *map(str, row[1:-1])), row[-1]) for row in parts] + [
            (("heads", row[1]), row[2]) for row in heads
        ]
        return {"/".join(name): content for name, content in rows}

    def put(self, name: str, content: bytes) -> None:
        """Change a row."""
        what, member, *rest = name.split("/")
        with self.connect() as connection:
            if what == "heads":
                connection.execute("UPDATE logilab.masters_heads SET content = %s WHERE member = %s", (content, member))
            else:
                connection.execute(
                    "UPDATE logilab.masters_parts SET content = %s WHERE member = %s AND log = %s AND number = %s",
                    (content, member, *rest),
                )

    def set_for_all(self, setting: str) -> None:
        """Change a ``setting`` of the database, and end all connections so that it holds for all."""
        with self.connect() as connection:
            connection.execute(f"ALTER DATABASE {self.database} SET {setting}")
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid != pg_backend_pid()",
                (self.database,),
            )

    def empty(self) -> None:
        """Remove all rows, without a notification."""
        with self.connect() as connection:
            connection.execute("TRUNCATE logilab.masters_heads, logilab.masters_parts")


def new_store(kind: str, parent: Path, authority: Authority) -> Store:
    """Start a server of ``kind``."""
    root = new_root(parent, kind)
    if kind == "etcd":
        etcd = EtcdServer(root, authority)
        etcd.start()
        return EtcdStore(etcd)
    postgresql = PostgresqlServer(root, authority)
    postgresql.create()
    postgresql.start()
    return PostgresqlStore(postgresql)


@pytest.fixture(scope="session")
def store_servers(daemon_root: Path) -> Iterator[Callable[[str], Store]]:
    """Return what gives a store of a kind, on a server of the session that tests do not stop."""
    started: dict[str, Store] = {}
    authority = Authority()

    def give(kind: str) -> Store:
        if kind not in started:
            started[kind] = new_store(kind, daemon_root, authority)
        return type(started[kind])(started[kind].server)  # type: ignore[call-arg]

    yield give
    for one in started.values():
        one.server.stop()


@pytest.fixture(scope="module")
def own_servers(daemon_root: Path) -> Iterator[Callable[[str], Store]]:
    """Return what gives a store of a kind, on a server of the module that its tests may kill, and leave running."""
    started: dict[str, Store] = {}
    authority = Authority()

    def give(kind: str) -> Store:
        if kind not in started:
            started[kind] = new_store(kind, daemon_root, authority)
        return type(started[kind])(started[kind].server)  # type: ignore[call-arg]

    yield give
    for one in started.values():
        one.server.stop()
