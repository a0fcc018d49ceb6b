"""The table of transitions, and the store that allows no other."""

from __future__ import annotations

import dataclasses

import pytest

from reelsplit import JobState, SegmentState
from reelsplit_server.jobs import transitions
from reelsplit_server.jobs.transitions import TransitionError
from tests.unit.jobs.keeping import Kept, pieces

JOB_STATES = [state for state in JobState if state is not JobState.UNSPECIFIED]
SEGMENT_STATES = [state for state in SegmentState if state is not SegmentState.UNSPECIFIED]


def test_every_state_has_a_row() -> None:
    assert set(transitions.JOB) == set(JOB_STATES)
    assert set(transitions.SEGMENT) == set(SEGMENT_STATES)


def test_what_succeeded_or_was_published_stays() -> None:
    assert not transitions.JOB[JobState.SUCCEEDED]
    assert not transitions.SEGMENT[SegmentState.PUBLISHED]


@pytest.mark.parametrize("before", JOB_STATES)
async def test_the_store_changes_jobs_as_the_table_says(keep: Kept, before: JobState) -> None:
    job_id = (await keep.add()).job_id
    for after in JOB_STATES:
        percent = 100.0 if before is JobState.SUCCEEDED else 0.0
        await keep.force("UPDATE jobs SET percent = 0")
        await keep.force("UPDATE jobs SET state = :s, percent = :p", s=before.value, p=percent)
        events = await keep.sequences(job_id)
        if after in transitions.JOB[before]:
            assert (await keep.store.change_job(job_id, after)).state is after
            assert len(await keep.sequences(job_id)) == len(events) + 1
        else:
            with pytest.raises(TransitionError):
                await keep.store.change_job(job_id, after)
            assert (await keep.store.get(None, job_id)).state is before
            assert await keep.sequences(job_id) == events


@pytest.mark.parametrize("before", SEGMENT_STATES)
async def test_the_store_changes_segments_as_the_table_says(
    keep: Kept, before: SegmentState
) -> None:
    job_id = (await keep.add()).job_id
    await keep.store.plan(job_id, pieces(1))
    planned, _ = await keep.store.segment(job_id, 0)
    for after in SEGMENT_STATES:
        failed = int(before is SegmentState.FAILED)
        published = int(before is SegmentState.PUBLISHED)
        await keep.force("UPDATE segments SET state = :s", s=before.value)
        await keep.force(
            "UPDATE jobs SET failed_count = :f, published_count = :p", f=failed, p=published
        )
        segment = dataclasses.replace(planned, state=before)
        events = await keep.sequences(job_id)
        if after in transitions.SEGMENT[before]:
            record, changed = await keep.store.change_segment(segment, after)
            assert changed.state is after
            assert len(await keep.sequences(job_id)) == len(events) + 1
            assert record.failed_count == int(after is SegmentState.FAILED)
            assert record.published_count == int(after is SegmentState.PUBLISHED)
        else:
            with pytest.raises(TransitionError):
                await keep.store.change_segment(segment, after)
            assert (await keep.store.segment(job_id, 0))[0].state is before
            assert await keep.sequences(job_id) == events
