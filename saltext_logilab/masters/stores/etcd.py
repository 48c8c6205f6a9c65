"""
A group's records in etcd.

Keys are ``<prefix>/masters/<group>/heads/<member>`` and ``<prefix>/masters/<group>/logs/<member>/<log>/<number>``. The
watch begins at the revision at which the connection was opened; when it ends for any reason, a compaction included,
the connection is given up, and who has it lists everything anew over another one. The protocol is that of aetcd; its
own client knows no TLS.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

from saltext_logilab.errors import UnavailableError
from saltext_logilab.masters.stores.backend import CALL_TIME, ChangedError, Word, slices
from saltext_logilab.masters.stores.settings import EtcdSettings, secret
from saltext_logilab.patience import within

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what is wrong is told by exceptions
try:
    import grpc
    from aetcd import rpc
except ImportError:  # the extra [etcd] is not installed
    grpc = rpc = None

MISSING = "etcd as a store needs aetcd: pip install 'saltext-logilab[etcd]'"
AT_ONCE = 6  # parts of at most 128 KiB in one answer: gRPC takes 4 MiB
WRITE_SIZE, WRITE_COUNT = 512 * 1024, 64  # etcd takes 1.5 MiB and 128 operations
DEAF_AFTER = 10.0
# A connection over which nothing comes back is dead after 20 s. Without the last two, gRPC waits for up to 2 minutes
# before it tries again by itself; trying again is not its work here.
_OPTIONS = (
    ("grpc.keepalive_time_ms", 15_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
)

T = TypeVar("T")


class Etcd:
    """One connection to etcd."""

    def __init__(self, settings: EtcdSettings, turn: int, group: str) -> None:
        """Prepare; of several endpoints the one whose ``turn`` it is."""
        self._settings = settings
        self._endpoint = settings.endpoints[turn % len(settings.endpoints)]
        self._root = f"{settings.prefix}/masters/{group}/"
        self._channel: Any = None
        self._metadata: Any = None
        self._opened = self._written = self._seen = 0
        self._waiting_since = 0.0

    @property
    def place(self) -> str:
        """Which store this is, and where."""
        return f"etcd at {self._endpoint}"

    async def open(self) -> None:
        """Connect, sign in and note the revision."""
        if rpc is None:
            raise UnavailableError(MISSING)
        target = str(self._endpoint)
        tls = self._settings.tls
        if tls is None:
            self._channel = rpc.insecure_channel(target, options=_OPTIONS)
        else:
            credentials = grpc.ssl_channel_credentials(*tls.contents())
            self._channel = rpc.secure_channel(target, credentials, options=_OPTIONS)
        if self._settings.user:
            request = rpc.AuthenticateRequest(
                name=self._settings.user, password=secret(self._settings.password_file, "etcd's password")
            )
            answer = await self._call(rpc.AuthStub(self._channel).Authenticate(request, timeout=CALL_TIME))
            self._metadata = (("token", answer.token),)
        answer = await self._range(self._root, count_only=True)
        self._opened = self._seen = answer.header.revision

    async def close(self) -> None:
        """End the connection."""
        if self._channel is not None:
            await self._channel.close()

    async def heads(self) -> dict[str, bytes]:
        """Return the heads."""
        answer = await self._range(f"{self._root}heads/")
        return {one.key.decode().rpartition("/")[2]: bytes(one.value) for one in answer.kvs}

    async def parts(self, member: str, log: str, after: int) -> list[tuple[int, bytes]]:
        """Return the next parts."""
        folder = f"{self._root}logs/{member}/{log}/"
        answer = await self._range(folder, start=self._part(member, log, after + 1), limit=AT_ONCE)
        return [(int(one.key.decode().rpartition("/")[2], 16), bytes(one.value)) for one in answer.kvs]

    async def count(self, member: str, log: str) -> int:
        """Return the number of parts of a log."""
        return int((await self._range(f"{self._root}logs/{member}/{log}/", count_only=True)).count)

    async def write(
        self, member: str, log: str, parts: Sequence[tuple[int, bytes]], head: bytes, before: bytes
    ) -> None:
        """Write in transactions; the head is in the last one."""
        key = f"{self._root}heads/{member}".encode()
        same = rpc.Compare(key=key, target=rpc.Compare.VALUE, result=rpc.Compare.EQUAL, value=before)
        pieces = slices(parts, WRITE_SIZE, WRITE_COUNT) or [()]
        for number, piece in enumerate(pieces, 1):
            puts = [(self._part(member, log, one), content) for one, content in piece]
            if number == len(pieces):
                puts.append((key.decode(), head))
            operations = [
                rpc.RequestOp(request_put=rpc.PutRequest(key=key.encode(), value=value)) for key, value in puts
            ]
            if not await self._change(operations, [same] if before else []):
                raise ChangedError("etcd holds another head than the one that was written")

    async def clean(self, member: str, keep: str) -> None:
        """Remove the other logs: the ranges before and behind the one to keep."""
        folder = f"{self._root}logs/{member}/"
        ranges = [(folder, _end(folder))]
        if keep:
            ranges = [(folder, f"{folder}{keep}/"), (_end(f"{folder}{keep}/"), _end(folder))]
        else:
            ranges.append((f"{self._root}heads/{member}", ""))
        await self._change(
            [
                rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=one.encode(), range_end=end.encode()))
                for one, end in ranges
            ]
        )

    async def follow(self, told: Callable[[Word], None]) -> None:
        """Watch the group's keys from the revision after the first listing."""
        request = rpc.WatchRequest(
            create_request=rpc.WatchCreateRequest(
                key=self._root.encode(), range_end=_end(self._root).encode(), start_revision=self._opened + 1,
                fragment=True,
            )
        )  # fmt: skip

        async def requests() -> AsyncIterator[Any]:
            yield request
            await asyncio.Event().wait()  # the stream ends when this side has nothing more to say

        stream = rpc.WatchStub(self._channel).Watch(requests(), metadata=self._metadata)
        try:
            async for answer in stream:
                if answer.canceled or answer.compact_revision:
                    why = "its history was compacted" if answer.compact_revision else answer.cancel_reason
                    raise UnavailableError(f"etcd has ended the watch: {why}")
                for event in answer.events:
                    told(self._word(event))
                self._seen = max(self._seen, answer.header.revision)
        except rpc.AioRpcError as err:
            raise UnavailableError(f"etcd: {_reason(err)}") from err
        finally:
            stream.cancel()
        raise UnavailableError("etcd has ended the watch")

    def check(self) -> None:
        """:raises UnavailableError: the watch has not told what was written here: it is deaf."""
        if self._seen >= self._written:
            self._waiting_since = 0.0
        elif not self._waiting_since:
            self._waiting_since = time.monotonic()
        elif time.monotonic() - self._waiting_since > DEAF_AFTER:
            raise UnavailableError("the watch of etcd tells nothing any more")

    def _word(self, event: Any) -> Word:
        what, member, *rest = event.kv.key.decode(errors="replace").removeprefix(self._root).split("/")
        content = None if event.type == rpc.Event.DELETE else bytes(event.kv.value)
        if what == "heads" and not rest:
            return Word(member, content=content)
        try:
            log, number = rest
            return Word(member, log, int(number, 16), content)
        except ValueError:
            return Word("")

    def _part(self, member: str, log: str, number: int) -> str:
        return f"{self._root}logs/{member}/{log}/{number:08x}"

    async def _range(self, prefix: str, *, start: str = "", limit: int = 0, count_only: bool = False) -> Any:
        request = rpc.RangeRequest(
            key=(start or prefix).encode(), range_end=_end(prefix).encode(), limit=limit, count_only=count_only
        )
        stub = rpc.KVStub(self._channel)
        return await self._call(stub.Range(request, timeout=CALL_TIME, metadata=self._metadata))

    async def _change(self, operations: list[Any], conditions: Sequence[Any] = ()) -> bool:
        stub = rpc.KVStub(self._channel)
        request = rpc.TxnRequest(compare=conditions, success=operations)
        answer = await self._call(stub.Txn(request, timeout=CALL_TIME, metadata=self._metadata))
        if answer.succeeded:
            self._written = max(self._written, answer.header.revision)
        return bool(answer.succeeded)

    @staticmethod
    async def _call(call: Awaitable[T]) -> T:
        try:
            return await within(CALL_TIME + 1, call)
        except asyncio.TimeoutError as err:
            raise UnavailableError("etcd does not answer") from err
        except rpc.AioRpcError as err:
            raise UnavailableError(f"etcd: {_reason(err)}") from err


def _end(prefix: str) -> str:
    """Return the first key behind all that begin with ``prefix``."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def _reason(err: Any) -> str:
    told = str(err.details() or "").strip() or str(err.code())
    return told if len(told) < 300 else f"{told[:100]} … {told[-190:]}"
