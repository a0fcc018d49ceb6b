"""Units that are stopped while a store hangs: at once, and with nothing left behind at last."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reelsplit import FixedInterval, Input, JobSpec, Output, OverwritePolicy
from reelsplit_server.engine.local import LocalEngine
from reelsplit_server.engine.seam import (
    Analyse,
    Published,
    Publishing,
    Render,
    Report,
)
from tests.proxy import Proxy
from tests.server import workers_of
from tests.services import Service
from tests.unit.engine.stores import (
    SOON,
    Bucket,
    begun,
    cleared,
    engine_on,
    held,
    ignore,
    let_go,
    until,
)

PHASES: dict[str, Callable[[str], bool]] = {
    "looking": lambda line: line.startswith("HEAD "),
    "beginning": lambda line: line.startswith("POST ") and "uploads" in line,
    "uploading": lambda line: line.startswith("PUT ") and "partNumber=" in line,
    "finishing": lambda line: line.startswith("POST ") and "uploadId=" in line,
    "giving up": lambda line: line.startswith("DELETE ") and "uploadId=" in line,
}


@pytest.mark.parametrize("phase", PHASES)
async def test_a_stop_does_not_wait_for_a_store_that_hangs(
    engine: LocalEngine, unit: Render, proxy: Proxy, bucket: Bucket, key: str, phase: str
) -> None:
    if phase == "giving up":
        # Told to give up the upload, the store does not answer to that either.
        proxy.holds = lambda line: PHASES["uploading"](line) or PHASES[phase](line)
    else:
        proxy.holds = PHASES[phase]
    task = begun(engine, unit)
    await held(proxy)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, SOON)
    # The slot is free for what lies elsewhere.
    local = replace(unit, output=Output(uri_template=f"{unit.folder.parent}/{{index}}.mp4"))
    assert isinstance(await asyncio.wait_for(begun(engine, local), SOON), Published)
    let_go(proxy)
    await cleared(engine)
    assert bucket.uploads(key) == bucket.keys(key) == []


async def test_a_segment_that_appears_late_is_not_taken_for_that_of_the_next_try(
    engine: LocalEngine, unit: Render, proxy: Proxy, bucket: Bucket, key: str
) -> None:
    """Both have the same bytes: clearing up behind the first must not delete the second."""
    proxy.holds = PHASES["finishing"]
    task = begun(engine, unit)
    await held(proxy)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, SOON)
    again = begun(engine, unit)
    await asyncio.sleep(0.5)
    let_go(proxy)
    assert isinstance(await asyncio.wait_for(again, 60), Published)
    await cleared(engine)
    assert bucket.keys(key) == [key]
    assert bucket.uploads(key) == []


async def test_a_unit_may_be_stopped_again_and_again(
    engine: LocalEngine, unit: Render, proxy: Proxy, bucket: Bucket, key: str
) -> None:
    proxy.holds = PHASES["finishing"]
    task = begun(engine, unit)
    await held(proxy)
    while not task.done():
        task.cancel()
        await asyncio.sleep(0.05)
    assert task.cancelled()
    let_go(proxy)
    await cleared(engine)
    assert engine._runs == {}
    assert bucket.uploads(key) == bucket.keys(key) == []
    assert isinstance(await asyncio.wait_for(begun(engine, unit), 60), Published)


async def test_a_stop_when_only_the_worker_is_gone(
    engine: LocalEngine, unit: Render, proxy: Proxy, bucket: Bucket, key: str
) -> None:
    """It was killed while the segment was appearing, which then takes long."""
    others = set(workers_of(os.getpid())) - {engine_worker(engine)}
    proxy.holds = PHASES["finishing"]
    task = begun(engine, unit)
    await held(proxy)
    (worker,) = set(workers_of(os.getpid())) - others
    os.kill(worker, signal.SIGKILL)
    await until(lambda: worker not in workers_of(os.getpid()))
    # What the server is about to do is done without a worker.
    await asyncio.sleep(0.5)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, SOON)
    let_go(proxy)
    await cleared(engine)
    assert bucket.uploads(key) == bucket.keys(key) == []


def engine_worker(engine: LocalEngine) -> int:
    """The process of an engine that has one."""
    (pool,) = engine._processes._pools
    (pid,) = pool._pool_manager.worker_manager.workers
    return int(pid)


@pytest.mark.parametrize("phase", ["looking", "finishing"])
async def test_a_time_limit_counts_what_a_store_takes(
    engine: LocalEngine, unit: Render, proxy: Proxy, bucket: Bucket, key: str, phase: str
) -> None:
    proxy.holds = PHASES[phase]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(begun(engine, unit, timeout=3), SOON)
    assert proxy.held.is_set()
    let_go(proxy)
    await cleared(engine)
    assert bucket.uploads(key) == bucket.keys(key) == []


async def test_what_lay_there_before_with_the_same_bytes_stays(
    engine: LocalEngine, unit: Render, proxy: Proxy, bucket: Bucket, key: str
) -> None:
    """An earlier job made it, and lists it."""
    unit = replace(unit, output=replace(unit.output, overwrite_policy=OverwritePolicy.REPLACE))
    assert isinstance(await asyncio.wait_for(begun(engine, unit), 60), Published)
    proxy.holds = PHASES["finishing"]
    task = begun(engine, unit)
    await held(proxy)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, SOON)
    let_go(proxy)
    await cleared(engine)
    assert bucket.keys(key) == [key]


@pytest.mark.parametrize("phase", ["looking", "finishing"])
async def test_an_engine_ends_though_a_store_hangs(
    seaweed: Service,
    proxy: Proxy,
    tmp_path: Path,
    unit: Render,
    phase: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("reelsplit_server.engine.desks._CLEARING", 1.0)
    async with engine_on(seaweed, proxy, tmp_path) as engine:
        proxy.holds = PHASES[phase]
        task = begun(engine, unit)
        await held(proxy)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, SOON)
    let_go(proxy)


async def test_a_segment_is_kept_before_it_can_be_seen(
    engine: LocalEngine, unit: Render, bucket: Bucket, key: str
) -> None:
    """Where that takes long, a stop finds nothing begun."""
    publishing = asyncio.Event()

    async def hold(report: Report) -> None:
        if isinstance(report, Publishing):
            publishing.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(engine.run(unit, hold, timeout=None))
    await asyncio.wait_for(publishing.wait(), 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, SOON)
    assert bucket.uploads(key) == bucket.keys(key) == []


async def test_an_analysis_is_stopped_while_its_source_hangs(
    engine: LocalEngine, unit: Render, proxy: Proxy, bucket: Bucket
) -> None:
    proxy.holds = lambda line: True
    look = Analyse(
        job_id="0" * 32,
        spec=JobSpec(
            input=Input(uri=f"s3://{bucket.name}/none.mp4"), mode=FixedInterval(interval=1)
        ),
        pin=None,
        folder=unit.folder,
        threads=1,
        most_segments=10,
        most_pixels=10**7,
    )
    task = asyncio.create_task(engine.run(look, ignore, timeout=None))
    await held(proxy)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, SOON)
    let_go(proxy)
