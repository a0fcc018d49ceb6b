"""The face on a real HTTP server, over use cases that a test writes, with keys and a clock of its
own."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from reelsplit_server.access.keys import AccessKey, KeyRing, make_key
from reelsplit_server.access.nonces import Nonces
from reelsplit_server.access.permissions import ORDINARY
from reelsplit_server.access.reach import EVERYTHING
from reelsplit_server.access.vault import Vault
from reelsplit_server.app.buckets import Buckets
from reelsplit_server.ims.budget import Budget
from reelsplit_server.ims.face import Face
from reelsplit_server.ims.gate import Gate
from reelsplit_server.ims.server import ImsServer
from reelsplit_server.jobs.database import Database
from reelsplit_server.storage.location import Scheme
from reelsplit_server.storage.routes import Routes, StoreRoute
from tests.ims import received
from tests.unit.ims.recorded import KEY_ID, SECRET

ROUTES = Routes(
    stores=(
        StoreRoute(
            name="oss",
            scheme=Scheme.OSS,
            buckets=("test-bucket", "example-bucket"),
            endpoints=("oss-cn-shanghai.aliyuncs.com",),
            url="https://oss-cn-shanghai.aliyuncs.com",
        ),
        StoreRoute(name="main", scheme=Scheme.S3, buckets=("pieces", "my.pieces"), url="http://s3"),
        StoreRoute(name="google", scheme=Scheme.GCS, buckets=("rushes",)),
    )
)


@dataclass
class Scripted:
    """Use cases that do as they are told, and what they were asked for."""

    answer: Callable[..., Any] = lambda *given, **named: None
    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        async def call(*given: Any, **named: Any) -> Any:
            self.calls.append((name, given, named))
            found = self.answer(name, *given, **named)
            return await found if asyncio.iscoroutine(found) else found

        return call


@dataclass
class Faced:
    """A running face."""

    address: str
    cases: Scripted
    ring: KeyRing
    keys: list[AccessKey]
    now: datetime | None = None
    """The time that the server thinks it is; the real one where it is None."""
    budget: Budget = field(default_factory=lambda: Budget(0))
    """What is left for requests before they are let in."""

    def change(self, **values: Any) -> None:
        """Change the first key."""
        self.keys[0] = dataclasses.replace(self.keys[0], **values)
        asyncio.run(self.ring.load())

    def send(self, request: bytes, *, patience: float = 20.0) -> bytes:
        """The whole answer to the bytes of a request, which closes the connection."""
        host, _, port = self.address.rpartition(":")
        with socket.create_connection((host, int(port)), patience) as line:
            line.sendall(request)
            return received(line)


@contextmanager
def facing(
    folder: Path, *, rate: float | None = None, most_calls: int = 64, now: datetime | None = None
) -> Iterator[Faced]:
    """A face on a free port, until the block ends; the same folder remembers its nonces."""
    vault = Vault(b"v" * 32)
    keys = [
        make_key(
            vault,
            principal="team",
            permissions=ORDINARY,
            reach=EVERYTHING,
            create_time=datetime.now(UTC),
            key_id=key_id,
            secret=SECRET,
        ).key
        for key_id in (KEY_ID, "STS.testak")
    ]

    async def all_keys() -> Sequence[AccessKey]:
        return keys

    ring = KeyRing(SimpleNamespace(all=all_keys), vault)  # type: ignore[arg-type]
    asyncio.run(ring.load())
    cases = Scripted()
    faced = Faced("", cases, ring, keys, now)
    ready = threading.Event()
    stop: list[Any] = []

    async def serve() -> None:
        stop.extend((asyncio.get_running_loop(), asyncio.Event()))
        store = Database(folder / "db", lambda _: None, lambda: datetime.now(UTC))
        await asyncio.to_thread(store.open)
        nonces = Nonces(store)
        await nonces.load(faced.now or datetime.now(UTC))

        def clock() -> datetime:
            return faced.now or datetime.now(UTC)

        everything: Any = SimpleNamespace(
            jobs=cases,
            media=cases,
            callbacks=cases,
            buckets=Buckets(ROUTES),
            time_to_live=Fraction(365 * 86400),
        )
        face = Face(everything, Gate(ring, nonces, clock, rate), most_calls)
        faced.budget = face.budget
        server = ImsServer(face)
        faced.address = server.bind("127.0.0.1:0")
        await server.start()
        ready.set()
        await stop[1].wait()
        await server.stop(1)
        await store.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(30)
    try:
        yield faced
    finally:
        stop[0].call_soon_threadsafe(stop[1].set)
        thread.join(30)
        assert not thread.is_alive()
