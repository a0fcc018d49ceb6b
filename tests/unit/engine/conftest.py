from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from reelsplit_server.engine.local import LocalEngine
from reelsplit_server.engine.seam import Render
from tests.proxy import Proxy, proxied
from tests.services import Service
from tests.unit.engine.stores import Bucket, engine_on
from tests.unit.engine.units import render_of


@pytest.fixture
def proxy(seaweed: Service) -> Iterator[Proxy]:
    with proxied(seaweed.endpoint.partition("://")[2]) as made:
        yield made


@pytest.fixture
def bucket(seaweed: Service) -> Bucket:
    return Bucket(seaweed)


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    """Where the test's segment goes."""
    name = "".join(c if c.isalnum() else "_" for c in request.node.name)
    return f"{name}/0.mp4"


@pytest.fixture
async def engine(seaweed: Service, proxy: Proxy, tmp_path: Path) -> AsyncIterator[LocalEngine]:
    async with engine_on(seaweed, proxy, tmp_path) as made:
        yield made


@pytest.fixture
def unit(tmp_path: Path, bucket: Bucket, key: str) -> Render:
    return render_of(tmp_path, f"s3://{bucket.name}/{key}")
