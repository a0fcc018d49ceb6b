"""A segment that begins: while others end, and while it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from reelsplit import JobState, SegmentState
from reelsplit_server.engine import seam
from reelsplit_server.jobs.active import ActiveJob
from reelsplit_server.jobs.orders import Limits
from reelsplit_server.jobs.patience import Patience
from reelsplit_server.jobs.units import Units
from tests.patience import PATIENCE
from tests.unit.jobs.engines import ScriptedEngine, scheduling
from tests.unit.jobs.keeping import Kept, pieces

LIMITS = Limits(
    scratch=Path("/nonexistent"),
    cores=1,
    tries=1,
    most_segments=10,
    most_pixels=1,
    most_frames=1,
)


async def _job(keep: Kept, count: int) -> ActiveJob:
    job_id = (await keep.add()).job_id
    await keep.store.change_job(job_id, JobState.RUNNING)
    record = await keep.store.plan(job_id, pieces(count))
    return ActiveJob.of(record, [])


def _units(keep: Kept, engine: ScriptedEngine) -> Units:
    host: Any = SimpleNamespace(fail=None, wake=lambda: None, free=lambda job, key: None)
    return Units(keep.store, keep.log, engine, LIMITS, time.monotonic, host, Patience())


async def _render(units: Units, job: ActiveJob, index: int) -> None:
    await units.render(job, index, 1, seam.Party(), 0)


@asynccontextmanager
async def _one_commit(keep: Kept) -> AsyncIterator[None]:
    """What is handed in until the block ends is committed together."""
    begun, go = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def hold(_: object) -> None:
        loop.call_soon_threadsafe(begun.set)
        go.wait(PATIENCE)

    held = asyncio.create_task(keep.database.write(hold))
    await asyncio.wait_for(begun.wait(), PATIENCE)
    try:
        yield
    finally:
        go.set()
        await held


async def _handed_in(keep: Kept, count: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while keep.database._queue.qsize() < count:
            await asyncio.sleep(0.001)


async def test_what_is_known_of_a_job_never_goes_back(keep: Kept) -> None:
    """One segment begins and another ends in the same commit."""
    engine = ScriptedEngine()
    ready, go = [asyncio.Event(), asyncio.Event()], [asyncio.Event(), asyncio.Event()]

    async def script(unit: seam.Unit, _on_report: seam.OnReport) -> seam.Outcome:
        assert isinstance(unit, seam.Render)
        ready[unit.segment.index].set()
        await go[unit.segment.index].wait()
        return seam.Published(segment=dataclasses.replace(unit.segment, uri="/v/out.mp4"))

    engine.script = script
    job, units = await _job(keep, 2), _units(keep, engine)
    first = asyncio.create_task(_render(units, job, 0))
    await asyncio.wait_for(ready[0].wait(), PATIENCE)
    async with _one_commit(keep):
        second = asyncio.create_task(_render(units, job, 1))
        await _handed_in(keep, 1)
        go[0].set()
        await _handed_in(keep, 2)
    await asyncio.wait_for(ready[1].wait(), PATIENCE)
    await asyncio.wait_for(first, PATIENCE)
    counts = [job.record.published_count]
    go[1].set()
    await asyncio.wait_for(second, PATIENCE)
    counts.append(job.record.published_count)
    assert counts == [1, 2]


async def test_a_segment_that_is_stopped_twice_while_it_begins_is_put_back(keep: Kept) -> None:
    job, units = await _job(keep, 1), _units(keep, ScriptedEngine())
    async with _one_commit(keep):
        task = asyncio.create_task(_render(units, job, 0))
        await _handed_in(keep, 1)
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0)
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.wait_for(task, PATIENCE)
    async with asyncio.timeout(PATIENCE):
        while (await keep.store.segment(job.record.job_id, 0))[0].state is not SegmentState.PLANNED:
            await asyncio.sleep(0.01)
    assert await keep.sequences(job.record.job_id) == [1, 2, 3, 4, 5]


async def test_the_end_of_the_server_lets_what_is_stopped_be_put_back(keep: Kept) -> None:
    stops, put_back = list[str](), asyncio.Event()

    async def unit() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stops.append("stopped")
            await put_back.wait()
            stops.append("put back")

    async with scheduling(keep, ScriptedEngine()) as scheduler:
        task = asyncio.create_task(unit())
        await asyncio.sleep(0)
        scheduler._work.add(task)
        task.cancel()
        asyncio.get_running_loop().call_later(0.05, put_back.set)
    assert stops == ["stopped", "put back"]
