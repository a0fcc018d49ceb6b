"""A real store for tests of engines, which can be made to hang, and what they do with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from reelsplit_server.engine.local import LocalEngine
from reelsplit_server.engine.seam import Outcome, Render, Report
from reelsplit_server.storage.grants import Web, Wire
from reelsplit_server.storage.location import Scheme
from reelsplit_server.storage.routes import Routes, StoreRoute
from reelsplit_server.storage.s3 import S3Config, S3Store
from reelsplit_server.storage.stores import Stores
from tests.proxy import Proxy
from tests.services import Service

BUCKET = "engine"
SOON = 90
"""Seconds that a stop may take on a busy machine; stores hang for longer."""
PATIENT = Wire(timeout=600.0, patience=600.0)
"""What hangs, hangs for longer than any test."""


class Bucket:
    """What lies in the bucket of these tests."""

    def __init__(self, service: Service) -> None:
        self.name = service.bucket(BUCKET)
        self._api = service.api

    def put(self, key: str, body: bytes, checksum: str = "") -> None:
        metadata = {"reelsplit-checksum": checksum} if checksum else {}
        self._api.put_object(Bucket=self.name, Key=key, Body=body, Metadata=metadata)

    def keys(self, prefix: str) -> list[str]:
        found = self._api.list_objects_v2(Bucket=self.name, Prefix=prefix)
        return [entry["Key"] for entry in found.get("Contents", ())]

    def uploads(self, prefix: str) -> list[str]:
        found = self._api.list_multipart_uploads(Bucket=self.name, Prefix=prefix)
        return [entry["Key"] for entry in found.get("Uploads", ())]

    def begin(self, key: str) -> None:
        """Leave an upload behind."""
        self._api.create_multipart_upload(Bucket=self.name, Key=key)


def stores_of(
    service: Service, *roots: Path, endpoint: str | None = None, wire: Wire = PATIENT
) -> Stores:
    """Some folders, and the bucket on a service; by another way where one is given."""
    service.bucket(BUCKET)
    config = S3Config(
        endpoint=endpoint or service.endpoint,
        access_key_id=service.access_key,
        secret_access_key=service.secret_key,
        wire=wire,
    )
    route = StoreRoute(name="main", scheme=Scheme.S3, buckets=(BUCKET,))
    web = Web(hosts=(), networks=(), most_spool=0)
    return Stores(Routes(roots=roots, stores=(route,)), {"main": S3Store(config)}, web, wire)


@asynccontextmanager
async def engine_on(service: Service, proxy: Proxy, root: Path) -> AsyncIterator[LocalEngine]:
    folder = root / "data"
    folder.mkdir(exist_ok=True)
    made = LocalEngine(1, folder, stores_of(service, root, endpoint=proxy.endpoint))
    await made.start()
    try:
        yield made
    finally:
        await asyncio.wait_for(made.stop(), SOON)


async def ignore(_report: Report) -> None: ...


def begun(engine: LocalEngine, unit: Render, timeout: float | None = None) -> asyncio.Task[Outcome]:
    return asyncio.create_task(engine.run(unit, ignore, timeout=timeout))


async def held(proxy: Proxy) -> None:
    assert await asyncio.to_thread(proxy.held.wait, 60)


def let_go(proxy: Proxy) -> None:
    proxy.holds = lambda line: False
    proxy.release.set()


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not await asyncio.to_thread(done):
            await asyncio.sleep(0.05)


async def cleared(engine: LocalEngine) -> None:
    await until(lambda: not engine._desks._clearing)
