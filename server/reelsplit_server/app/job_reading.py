"""The use cases that read jobs: one, a page of them, what came of it, and its segments."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from reelsplit.types.error import Error
from reelsplit.types.job import Job, JobState
from reelsplit.types.segment import Segment, SegmentState
from reelsplit_server.access.callers import Caller
from reelsplit_server.access.permissions import Permission
from reelsplit_server.app.authorization import require
from reelsplit_server.app.bounds import page_size_of
from reelsplit_server.app.errors import Violation, invalid, job_not_found, translated
from reelsplit_server.app.presenting import present
from reelsplit_server.app.tokens import Sealer
from reelsplit_server.jobs.log import EventLog
from reelsplit_server.jobs.records import JobFilter, JobRecord
from reelsplit_server.jobs.rows import NoSuchJobError, micros
from reelsplit_server.jobs.store import Store

_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobQuery:
    """Which jobs a list holds."""

    page_size: int = 0
    page_token: str = ""
    skipped: int = 0
    """How many jobs are passed over, by faces that count pages."""
    states: Sequence[JobState] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    create_time_from: datetime | None = None
    create_time_until: datetime | None = None
    oldest_first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPage:
    """One page of jobs."""

    jobs: Sequence[Job]
    next_page_token: str
    total_size: int
    watch_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentPage:
    """One page of segments."""

    segments: Sequence[Segment]
    next_page_token: str
    total_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOutcome:
    """A job, and once it has ended what came of it: the segments that were published, or found
    where none were to be made, and why the first failed of those that did."""

    job: Job
    segments: Sequence[Segment] = ()
    cause: Error | None = None


class JobReading:
    """The reading half of `Jobs`."""

    def __init__(self, store: Store, events: EventLog, sealer: Sealer) -> None:
        self._store = store
        self._events = events
        self._sealer = sealer

    async def get(self, caller: Caller, job_id: str) -> Job:
        """One job."""
        require(caller, Permission.READ)
        return self._present(await self.record(caller, job_id))

    async def outcome(self, caller: Caller, job_id: str) -> JobOutcome:
        """One job with what came of it, in as few looks as that takes: callers poll for it."""
        require(caller, Permission.READ)
        record = await self.record(caller, job_id)
        job = self._present(record)
        if not record.ended:
            return JobOutcome(job=job)
        with translated():
            cause = None
            if record.failed_count:
                failed, _ = await self._store.segments(job_id, states=[SegmentState.FAILED], size=1)
                cause = failed[0].error if failed else None
            state, count = SegmentState.PUBLISHED, record.published_count
            if record.spec.output is None:
                state, count = SegmentState.PLANNED, record.segment_count
            segments: list[Segment] = []
            while len(segments) < count:
                after = segments[-1].index if segments else -1
                page, _ = await self._store.segments(job_id, states=[state], after=after)
                if not page:
                    break
                segments += page
        return JobOutcome(job=job, segments=segments, cause=cause)

    async def record(self, caller: Caller, job_id: str) -> JobRecord:
        """One job as it is kept; raises JOB_NOT_FOUND for those of other principals too, unless
        the caller may see them. Asks for no other permission: that is for what is done with it."""
        check_job_id(job_id)
        with translated():
            try:
                return await self._store.get(caller.sees, job_id)
            except NoSuchJobError:
                raise job_not_found(job_id) from None

    async def page(
        self, caller: Caller, query: JobQuery, violations: Sequence[Violation] = ()
    ) -> JobPage:
        """A page of the jobs that the caller sees."""
        require(caller, Permission.READ)
        size = page_size_of(query.page_size, 50, violations)
        bound = (
            caller.principal,
            str(caller.sees),
            ",".join(sorted(state.value for state in query.states)),
            *(f"{key}={value}" for key, value in sorted(query.labels.items())),
            str(query.create_time_from),
            str(query.create_time_until),
            str(query.oldest_first),
        )
        after: tuple[int, str] | None = None
        if query.page_token:
            time, last = self._sealer.open("list", bound, query.page_token, "page_token")
            after = (int(time), str(last))
        chosen = JobFilter(
            states=query.states,
            labels=query.labels,
            create_time_from=query.create_time_from,
            create_time_until=query.create_time_until,
            oldest_first=query.oldest_first,
        )
        with translated():
            # Taken first: what happens between the two is told by the watch as well.
            position = await self._store.last_position()
            records, more, total = await self._store.find(
                caller.sees, chosen, after, size, skipped=query.skipped
            )
        token = ""
        if more:
            last_record = records[-1]
            values = (micros(last_record.create_time), last_record.job_id)
            token = self._sealer.seal("list", bound, values)
        return JobPage(
            jobs=[self._present(record) for record in records],
            next_page_token=token,
            total_size=total,
            watch_token=self._sealer.seal("watch-all", [caller.principal], [position]),
        )

    async def segments(
        self,
        caller: Caller,
        job_id: str,
        *,
        page_size: int = 0,
        page_token: str = "",
        states: Sequence[SegmentState] = (),
        violations: Sequence[Violation] = (),
    ) -> SegmentPage:
        """A page of a job's segments."""
        require(caller, Permission.READ)
        size = page_size_of(page_size, 100, violations)
        await self.record(caller, job_id)
        bound = (caller.principal, job_id, ",".join(sorted(state.value for state in states)))
        after = -1
        if page_token:
            (last,) = self._sealer.open("segments", bound, page_token, "page_token")
            after = int(last)
        with translated():
            found, total = await self._store.segments(job_id, states=states, after=after, size=size)
            last_index = found[-1].index if found else after
            more, _ = await self._store.segments(job_id, states=states, after=last_index, size=1)
        token = self._sealer.seal("segments", bound, [last_index]) if more else ""
        return SegmentPage(segments=found, next_page_token=token, total_size=total)

    def _present(self, record: JobRecord) -> Job:
        return present(record, self._events.last_progress(record.job_id))


def check_job_id(job_id: str) -> None:
    """Raise INVALID_FIELD for what is no job's id."""
    if not _ID.fullmatch(job_id):
        wrong = "takes the 32 lower-case hexadecimal digits of a job"
        raise invalid([Violation(field="job_id", description=wrong)])
