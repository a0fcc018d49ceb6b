"""Decides what is worked on next, and keeps what comes of it."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import shutil
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import timedelta
from typing import Any

import structlog

from reelsplit.types.error import Error
from reelsplit.types.job import JobState, Report
from reelsplit.types.segment import Segment, SegmentState
from reelsplit_server import metrics
from reelsplit_server.engine import seam
from reelsplit_server.jobs import traces
from reelsplit_server.jobs.active import ANALYSIS, ActiveJob
from reelsplit_server.jobs.backlog import Backlog, Queued
from reelsplit_server.jobs.database import StoreUnavailableError
from reelsplit_server.jobs.failures import internal, store_unavailable, too_late
from reelsplit_server.jobs.grouping import together
from reelsplit_server.jobs.log import EventLog
from reelsplit_server.jobs.patience import Patience
from reelsplit_server.jobs.records import JobRecord
from reelsplit_server.jobs.rows import NoSuchJobError
from reelsplit_server.jobs.store import Store
from reelsplit_server.jobs.transitions import TransitionError
from reelsplit_server.jobs.units import Limits, Units

log = structlog.get_logger(__name__)
_CLEARING = 5.0
"""Seconds for which the end of a job waits that an earlier server was stopping, until it is cleared
up behind that."""
_MOST_TURNS = 1000
"""Callers whose last turns are remembered while they have nothing to do."""


class Scheduler:
    """Runs the units of all jobs on an engine. All calls come from one event loop.

    At most ``most_running`` jobs run at once, and ``most_running_of_one`` of each caller; those
    beyond wait.
    """

    def __init__(
        self,
        store: Store,
        events: EventLog,
        engine: seam.Engine,
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
        *,
        most_running: int | None = None,
        most_running_of_one: int | None = None,
    ) -> None:
        self._store = store
        self._events = events
        self._engine = engine
        self._limits = limits
        self._patience = Patience()
        self._units = Units(store, events, engine, limits, clock, self, self._patience)
        self._most_running = most_running or sys.maxsize
        self._most_running_of_one = most_running_of_one or sys.maxsize
        self._backlog = Backlog()
        self._turn = 0
        self._turns: dict[str, int] = {}
        """When each caller had its last turn."""
        self._jobs: dict[str, ActiveJob] = {}
        self._work: set[asyncio.Task[None]] = set()
        self._busy: dict[tuple[str, int], tuple[str, int]] = {}
        """The jobs and keys of the units that hold a worker, each with the first of those that
        hold the same."""
        self._endings: set[asyncio.Task[None]] = set()
        metrics.WORKERS_BUSY.set_function(lambda: len(self._workers))
        self._wake = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._draining = False

    # --- Life ------------------------------------------------------------------------------

    async def start(self) -> None:
        """Go on with what an earlier server left, and begin."""
        for queued in await self._store.queued():
            self._backlog.add(queued)
        for record in await self._store.unfinished():
            cleared = await self._put_back(record)
            if record.state is JobState.CANCELLING:
                self._ending(self._cancelled(record, cleared))
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
        self._patience.end()
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, *self._endings, return_exceptions=True)

    def add(self, record: JobRecord) -> None:
        """A job waits for its turn."""
        self._backlog.add(
            Queued(
                job_id=record.job_id,
                principal=record.principal,
                priority=record.spec.priority or 0,
                create_time=record.create_time,
            )
        )
        self._wake.set()

    async def cancel(self, record: JobRecord) -> JobRecord:
        """Stop a job; answers when its workers are gone. Raises `TransitionError` where the job
        ended in the meantime."""
        if record.state is JobState.PENDING:
            cancelled = await self._store.change_job(
                record.job_id, JobState.CANCELLED, expire=_expiry(record)
            )
            self._backlog.discard(record.job_id)
            return cancelled
        job = self._jobs.get(record.job_id)
        if job is None or job.ending:
            raise TransitionError("the job is ending already")
        job.ending = True
        try:
            job.record = await self._store.change_job(record.job_id, JobState.CANCELLING)
        except BaseException:
            job.ending = False
            self._go_on(job)
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
                    self._had_turn(job.record.principal)
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
        active: Counter[str] = Counter()
        for job_id, job in self._jobs.items():
            shares[job.record.principal] += busy[job_id]
            active[job.record.principal] += 1

        def rank(
            principal: str, priority: int, running: int, created: float
        ) -> tuple[int, int, int, int, float]:
            turn = self._turns.get(principal, 0)
            return -priority, shares[principal], turn, running, created

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
        if len(self._jobs) >= self._most_running:
            return best
        for principal, (negative, created, _) in self._backlog.firsts():
            if active[principal] >= self._most_running_of_one:
                continue
            made = rank(principal, -negative, 0, created)
            if least is None or made < least:
                best, least = principal, made
        return best

    def _had_turn(self, principal: str) -> None:
        self._turn += 1
        self._turns[principal] = self._turn
        if len(self._turns) > _MOST_TURNS:
            working = {job.record.principal for job in self._jobs.values()}
            known = working | {name for name, _ in self._backlog.firsts()}
            self._turns = {name: turn for name, turn in self._turns.items() if name in known}

    async def _admit(self, principal: str) -> None:
        queued = self._backlog.take(principal)
        try:
            record = await self._store.change_job(queued.job_id, JobState.RUNNING)
        except (NoSuchJobError, TransitionError):
            # Cancelled or deleted while it waited.
            return
        except Exception:
            # Still PENDING in the store: it keeps its turn.
            self._backlog.add(queued)
            raise
        await self._activate(record)

    async def _activate(self, record: JobRecord) -> None:
        planned: list[Segment] = []
        while record.segment_count:
            after = planned[-1].index if planned else -1
            look = functools.partial(
                self._store.segments, record.job_id, states=[SegmentState.PLANNED], after=after
            )
            page, total = await self._patience.kept(look)
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
        log.info("job_running", job_id=record.job_id, attempt=record.attempt, **traces.ids(record))
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
        if key >= ANALYSIS or job.share is not None:
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
        if job.ending:
            job.held = error, culprit
        elif not self._draining:
            job.ending = True
            self._ending(self._fail_now(job, error, culprit))

    def _go_on(self, job: ActiveJob) -> None:
        """It could not be ended: what should have ended it meanwhile does."""
        if job.held is not None:
            self.fail(job, *job.held)
        self._end_if_done(job)
        self._wake.set()

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

    async def _segments_failed(self, job: ActiveJob) -> Error:
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
        record = await self._patience.kept(end)
        log.info(
            "job_ended",
            job_id=record.job_id,
            state=state.value,
            reason=error.reason if error is not None else None,
            **traces.ids(record),
        )
        self._wake.set()
        return record

    async def _put_back(self, record: JobRecord) -> asyncio.Future[Any]:
        """Put back what an earlier server was making; answers what is done when nothing of that
        lies in the stores any more."""
        cleared: list[Awaitable[object]] = []
        if record.spec.reports is not None and not record.plan_complete:
            intents = await self._store.report_intents(record.job_id)
            # What is listed stays.
            listed = {report.checksum for report in record.reports}
            left = {kind: mark for kind, mark in intents.items() if mark not in listed}
            cleared.append(self._engine.abandon([self._units.analysis(record, intents=left)]))
        for segment, intent in await self._store.left(record.job_id):
            cleared.append(self._engine.abandon([self._units.unit(record, segment, intent=intent)]))
            if segment.state is SegmentState.RUNNING:
                await self._store.change_segment(segment, SegmentState.PLANNED)
        return asyncio.gather(*cleared)

    async def _cancelled(self, record: JobRecord, cleared: asyncio.Future[Any]) -> None:
        """End a job that an earlier server was stopping. Not before it is cleared up behind it:
        were this server killed in between, the next would look for nothing of a job that ended."""
        await asyncio.wait([cleared], timeout=_CLEARING)
        end = functools.partial(
            self._store.change_job, record.job_id, JobState.CANCELLED, expire=_expiry(record)
        )
        await self._patience.kept(end)


def _expiry(record: JobRecord) -> timedelta:
    assert record.spec.time_to_live is not None
    return timedelta(seconds=float(record.spec.time_to_live))
