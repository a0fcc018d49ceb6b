"""Decides what is worked on next, and keeps what comes of it."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import heapq
import shutil
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta

import structlog

from reelsplit.types.error import Error
from reelsplit.types.job import JobState, Report
from reelsplit.types.segment import Segment, SegmentState
from reelsplit_server.engine import seam
from reelsplit_server.jobs.active import ANALYSIS, ActiveJob
from reelsplit_server.jobs.database import StoreUnavailableError
from reelsplit_server.jobs.failures import internal, store_unavailable, too_late
from reelsplit_server.jobs.grouping import together
from reelsplit_server.jobs.log import EventLog
from reelsplit_server.jobs.patience import kept
from reelsplit_server.jobs.records import JobRecord
from reelsplit_server.jobs.rows import NoSuchJobError
from reelsplit_server.jobs.store import Store
from reelsplit_server.jobs.transitions import TransitionError
from reelsplit_server.jobs.units import Limits, Units

log = structlog.get_logger(__name__)


class Scheduler:
    """Runs the units of all jobs on an engine. All calls come from one event loop."""

    def __init__(
        self,
        store: Store,
        events: EventLog,
        engine: seam.Engine,
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._events = events
        self._engine = engine
        self._limits = limits
        self._units = Units(store, events, engine, limits, clock, self)
        self._pending: dict[str, list[tuple[int, float, str]]] = {}
        self._turns: Counter[str] = Counter()
        self._jobs: dict[str, ActiveJob] = {}
        self._work: set[asyncio.Task[None]] = set()
        self._busy: dict[tuple[str, int], tuple[str, int]] = {}
        """The jobs and keys of the units that hold a worker, each with the first of those that
        hold the same."""
        self._endings: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._draining = False

    # --- Life ------------------------------------------------------------------------------

    async def start(self) -> None:
        """Go on with what an earlier server left, and begin."""
        for record in await self._store.active():
            if record.state is JobState.PENDING:
                self.add(record)
                continue
            await self._put_back(record)
            if record.state is JobState.CANCELLING:
                await self._store.change_job(
                    record.job_id, JobState.CANCELLED, expire=_expiry(record)
                )
            else:
                await self._activate(record)
        self._loop = asyncio.create_task(self._dispatch_forever())

    async def stop(self, grace: float) -> None:
        """Begin nothing more, let units end for ``grace`` seconds, and put the rest back."""
        self._draining = True
        if self._loop is not None:
            self._loop.cancel()
        if self._work:
            await asyncio.wait(self._work, timeout=grace)
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, *self._endings, return_exceptions=True)

    def add(self, record: JobRecord) -> None:
        """A job waits for its turn."""
        priority = record.spec.priority or 0
        entry = (-priority, record.create_time.timestamp(), record.job_id)
        self._wait(record.principal, entry)
        self._wake.set()

    def _wait(self, principal: str, entry: tuple[int, float, str]) -> None:
        heapq.heappush(self._pending.setdefault(principal, []), entry)

    async def cancel(self, record: JobRecord) -> JobRecord:
        """Stop a job; answers when its workers are gone. Raises `TransitionError` where the job
        ended in the meantime."""
        if record.state is JobState.PENDING:
            return await self._store.change_job(
                record.job_id, JobState.CANCELLED, expire=_expiry(record)
            )
        job = self._jobs.get(record.job_id)
        if job is None or job.ending:
            raise TransitionError("the job is ending already")
        job.ending = True
        try:
            job.record = await self._store.change_job(record.job_id, JobState.CANCELLING)
        except BaseException:
            job.ending = False
            raise
        await self._stop_units(job)
        return await self._close(job, JobState.CANCELLED, None)

    async def remove(self, outputs: Sequence[tuple[Segment | Report, str | None]]) -> int:
        """Delete what a job published, given with the endpoints beside the locations; answers how
        many objects there were.

        Raises `RemoveError`.
        """
        return await self._engine.remove(
            [
                seam.Target(uri=made.uri, endpoint=endpoint, checksum=made.checksum)
                for made, endpoint in outputs
            ]
        )

    # --- Choosing --------------------------------------------------------------------------

    async def _dispatch_forever(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._dispatch()
            except Exception:
                # Nothing may end this loop: the queue would stand still in silence.
                log.exception("dispatch_failed")
                await asyncio.sleep(1.0)
                self._wake.set()
            await self._wake.wait()

    async def _dispatch(self) -> None:
        while len(self._workers) < self._engine.slots:
            match self._choose():
                case None:
                    return
                case str(principal):
                    await self._admit(principal)
                case job:
                    principal = job.record.principal
                    self._turns[principal] = 1 + max(self._turns.values(), default=0)
                    self._begin_all(job, together(job, self._engine.slots))

    def _choose(self) -> ActiveJob | str | None:
        """The job whose unit goes next; or a caller, whose next waiting job is to be admitted.

        Priority decides first; then which caller has the fewest units under way, and which had
        its last turn longest ago; then which job has the fewest under way; then age. Jobs that
        wait stand in the same order, so that none is admitted before a unit of it can begin.
        """
        # Units that need their workers no more do not count.
        busy = Counter(job_id for job_id, _ in self._workers)
        shares: Counter[str] = Counter()
        for job_id, job in self._jobs.items():
            shares[job.record.principal] += busy[job_id]

        def rank(
            principal: str, priority: int, running: int, created: float
        ) -> tuple[int, int, int, int, float]:
            return -priority, shares[principal], self._turns[principal], running, created

        best: ActiveJob | str | None = None
        least: tuple[int, int, int, int, float] | None = None
        for job in self._jobs.values():
            if job.waiting and not job.ending:
                record = job.record
                created = record.create_time.timestamp()
                made = rank(
                    record.principal, record.spec.priority or 0, busy[record.job_id], created
                )
                if least is None or made < least:
                    best, least = job, made
        for principal, waiting in self._pending.items():
            negative, created, _ = waiting[0]
            made = rank(principal, -negative, 0, created)
            if least is None or made < least:
                best, least = principal, made
        return best

    async def _admit(self, principal: str) -> None:
        entry = heapq.heappop(self._pending[principal])
        if not self._pending[principal]:
            del self._pending[principal]
        try:
            record = await self._store.change_job(entry[2], JobState.RUNNING)
        except (NoSuchJobError, TransitionError):
            # Cancelled or deleted while it waited.
            return
        except Exception:
            # Still PENDING in the store: it keeps its turn.
            self._wait(principal, entry)
            raise
        await self._activate(record)

    async def _activate(self, record: JobRecord) -> None:
        planned: list[Segment] = []
        while True:
            after = planned[-1].index if planned else -1
            page, total = await self._store.segments(
                record.job_id, states=[SegmentState.PLANNED], after=after
            )
            planned += page
            if not page or len(planned) >= total:
                break
        job = self._jobs[record.job_id] = ActiveJob.of(record, planned)
        if record.spec.timeout is not None and record.start_time is not None:
            # Counted from the beginning, so that a restart gives no more time.
            spent = time.time() - record.start_time.timestamp()
            left = max(0.0, float(record.spec.timeout) - spent)
            job.deadline = asyncio.get_running_loop().call_later(
                left, self.fail, job, too_late("job", record.spec.timeout)
            )
        log.info("job_running", job_id=record.job_id, attempt=record.attempt)
        await self._units.tick(job, force=True)
        if record.failed_count and record.spec.fail_fast:
            self.fail(job, None)
        self._end_if_done(job)

    @property
    def _workers(self) -> set[tuple[str, int]]:
        """One for each worker that is held."""
        return set(self._busy.values())

    def _begin_all(self, job: ActiveJob, keys: Sequence[int]) -> None:
        """Begin with units that share a worker."""
        threads = self._threads()
        party = seam.Party(len(keys))
        for place, key in enumerate(keys):
            self._busy[job.record.job_id, key] = job.record.job_id, keys[0]
            if key == ANALYSIS:
                work = self._units.analyse(job, threads)
            elif key < ANALYSIS:
                work = self._units.scan(job, key)
            else:
                work = self._units.render(job, key, threads, party, place)
            self._begin(job, key, work)

    def _begin(self, job: ActiveJob, key: int, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        job.running[key] = task
        self._work.add(task)
        held = job.record.job_id, key

        def done(task: asyncio.Task[None]) -> None:
            self._work.discard(task)
            self._busy.pop(held, None)
            job.running.pop(key, None)
            if key in job.again:
                # Not before the unit is put back, which may take long on a slow disk.
                asyncio.get_running_loop().call_later(job.again[key], self._again, job, key)
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("unit_failed", job_id=job.record.job_id, exc_info=error)
                lost = isinstance(error, StoreUnavailableError)
                self.fail(job, store_unavailable() if lost else internal(error))
            self._end_if_done(job)
            self._wake.set()

        task.add_done_callback(done)

    def _threads(self) -> int:
        """The codec threads of one unit, so that all that run fit the cores."""
        wanted = len(self._workers) + 1 + sum(len(job.waiting) for job in self._jobs.values())
        return max(1, self._limits.cores // max(1, min(self._engine.slots, wanted)))

    def wake(self) -> None:
        """There may be more to do."""
        self._wake.set()

    def free(self, job: ActiveJob, key: int) -> None:
        """The unit needs its worker no more, and goes on to its end without."""
        self._busy.pop((job.record.job_id, key), None)
        self._wake.set()

    def _again(self, job: ActiveJob, key: int) -> None:
        del job.again[key]
        if not job.ending and (key >= ANALYSIS or job.share is not None):
            job.waiting.append(key)
        self._end_if_done(job)
        self._wake.set()

    # --- Ending ----------------------------------------------------------------------------

    def _end_if_done(self, job: ActiveJob) -> None:
        if job.record.plan_complete and job.idle and not job.ending and not self._draining:
            job.ending = True
            self._ending(self._succeed(job))

    def fail(self, job: ActiveJob, error: Error | None, culprit: int | None = None) -> None:
        """End a job early; without an error, because of its segments that failed."""
        if not job.ending and not self._draining:
            job.ending = True
            self._ending(self._fail_now(job, error, culprit))

    def _ending(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._endings.add(task)

        def done(task: asyncio.Task[None]) -> None:
            self._endings.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("job_not_ended", exc_info=error)

        task.add_done_callback(done)

    async def _succeed(self, job: ActiveJob) -> None:
        if job.record.failed_count:
            await self._close(job, JobState.FAILED, await self._segments_failed(job))
        else:
            await self._close(job, JobState.SUCCEEDED, None)

    async def _fail_now(self, job: ActiveJob, error: Error | None, culprit: int | None) -> None:
        await self._stop_units(job)
        if error is None:
            await self._skip(job, culprit)
            error = await self._segments_failed(job)
        await self._close(job, JobState.FAILED, error)

    async def _stop_units(self, job: ActiveJob) -> None:
        job.waiting.clear()
        tasks = list(job.running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _skip(self, job: ActiveJob, culprit: int | None) -> None:
        error = Error(
            reason="SKIPPED_AFTER_FAILURE",
            message="The segment was not made, since another failed and fail_fast was asked for.",
            metadata={} if culprit is None else {"segment_index": str(culprit)},
        )
        while True:
            page, _ = await self._store.segments(job.record.job_id, states=[SegmentState.PLANNED])
            if not page:
                return
            for segment in page:
                job.record, _ = await self._store.change_segment(
                    dataclasses.replace(segment, error=error), SegmentState.FAILED
                )

    async def _segments_failed(self, job: ActiveJob) -> Error:
        failed, count = await self._store.segments(
            job.record.job_id, states=[SegmentState.FAILED], size=100
        )
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

    async def _close(self, job: ActiveJob, state: JobState, error: Error | None) -> JobRecord:
        if job.deadline is not None:
            job.deadline.cancel()
        del self._jobs[job.record.job_id]
        self._events.progress(job.record.principal, job.record.job_id, None)
        folder = self._units.folder(job.record.job_id)
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        end = functools.partial(
            self._store.change_job,
            job.record.job_id,
            state,
            error=error,
            expire=_expiry(job.record),
        )
        record = await kept(end)
        log.info(
            "job_ended",
            job_id=record.job_id,
            state=state.value,
            reason=error.reason if error is not None else None,
        )
        self._wake.set()
        return record

    async def _put_back(self, record: JobRecord) -> None:
        if record.spec.reports is not None and not record.plan_complete:
            intents = await self._store.report_intents(record.job_id)
            # What is listed stays.
            listed = {report.checksum for report in record.reports}
            left = {kind: mark for kind, mark in intents.items() if mark not in listed}
            self._engine.abandon([self._units.analysis(record, intents=left)])
        while True:
            page, _ = await self._store.segments(record.job_id, states=[SegmentState.RUNNING])
            if not page:
                return
            for segment in page:
                _, intent = await self._store.segment(record.job_id, segment.index)
                self._engine.abandon([self._units.unit(record, segment, intent=intent)])
                await self._store.change_segment(segment, SegmentState.PLANNED)


def _expiry(record: JobRecord) -> timedelta:
    assert record.spec.time_to_live is not None
    return timedelta(seconds=float(record.spec.time_to_live))
