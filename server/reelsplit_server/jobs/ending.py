"""How jobs end: what is kept of that, and what is said of segments that were not made."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import shutil
from datetime import timedelta

import structlog

from reelsplit.types.error import Error
from reelsplit.types.job import JobState
from reelsplit.types.segment import SegmentState
from reelsplit_server.jobs import traces
from reelsplit_server.jobs.active import ActiveJob
from reelsplit_server.jobs.log import EventLog
from reelsplit_server.jobs.orders import Orders
from reelsplit_server.jobs.patience import Patience
from reelsplit_server.jobs.records import JobRecord
from reelsplit_server.jobs.store import Store

log = structlog.get_logger(__name__)


class Ending:
    """Keeps the ends of jobs whose units have stopped."""

    def __init__(self, store: Store, events: EventLog, orders: Orders, patience: Patience) -> None:
        self._store = store
        self._events = events
        self._orders = orders
        self._patience = patience

    async def skip(self, job: ActiveJob, culprit: int | None) -> None:
        """Fail the segments that are not made any more, because of another that failed."""
        error = Error(
            reason="SKIPPED_AFTER_FAILURE",
            message="The segment was not made, since another failed and fail_fast was asked for.",
            metadata={} if culprit is None else {"segment_index": str(culprit)},
        )
        while True:
            look = functools.partial(
                self._store.segments, job.record.job_id, states=[SegmentState.PLANNED]
            )
            page, _ = await self._patience.kept(look)
            if not page:
                return
            for segment in page:
                skip = functools.partial(
                    self._store.change_segment,
                    dataclasses.replace(segment, error=error),
                    SegmentState.FAILED,
                )
                job.record, _ = await self._patience.kept(skip)

    async def segments_failed(self, job: ActiveJob) -> Error:
        """Why a job fails some of whose segments did."""
        look = functools.partial(
            self._store.segments, job.record.job_id, states=[SegmentState.FAILED], size=100
        )
        failed, count = await self._patience.kept(look)
        total = job.record.segment_count
        first = failed[0].error.message if failed and failed[0].error else ""
        return Error(
            reason="SEGMENTS_FAILED",
            message=f"{count} of {total} segments failed. The first says: {first}",
            metadata={
                "failed": str(count),
                "total": str(total),
                "indexes": ",".join(str(segment.index) for segment in failed),
            },
        )

    async def close(self, job: ActiveJob, state: JobState, error: Error | None) -> JobRecord:
        """Keep that a job has ended, with what it has left cleared away before."""
        self._events.progress(job.record.principal, job.record.job_id, None)
        folder = self._orders.folder(job.record.job_id)
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        record = await self.kept(job.record, state, error)
        log.info(
            "job_ended",
            job_id=record.job_id,
            state=state.value,
            reason=error.reason if error is not None else None,
            **traces.ids(record),
        )
        return record

    async def kept(
        self, record: JobRecord, state: JobState, error: Error | None = None
    ) -> JobRecord:
        """Keep the end of a job, however long that takes."""
        end = functools.partial(
            self._store.change_job, record.job_id, state, error=error, expire=expiry(record)
        )
        return await self._patience.kept(end)


def expiry(record: JobRecord) -> timedelta:
    """How long a job is kept that has ended."""
    assert record.spec.time_to_live is not None
    return timedelta(seconds=float(record.spec.time_to_live))
