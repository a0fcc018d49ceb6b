"""What the server tells of its health, whoever listens or does not."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from reelsplit_server.access.keys import KeyRing
from reelsplit_server.access.principals import Principals
from reelsplit_server.rpc import health as module
from reelsplit_server.rpc.interceptors import Gate
from reelsplit_server.rpc.server import RpcServer

PATIENCE = 60.0
SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING
_NOTHING: Any = object()
# Types of frames, and their flags: https://www.rfc-editor.org/rfc/rfc9113#section-6
_DATA, _HEADERS, _SETTINGS, _PING = 0, 1, 4, 6
_END_STREAM = _ACK = 1
_END_HEADERS = 4


@asynccontextmanager
async def running() -> AsyncIterator[tuple[RpcServer, str]]:
    """A server without use cases, and its address."""
    gate = Gate(Principals({}, KeyRing(_NOTHING, _NOTHING)), 10, 10)
    server = RpcServer(
        *(_NOTHING, _NOTHING, _NOTHING, gate),
        most_message_bytes=2**20,
        keepalive=60,
        keepalive_timeout=60,
    )
    address = server.bind("127.0.0.1:0", None)
    await server.start()
    try:
        async with asyncio.timeout(PATIENCE):
            yield server, address
    finally:
        await server.stop(0)


async def checked(address: str) -> list[int]:
    """What is told of all services."""
    names = ("", "reelsplit.v1.JobService", "reelsplit.v1.MediaService")
    async with grpc.aio.insecure_channel(address) as channel:
        stub = HealthStub(channel)
        return [(await stub.Check(HealthCheckRequest(service=name))).status for name in names]


async def test_one_who_reads_nothing_keeps_nobody_from_hearing_that_it_drains() -> None:
    async with running() as (server, address), _deaf(address):
        await server.take(False)
        assert await checked(address) == [NOT_SERVING] * 3
        await server.take(True)
        assert await checked(address) == [SERVING] * 3
        await server.drain()
        assert await checked(address) == [NOT_SERVING] * 3


async def test_nothing_serves_again_once_it_drains() -> None:
    async with running() as (server, address):
        await asyncio.gather(server.take(True), server.drain(), server.take(True))
        assert await checked(address) == [NOT_SERVING] * 3


async def test_those_who_watch_hear_of_each_change() -> None:
    async with running() as (server, address), grpc.aio.insecure_channel(address) as channel:
        watches = [HealthStub(channel).Watch(HealthCheckRequest()) for _ in range(3)]
        unknown = HealthStub(channel).Watch(HealthCheckRequest(service="other"))
        for takes, status in ((True, SERVING), (False, NOT_SERVING), (True, SERVING)):
            await server.take(takes)
            assert [(await watch.read()).status for watch in watches] == [status] * 3
        await server.drain()
        assert [(await watch.read()).status for watch in watches] == [NOT_SERVING] * 3
        assert (await unknown.read()).status == HealthCheckResponse.SERVICE_UNKNOWN


async def test_so_many_watch_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_WATCHES", 2)
    async with running() as (_, address), grpc.aio.insecure_channel(address) as channel:
        watches = [HealthStub(channel).Watch(HealthCheckRequest()) for _ in range(2)]
        for watch in watches:
            await watch.read()
        with pytest.raises(grpc.aio.AioRpcError, match="2 watches"):
            await HealthStub(channel).Watch(HealthCheckRequest()).read()
        assert await checked(address) == [SERVING] * 3
        watches[0].cancel()
        await _watches_again(channel)


async def _watches_again(channel: grpc.aio.Channel) -> None:
    while True:
        try:
            await HealthStub(channel).Watch(HealthCheckRequest()).read()
        except grpc.aio.AioRpcError:
            await asyncio.sleep(0.01)
        else:
            return


@asynccontextmanager
async def _deaf(address: str) -> AsyncIterator[None]:
    """One who watches health and lets the server send no byte of its answer. No client that is
    made for gRPC does that."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    nothing = struct.pack(">HI", 4, 0)
    names = {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/grpc.health.v1.Health/Watch",
        ":authority": "a",
        "content-type": "application/grpc",
        "te": "trailers",
    }
    head = b"".join(b"\0" + _text(name) + _text(value) for name, value in names.items())
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(_SETTINGS, 0, 0, nothing))
    writer.write(_frame(_HEADERS, _END_HEADERS, 1, head))
    writer.write(_frame(_DATA, _END_STREAM, 1, bytes(5)))
    began = asyncio.Event()

    async def keep() -> None:
        while True:
            start = await reader.readexactly(9)
            payload = await reader.readexactly(int.from_bytes(start[:3]))
            kind, flags = start[3], start[4]
            if kind in (_SETTINGS, _PING) and not flags & _ACK:
                writer.write(_frame(kind, _ACK, 0, payload if kind == _PING else b""))
            elif kind == _HEADERS:
                # It goes with the first message, which cannot follow.
                began.set()

    keeping = asyncio.create_task(keep())
    try:
        await began.wait()
        yield
    finally:
        keeping.cancel()
        writer.close()


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    head = len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4)
    return head + payload


def _text(value: str) -> bytes:
    return bytes([len(value)]) + value.encode()
