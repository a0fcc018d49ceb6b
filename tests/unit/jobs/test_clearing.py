"""A server that is killed while it clears up behind another that was."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from reelsplit import JobState, SegmentState
from reelsplit_server.jobs import recovery
from tests.unit.jobs.engines import Gate, ScriptedEngine, ended, scheduling
from tests.unit.jobs.keeping import Kept, kept, pieces

CHECKSUM = "sha256:" + "1" * 64


async def _left(keep: Kept, state: JobState, segment_state: SegmentState) -> str:
    """A job of two segments, the second of which may have appeared unseen."""
    job = await keep.add()
    await keep.store.change_job(job.job_id, JobState.RUNNING)
    await keep.store.plan(job.job_id, pieces(2))
    _, segment, _ = await keep.store.begin_segment(job.job_id, 1)
    await keep.store.intend(job.job_id, 1, CHECKSUM)
    if segment_state is SegmentState.PLANNED:
        await keep.store.change_segment(segment, SegmentState.PLANNED)
    if state is not JobState.RUNNING:
        await keep.store.change_job(job.job_id, state)
    return job.job_id


@pytest.mark.parametrize("state", [JobState.RUNNING, JobState.CANCELLING])
async def test_what_was_put_back_and_not_cleared_up_is_cleared_up_by_the_next(
    tmp_path: Path, state: JobState
) -> None:
    async with kept(tmp_path) as keep:
        job_id = await _left(keep, state, SegmentState.PLANNED)
    engine = ScriptedEngine()
    gate = Gate(engine, "analyse", "render")
    async with kept(tmp_path) as keep, scheduling(keep, engine):
        assert engine.abandoned == [(job_id, 1, CHECKSUM)]
        gate.open.set()
        await ended(keep, job_id)


async def test_a_job_that_was_being_cancelled_ends_when_it_is_cleared_up(tmp_path: Path) -> None:
    async with kept(tmp_path) as keep:
        job_id = await _left(keep, JobState.CANCELLING, SegmentState.RUNNING)
    engine, cleared = ScriptedEngine(), asyncio.Event()
    engine.clearing = cleared.wait
    async with kept(tmp_path) as keep, scheduling(keep, engine):
        await asyncio.sleep(0.05)
        assert (await keep.store.get(None, job_id)).state is JobState.CANCELLING
        cleared.set()
        assert (await ended(keep, job_id)).state is JobState.CANCELLED


async def test_a_store_that_hangs_holds_its_end_up_no_longer_than_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "_CLEARING", 0.05)
    async with kept(tmp_path) as keep:
        job_id = await _left(keep, JobState.CANCELLING, SegmentState.RUNNING)
    engine = ScriptedEngine()
    engine.clearing = asyncio.Event().wait
    async with kept(tmp_path) as keep, scheduling(keep, engine):
        assert (await ended(keep, job_id)).state is JobState.CANCELLED
