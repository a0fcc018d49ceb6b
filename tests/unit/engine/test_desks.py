"""What the server does with stores beside units: clearing up, removing, calls that hang."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from reelsplit import Output
from reelsplit_server.engine.calls import Calls
from reelsplit_server.engine.local import LocalEngine
from reelsplit_server.engine.seam import (
    Failed,
    Published,
    Render,
    Target,
)
from reelsplit_server.storage.grants import Wire
from tests.proxy import Proxy, proxied
from tests.services import Service
from tests.unit.engine.stores import (
    SOON,
    Bucket,
    begun,
    cleared,
    held,
    let_go,
    stores_of,
)


async def test_what_a_dead_server_left_is_cleared_up(
    engine: LocalEngine, unit: Render, bucket: Bucket, key: str, tmp_path: Path
) -> None:
    """An upload, or a segment that appeared and was not listed any more, far or near."""
    checksum = "sha256:" + "1" * 64
    bucket.begin(key)
    bucket.put(key, b"late", checksum)
    engine.abandon([replace(unit, intent=checksum)])
    await cleared(engine)
    assert bucket.uploads(key) == bucket.keys(key) == []
    bucket.put(key, b"another's")
    engine.abandon([replace(unit, intent=checksum)])
    await cleared(engine)
    assert bucket.keys(key) == [key]
    near = replace(unit, output=Output(uri_template=f"{tmp_path}/{{index}}.mp4"))
    outcome = await asyncio.wait_for(begun(engine, near), 60)
    assert isinstance(outcome, Published)
    assert (tmp_path / "0.mp4").exists()
    engine.abandon([replace(near, intent=outcome.segment.checksum)])
    await cleared(engine)
    assert not (tmp_path / "0.mp4").exists()


async def test_a_start_does_not_wait_for_a_store_that_hangs(
    engine: LocalEngine, unit: Render, proxy: Proxy, bucket: Bucket, key: str
) -> None:
    bucket.begin(key)
    proxy.holds = lambda line: True
    engine.abandon([unit])
    await held(proxy)
    task = begun(engine, unit)
    let_go(proxy)
    assert isinstance(await asyncio.wait_for(task, 60), Published)
    assert bucket.uploads(key) == []


async def test_the_next_attempt_gives_up_what_the_last_could_not(
    engine: LocalEngine, unit: Render, bucket: Bucket, key: str
) -> None:
    bucket.begin(key)
    outcome = await asyncio.wait_for(begun(engine, replace(unit, intent="sha256:")), 60)
    assert isinstance(outcome, Published)
    assert bucket.uploads(key) == []


async def test_a_store_that_is_down_says_so_in_the_end(
    seaweed: Service, tmp_path: Path, unit: Render, bucket: Bucket
) -> None:
    with proxied("127.0.0.1:1") as nothing:
        stores = stores_of(
            seaweed, tmp_path, endpoint=nothing.endpoint, wire=Wire(timeout=5, patience=0.5)
        )
        folder = tmp_path / "data"
        folder.mkdir()
        engine = LocalEngine(1, folder, stores)
        await engine.start()
        try:
            outcome = await asyncio.wait_for(begun(engine, unit), 60)
        finally:
            await engine.stop()
    assert isinstance(outcome, Failed)
    assert outcome.transient
    assert outcome.error.reason == "OUTPUT_UNAVAILABLE"
    assert outcome.error.metadata["uri"] in outcome.error.message


async def test_many_objects_are_removed_together(
    engine: LocalEngine, proxy: Proxy, bucket: Bucket, key: str
) -> None:
    checksum, count = "sha256:" + "2" * 64, 250
    for number in range(count):
        bucket.put(f"{key}/{number:03}", b"x", checksum)
    bucket.put(f"{key}/007", b"another's")
    targets = [
        Target(uri=f"s3://{bucket.name}/{key}/{number:03}", endpoint=None, checksum=checksum)
        for number in range(count)
    ]
    assert await engine.remove([*targets, *targets[:5]]) == count - 1
    assert bucket.keys(key) == [f"{key}/007"]
    assert len([line for line in proxy.requests if not line.startswith("HEAD ")]) <= 3
    assert await engine.remove(targets) == 0


async def test_calls_that_hang_hold_up_no_other_store() -> None:
    calls, release = Calls(2), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang() -> str:
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result()
        return "late"

    hanging = [asyncio.create_task(calls.call("slow", hang)) for _ in range(5)]
    await asyncio.sleep(0)
    for _ in range(5):
        assert await asyncio.wait_for(calls.call("quick", lambda: "soon"), SOON) == "soon"
    assert not any(task.done() for task in hanging)
    release.set()
    assert await asyncio.wait_for(asyncio.gather(*hanging), SOON) == ["late"] * 5


async def test_what_a_call_raises_is_raised() -> None:
    def fail() -> None:
        raise LookupError("ours")

    with pytest.raises(LookupError, match="ours"):
        await Calls(1).call("", fail)
    assert await Calls(1).call("", lambda: 1) == 1
