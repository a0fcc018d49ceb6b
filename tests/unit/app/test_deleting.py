"""Deleting a job that somebody runs again meanwhile."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from reelsplit import JobState, SegmentState
from reelsplit_server.access.callers import Caller
from reelsplit_server.app.errors import AppError, Kind
from reelsplit_server.app.jobs import Jobs
from reelsplit_server.app.tokens import Sealer
from tests.unit.app.specs import BOUNDS
from tests.unit.jobs.keeping import Kept, kept, pieces

ME = Caller(principal="me")


@pytest.fixture
async def keep(tmp_path: Path) -> AsyncIterator[Kept]:
    async with kept(tmp_path) as made:
        yield made


async def test_a_job_that_is_retried_while_its_outputs_are_deleted_is_kept(keep: Kept) -> None:
    store = keep.store
    job_id = (await keep.add()).job_id
    await store.change_job(job_id, JobState.RUNNING)
    await store.plan(job_id, pieces(2))
    _, segment, _ = await store.begin_segment(job_id, 0)
    made = dataclasses.replace(segment, uri="/v/out/0.mp4")
    await store.change_segment(made, SegmentState.PUBLISHED)
    await store.change_job(job_id, JobState.CANCELLING)
    await store.change_job(job_id, JobState.CANCELLED, expire=timedelta(days=1))

    class Removing:
        """Takes long enough for a retry."""

        async def remove(self, outputs: list[Any]) -> int:
            await store.retry(job_id, "again")
            return len(outputs)

    given: Any = (store, keep.log, Removing(), Sealer(b"0" * 32), BOUNDS, None)
    with pytest.raises(AppError, match="PENDING") as caught:
        await Jobs(*given).delete(ME, job_id, allow_missing=True, delete_outputs=True, force=True)
    assert (caught.value.kind, caught.value.reason) == (Kind.WRONG_STATE, "JOB_STATE")
    assert (await store.get("me", job_id)).state is JobState.PENDING
