"""A private etcd serves, watches, and keeps its data over a kill."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aetcd
import pytest

from tests.support.etcd import EtcdServer
from tests.support.waiting import wait_until


def test_watch_sees_a_put(etcd_server: EtcdServer) -> None:
    """What one client puts, another one watches and gets."""

    async def exchange() -> tuple[bytes, bytes]:
        async with aetcd.Client(etcd_server.host, etcd_server.port) as client:
            watch = await client.watch(b"rig/put")
            await client.put(b"rig/put", b"seen")
            event = await asyncio.wait_for(anext(aiter(watch)), 20)
            await watch.cancel()
            return event.kv.value, (await client.get(b"rig/put")).value

    assert asyncio.run(exchange()) == (b"seen", b"seen")


def test_data_outlive_a_kill(new_etcd_server: Callable[[], EtcdServer]) -> None:
    """A killed etcd answers nobody; restarted on the same port, it still has what was put."""
    server = new_etcd_server()

    async def put() -> None:
        async with aetcd.Client(server.host, server.port) as client:
            await client.put(b"kept", b"yes")

    def is_kept() -> bool:
        try:
            return asyncio.run(get()) == b"yes"
        except aetcd.ClientError:
            return False  # gRPC takes a moment before it tries again an address where nobody has answered

    async def get() -> bytes:
        async with aetcd.Client(server.host, server.port, timeout=10) as client:
            return (await client.get(b"kept")).value

    asyncio.run(put())
    first = server.pid
    server.kill()
    assert not server.healthy()
    with pytest.raises(aetcd.ClientError):
        asyncio.run(get())
    server.restart()
    assert server.pid != first
    wait_until(is_kept, 60, "what was put before")
