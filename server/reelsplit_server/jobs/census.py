"""How many jobs there are in each state, and how long the oldest waits: counted as they change."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from operator import itemgetter

from sqlalchemy import Connection, func, select

from reelsplit.types.event import JobStateChanged, SegmentChanged
from reelsplit.types.job import JobState
from reelsplit.types.segment import Segment, SegmentState
from reelsplit_server import metrics
from reelsplit_server.jobs import schema
from reelsplit_server.jobs.database import Database
from reelsplit_server.jobs.records import StoredEvent
from reelsplit_server.jobs.rows import event_record, events_query, time_of
from reelsplit_server.jobs.transitions import ENDED

_KNOWN = [state for state in JobState if state is not JobState.UNSPECIFIED]


class Census:
    """Keeps the gauges of jobs right, and asks the database only once. ``clock`` tells the time
    in UTC. All calls come from one event loop."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        # In the order in which they began to wait.
        self._waiting: dict[str, datetime] = {}
        self._begun: dict[str, datetime] = {}
        metrics.QUEUE_AGE.set_function(self._queue_age)

    async def open(self, database: Database) -> None:
        """Begin with what the database holds, before anything changes."""
        jobs = schema.jobs.c
        counting = select(jobs.state, func.count().label("number")).group_by(jobs.state)
        unfinished = select(jobs.job_id, jobs.state, jobs.create_time, jobs.start_time).where(
            jobs.state.in_([s.value for s in _KNOWN if s not in ENDED])
        )
        # What put a job back in the queue is the last that happened to it.
        retried = (
            events_query()
            .where(jobs.state == JobState.PENDING.value, jobs.attempt > 1)
            .where(schema.events.c.sequence == jobs.last_sequence)
        )

        def work(connection: Connection) -> dict[str, int]:
            waiting = dict[str, datetime]()
            for row in connection.execute(unfinished):
                if row.state == JobState.PENDING.value:
                    waiting[row.job_id] = time_of(row.create_time)
                elif row.start_time is not None:
                    self._begun[row.job_id] = time_of(row.start_time)
            for found in connection.execute(retried):
                event = event_record(found).event
                if event.event_time is not None:
                    waiting[event.job_id] = event.event_time
            self._waiting.update(sorted(waiting.items(), key=itemgetter(1)))
            return {row.state: row.number for row in connection.execute(counting)}

        counts = await database.read(work)
        for state in _KNOWN:
            metrics.JOBS.labels(state.value).set(counts.get(state.value, 0))

    def committed(self, events: Iterable[StoredEvent]) -> None:
        """Changes of state are kept."""
        for stored in events:
            match stored.event.event:
                case JobStateChanged(previous_state=before, state=state):
                    now = stored.event.event_time
                    assert now is not None
                    self._changed(stored.event.job_id, before, state, now)
                case SegmentChanged(segment=Segment(state=SegmentState.PUBLISHED) as segment):
                    _published(segment)
                case SegmentChanged(segment=Segment(state=SegmentState.FAILED)):
                    metrics.SEGMENTS.labels("failed").inc()

    def _changed(self, job_id: str, before: JobState, state: JobState, now: datetime) -> None:
        if before is JobState.UNSPECIFIED:
            metrics.JOBS_SUBMITTED.inc()
        else:
            metrics.JOBS.labels(before.value).dec()
        metrics.JOBS.labels(state.value).inc()
        if state is JobState.PENDING:
            self._waiting[job_id] = now
        else:
            self._waiting.pop(job_id, None)
        if state is JobState.RUNNING:
            self._begun[job_id] = now
        elif state in ENDED:
            metrics.JOBS_ENDED.labels(state.value).inc()
            if (begun := self._begun.pop(job_id, None)) is not None:
                seconds = max(0.0, (now - begun).total_seconds())
                metrics.JOB_SECONDS.labels(state.value).observe(seconds)

    def _queue_age(self) -> float:
        # A copy, made in one step, since scrapes come from other threads.
        oldest = next(iter(list(self._waiting.values())), None)
        return 0.0 if oldest is None else max(0.0, (self._clock() - oldest).total_seconds())


def _published(segment: Segment) -> None:
    metrics.BYTES_WRITTEN.labels("segment").inc(segment.size_bytes)
    if segment.verification is not None and segment.verification.checked:
        metrics.SEGMENTS_VERIFIED.inc()
    if (cut := segment.cut) is None:
        return
    metrics.FRAMES.labels("copied").inc(cut.copied_frames)
    metrics.FRAMES.labels("encoded").inc(cut.encoded_frames)
    mixed = "mixed" if cut.copied_frames else "encoded"
    metrics.SEGMENTS.labels(mixed if cut.encoded_frames else "copied").inc()
