"""Reading what is kept of jobs, segments and events."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, func, select

from reelsplit.types.job import JobState
from reelsplit.types.segment import Segment, SegmentState
from reelsplit.types.spec import ReportKind
from reelsplit_server.jobs import schema
from reelsplit_server.jobs.database import Database
from reelsplit_server.jobs.records import JobFilter, JobRecord, StoredEvent
from reelsplit_server.jobs.rows import (
    event_record,
    events_query,
    job_record,
    jobs_query,
    load_job,
    load_segment,
    micros,
    segment_record,
)

_MOST_BYTES = 2 * 2**20
"""What the specs or segments of one page may take together: a message must hold the page."""

FORGOTTEN = "forgotten_position"
"""The property that says up to where the log has lost events, with jobs that were deleted."""


class Reading:
    """The reading half of the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, principal: str | None, job_id: str) -> JobRecord:
        """One job; raises `NoSuchJobError`. ``None`` stands for any principal."""
        return await self._database.read(lambda c: load_job(c, job_id, principal))

    async def find(
        self,
        principal: str | None,
        chosen: JobFilter,
        after: tuple[int, str] | None,
        size: int,
        *,
        skipped: int = 0,
    ) -> tuple[list[JobRecord], bool, int]:
        """At most ``size`` jobs behind ``after`` (create time in microseconds, id), whether there
        are more behind them, and how many match in all. Fewer come where their specs are large.
        ``None`` stands for any principal; ``skipped`` jobs are passed over first."""

        def work(connection: Connection) -> tuple[list[JobRecord], bool, int]:
            jobs = schema.jobs.c
            query = jobs_query()
            if principal is not None:
                query = query.where(schema.principals.c.name == principal)
            if chosen.states:
                query = query.where(jobs.state.in_([state.value for state in chosen.states]))
            for key, value in chosen.labels.items():
                labels = schema.job_labels.c
                query = query.where(
                    jobs.job_id.in_(
                        select(labels.job_id).where(labels.key == key, labels.value == value)
                    )
                )
            if chosen.create_time_from is not None:
                query = query.where(jobs.create_time >= micros(chosen.create_time_from))
            if chosen.create_time_until is not None:
                query = query.where(jobs.create_time < micros(chosen.create_time_until))
            total = connection.execute(
                select(func.count()).select_from(query.subquery())
            ).scalar_one()
            order = [jobs.create_time, jobs.job_id]
            if after is not None:
                time, job_id = after
                same = jobs.create_time == time
                query = query.where(
                    (jobs.create_time > time) | (same & (jobs.job_id > job_id))
                    if chosen.oldest_first
                    else (jobs.create_time < time) | (same & (jobs.job_id < job_id))
                )
            if not chosen.oldest_first:
                order = [column.desc() for column in order]  # type: ignore[misc]
            found: list[JobRecord] = []
            room = _MOST_BYTES
            for row in connection.execute(query.order_by(*order).limit(size + 1).offset(skipped)):
                room -= len(row.spec)
                if len(found) == size or (room < 0 and found):
                    return found, True, total
                found.append(job_record(row))
            return found, False, total

        return await self._database.read(work)

    async def active(self) -> list[JobRecord]:
        """All jobs that have not ended, the oldest first."""

        def work(connection: Connection) -> list[JobRecord]:
            waiting = [s.value for s in (JobState.PENDING, JobState.RUNNING, JobState.CANCELLING)]
            query = jobs_query().where(schema.jobs.c.state.in_(waiting))
            order = (schema.jobs.c.create_time, schema.jobs.c.job_id)
            return [job_record(row) for row in connection.execute(query.order_by(*order))]

        return await self._database.read(work)

    async def segments(
        self,
        job_id: str,
        *,
        states: Sequence[SegmentState] = (),
        after: int = -1,
        size: int = 1000,
    ) -> tuple[list[Segment], int]:
        """At most ``size`` segments of a job with an index above ``after``, and how many match.
        Fewer come where they are large."""

        def work(connection: Connection) -> tuple[list[Segment], int]:
            table = schema.segments
            query = select(table).where(table.c.job_id == job_id)
            if states:
                query = query.where(table.c.state.in_([state.value for state in states]))
            total = connection.execute(
                select(func.count()).select_from(query.subquery())
            ).scalar_one()
            found: list[Segment] = []
            room = _MOST_BYTES
            for row in connection.execute(
                query.where(table.c.idx > after).order_by(table.c.idx).limit(size)
            ):
                room -= len(row.data)
                if room < 0 and found:
                    break
                found.append(segment_record(row))
            return found, total

        return await self._database.read(work)

    async def segment(self, job_id: str, index: int) -> tuple[Segment, str | None]:
        """One segment, and the checksum that its last attempt was about to publish."""

        return await self._database.read(lambda c: load_segment(c, job_id, index))

    async def report_intents(self, job_id: str) -> dict[ReportKind, str]:
        """The checksums of the reports that the analysis of a job was about to publish, or did."""
        table = schema.report_intents.c
        query = select(table.kind, table.checksum).where(table.job_id == job_id)
        rows = await self._database.read(lambda c: c.execute(query).all())
        return {ReportKind(kind): checksum for kind, checksum in rows}

    async def events(self, job_id: str, after: int, size: int) -> list[StoredEvent]:
        """At most ``size`` events of a job behind a sequence number."""

        def work(connection: Connection) -> list[StoredEvent]:
            table = schema.events.c
            query = events_query().where(table.job_id == job_id, table.sequence > after)
            return [
                event_record(r)
                for r in connection.execute(query.order_by(table.sequence).limit(size))
            ]

        return await self._database.read(work)

    async def all_events(self, principal: str | None, after: int, size: int) -> list[StoredEvent]:
        """At most ``size`` events of all jobs of a principal, or of any where it is None, behind a
        position of the log."""

        def work(connection: Connection) -> list[StoredEvent]:
            table = schema.events.c
            query = events_query().where(table.position > after)
            if principal is not None:
                query = query.where(schema.principals.c.name == principal)
            return [
                event_record(r)
                for r in connection.execute(query.order_by(table.position).limit(size))
            ]

        return await self._database.read(work)

    async def last_position(self) -> int:
        """The position of the newest event of all, those that were deleted included."""
        query = select(func.max(schema.events.c.position))
        newest = await self._database.read(lambda c: c.execute(query).scalar_one() or 0)
        return max(newest, await self.forgotten_position())

    async def forgotten_position(self) -> int:
        """The position of the newest event that went with a job that was deleted."""
        table = schema.properties.c
        query = select(table.value).where(table.name == FORGOTTEN)
        return int(
            await self._database.read(lambda c: c.execute(query).scalar_one_or_none()) or b"0"
        )
