"""Does the units of jobs: what the engine is asked, and what is kept of its reports."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import shutil
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Protocol

import structlog

from reelsplit.types.error import Error
from reelsplit.types.segment import Segment, SegmentState
from reelsplit.types.spec import ReportKind
from reelsplit_server.engine import seam
from reelsplit_server.jobs import exports
from reelsplit_server.jobs.active import ANALYSIS, ActiveJob, length
from reelsplit_server.jobs.database import StoreUnavailableError
from reelsplit_server.jobs.log import EventLog
from reelsplit_server.jobs.orders import Limits, Orders
from reelsplit_server.jobs.patience import Patience
from reelsplit_server.jobs.store import Store
from reelsplit_server.jobs.tries import Tries

log = structlog.get_logger(__name__)
_TICK = 0.25
"""The shortest time between two progress ticks of a job, in seconds."""
_PAUSE = 0.5
"""How long a unit waits that had nothing to do for a while, in seconds."""


class Host(Protocol):
    """What the units of a job ask of who scheduled them."""

    def fail(self, job: ActiveJob, error: Error | None, culprit: int | None = None) -> None:
        """End the job; without an error, because of its segments that failed."""

    def wake(self) -> None:
        """There may be more to do."""

    def free(self, job: ActiveJob, key: int) -> None:
        """The unit needs its worker no more, and goes on to its end without."""


class Units:
    """Does one unit at a call. The state of the job and of its segments is kept as it changes."""

    def __init__(
        self,
        store: Store,
        events: EventLog,
        engine: seam.Engine,
        limits: Limits,
        clock: Callable[[], float],
        host: Host,
        patience: Patience,
    ) -> None:
        self._kept = patience.kept
        self._store = store
        self._events = events
        self._engine = engine
        self._limits = limits
        self._orders = Orders(limits)
        self._tries = Tries(engine, limits.tries, clock)
        self._clock = clock
        self._host = host

    async def analyse(self, job: ActiveJob, threads: int) -> None:
        """Open the source and keep the segments that are found."""
        intents: Mapping[ReportKind, str] = {}
        if job.record.spec.reports is not None:
            look = functools.partial(self._store.report_intents, job.record.job_id)
            intents = await self._kept(look)
        unit = self._orders.analysis(
            job.record, threads=threads, intents=intents, helpers=self._engine.slots - 1
        )

        async def on_report(report: seam.Report) -> None:
            match report:
                case seam.Opened(source=source, pin=pin):
                    opened = functools.partial(
                        self._store.source_opened, job.record.job_id, source, pin
                    )
                    job.record = await self._kept(opened)
                    job.meter.source(source.duration)
                case seam.Planned(segments=segments):
                    await self._planned(job, segments)
                case seam.Sharing(share=share, helpers=helpers):
                    if not job.ending:
                        job.helped(share, max(0, min(helpers, self._engine.slots - 1)))
                        self._host.wake()
                case seam.Progress(fraction=fraction, frames=frames):
                    job.meter.analysed(self._clock(), fraction, frames)
                    await self.tick(job)
                case seam.PublishingReport(report=kind, checksum=checksum):
                    intend = functools.partial(
                        self._store.intend_report, job.record.job_id, kind, checksum
                    )
                    await self._kept(intend)
                case seam.PublishedReport(report=made):
                    publish = functools.partial(
                        self._store.report_published, job.record.job_id, made
                    )
                    job.record = await self._kept(publish)

        try:
            outcome = await self._tries.run(job, ANALYSIS, unit, on_report)
        finally:
            job.unhelped()
        match outcome:
            case seam.PlanDone(source=source, notices=notices):
                finish = functools.partial(
                    self._store.plan_complete, job.record.job_id, source, notices
                )
                job.record = await self._kept(finish)
                job.meter.source(source.duration)
                job.meter.plan_complete = True
                await self.tick(job, force=True)
            case seam.Failed(error=error):
                self._host.fail(job, error)

    async def scan(self, job: ActiveJob, key: int) -> None:
        """Help with the analysis for a while. That fails no job: the analysis does without."""
        share = job.share
        if share is None:
            return
        unit = self._orders.scan(job.record, share)

        async def on_report(report: seam.Report) -> None:
            """What came of it lies in the shared folder."""

        outcome = await self._tries.run(job, key, unit, on_report)
        if isinstance(outcome, seam.ScanDone):
            job.tries.pop(key, None)
            if outcome.more and job.share == share:
                # Behind what waits by now, so that everything has its turn.
                job.again[key] = 0.0 if outcome.worked else _PAUSE

    async def _planned(self, job: ActiveJob, segments: Sequence[Segment]) -> None:
        known = job.record.segment_count
        if any(segment.index >= self._limits.most_segments for segment in segments):
            raise ValueError("the worker plans more segments than it may")
        job.record = await self._kept(lambda: self._store.plan(job.record.job_id, segments))
        for segment in segments:
            if segment.index >= known and segment.error is None and job.record.spec.output:
                job.add(segment)
        if job.record.failed_count and job.record.spec.fail_fast:
            self._host.fail(job, None)
        self._host.wake()

    async def render(
        self, job: ActiveJob, index: int, threads: int, party: seam.Party, place: int
    ) -> None:
        """Make a segment and keep what came of it. Others of the ``party`` share its worker."""
        try:
            await self._render(job, index, threads, party, place)
        finally:
            # Nobody waits for one that did not come so far.
            party.leave(place)

    async def _render(
        self, job: ActiveJob, index: int, threads: int, party: seam.Party, place: int
    ) -> None:
        job_id = job.record.job_id
        begun = asyncio.create_task(self._begin(job, index))
        try:
            segment, intent = await asyncio.shield(begun)
        except asyncio.CancelledError:
            # The write is made all the same, so it is undone by another.
            await _whole(self._undo(begun))
            raise
        seconds = length(segment)
        job.meter.begun(index, seconds)
        unit = self._orders.unit(job.record, segment, threads=threads, intent=intent)

        async def on_report(report: seam.Report) -> None:
            match report:
                case seam.Progress(fraction=fraction, frames=frames):
                    job.meter.made(self._clock(), index, fraction, frames)
                    await self.tick(job)
                case seam.Publishing(checksum=checksum):
                    await self._kept(lambda: self._store.intend(job_id, index, checksum))

        limit = job.record.spec.segment_timeout
        outcome: seam.Outcome | None = None
        try:
            outcome = await self._tries.run(job, index, unit, on_report, limit, party, place)
            if isinstance(outcome, seam.Published):
                # The worker need not wait until that is kept. What failed may end the job.
                self._host.free(job, index)
        finally:
            # Also when the unit was stopped: it will be made again, or skipped.
            state, told = _ended(segment, outcome)
            # Not as a worker tells it, which may have been taken over.
            told = dataclasses.replace(told, media_id=exports.asset_id(job.record, state))
            await _whole(self._keep_end(job, unit, state, told))
            counts = state is not SegmentState.PLANNED
            job.meter.ended(self._clock(), index, seconds, told.frame_count, counts=counts)
        await self.tick(job, force=True)
        if state is SegmentState.FAILED:
            log.info("segment_failed", job_id=job_id, segment=index, error=told.error)
            if told.error is not None and told.error.reason == "SOURCE_CHANGED":
                # No segment can be made any more that belongs with the others.
                self._host.fail(job, told.error)
            elif job.record.spec.fail_fast:
                self._host.fail(job, None, culprit=index)

    async def _begin(self, job: ActiveJob, index: int) -> tuple[Segment, str | None]:
        begin = functools.partial(self._store.begin_segment, job.record.job_id, index)
        # Right where the write returns: a few steps later another write of the same commit may
        # have told of the job as it is behind this one.
        job.record, segment, intent = await self._kept(begin)
        return segment, intent

    async def _undo(self, begun: asyncio.Task[tuple[Segment, str | None]]) -> None:
        segment, _ = await begun
        undo = functools.partial(self._store.change_segment, segment, SegmentState.PLANNED)
        await self._kept(undo)

    async def _keep_end(
        self, job: ActiveJob, unit: seam.Render, state: SegmentState, told: Segment
    ) -> None:
        # First of all, since what lies there may be all that fills the disk.
        await asyncio.to_thread(shutil.rmtree, unit.scratch, ignore_errors=True)
        job.record, _ = await self._kept(lambda: self._store.change_segment(told, state))

    async def tick(self, job: ActiveJob, *, force: bool = False) -> None:
        """Tell how far a job is, unless that was done a moment ago."""
        now = self._clock()
        if job.ending or (not force and now - job.told < _TICK):
            return
        job.told = now
        progress = job.meter.progress(job.record)
        # Kept before it is told, so that no restart can go behind what was told.
        try:
            await self._store.raise_percent(job.record.job_id, progress.percent)
        except StoreUnavailableError:
            return
        if job.ending:
            return
        self._events.progress(job.record.principal, job.record.job_id, progress)


async def _whole(work: Coroutine[None, None, None]) -> None:
    """Do something to its end, also when this is cancelled meanwhile."""
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            # What could not be kept at the end of the server is found by the next one.
            task.exception()
        raise


def _ended(segment: Segment, outcome: seam.Outcome | None) -> tuple[SegmentState, Segment]:
    match outcome:
        case seam.Published(segment=made):
            return SegmentState.PUBLISHED, dataclasses.replace(
                made,
                job_id=segment.job_id,
                index=segment.index,
                attempt=segment.attempt,
                create_time=segment.create_time,
                start_time=segment.start_time,
            )
        case seam.Failed(error=error):
            return SegmentState.FAILED, dataclasses.replace(segment, error=error)
        case _:
            return SegmentState.PLANNED, segment
