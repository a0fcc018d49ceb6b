"""Decides what is worked on next, and keeps what comes of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence

import structlog

from reelsplit.types.error import Error
from reelsplit.types.job import JobState, Report
from reelsplit.types.segment import Segment
from reelsplit_server import metrics
from reelsplit_server.engine import seam
from reelsplit_server.jobs import traces
from reelsplit_server.jobs.active import ANALYSIS, ActiveJob
from reelsplit_server.jobs.backlog import Backlog, Queued
from reelsplit_server.jobs.database import StoreUnavailableError
from reelsplit_server.jobs.ending import Ending, expiry
from reelsplit_server.jobs.failures import internal, store_unavailable, too_late
from reelsplit_server.jobs.grouping import together
from reelsplit_server.jobs.log import EventLog
from reelsplit_server.jobs.orders import Limits, Orders
from reelsplit_server.jobs.patience import Patience
from reelsplit_server.jobs.records import JobRecord
from reelsplit_server.jobs.recovery import Recovery
from reelsplit_server.jobs.rows import NoSuchJobError
from reelsplit_server.jobs.store import Store
from reelsplit_server.jobs.transitions import TransitionError
from reelsplit_server.jobs.turns import Turns
from reelsplit_server.jobs.units import Units

log = structlog.get_logger(__name__)


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
        self._engine = engine
        self._limits = limits
        self._patience = Patience()
        self._units = Units(store, events, engine, limits, clock, self, self._patience)
        orders = Orders(limits)
        self._ends = Ending(store, events, orders, self._patience)
        self._recovery = Recovery(store, engine, orders, self._ends, self._patience)
        self._backlog = Backlog()
        self._turns = Turns(self._backlog, most_running, most_running_of_one)
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
            cleared = await self._recovery.put_back(record)
            if record.state is JobState.CANCELLING:
                self._ending(self._recovery.cancelled(record, cleared))
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
            # What is stopped already puts back what it began.
            if not task.cancelling():
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
                record.job_id, JobState.CANCELLED, expire=expiry(record)
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
            match self._turns.choose(self._jobs, self._workers):
                case None:
                    return
                case str(principal):
                    await self._admit(principal)
                case job:
                    self._turns.had(job.record.principal, self._jobs)
                    self._begin_all(job, together(job, self._engine.slots))

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
        planned = await self._recovery.planned(record)
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
            await self._close(job, JobState.FAILED, await self._ends.segments_failed(job))
        else:
            await self._close(job, JobState.SUCCEEDED, None)

    async def _fail_now(self, job: ActiveJob, error: Error | None, culprit: int | None) -> None:
        await self._stop_units(job)
        if error is None:
            await self._ends.skip(job, culprit)
            error = await self._ends.segments_failed(job)
        await self._close(job, JobState.FAILED, error)

    async def _stop_units(self, job: ActiveJob) -> None:
        job.waiting.clear()
        tasks = list(job.running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _close(self, job: ActiveJob, state: JobState, error: Error | None) -> JobRecord:
        if job.deadline is not None:
            job.deadline.cancel()
        del self._jobs[job.record.job_id]
        record = await self._ends.close(job, state, error)
        self._wake.set()
        return record
