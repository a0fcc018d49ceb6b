from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from reelsplit import Input, Output, Segment, TimeRange
from reelsplit_server.engine.local import LocalEngine
from reelsplit_server.engine.seam import Render
from tests.clips import make_clip
from tests.proxy import Proxy, proxied
from tests.services import Service
from tests.unit.engine.stores import Bucket, engine_on


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
    clip = tmp_path / "clip.mp4"
    make_clip(clip, frames=24)
    return Render(
        job_id="0" * 32,
        source=Input(uri=str(clip)),
        output=Output(uri_template=f"s3://{bucket.name}/{key}"),
        segment=Segment(index=0, requested=TimeRange(start_offset=0, end_offset=1)),
        frame_rate=None,
        pin=None,
        folder=tmp_path / "job",
        threads=1,
        most_pixels=10**7,
        most_frames=10**6,
        scratch=tmp_path / "job" / "scratch",
        intent=None,
    )
