"""Reading what is kept of jobs, segments and events."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, func, select

from reelsplit.types.job import JobState
from reelsplit.types.segment import Segment, SegmentState
from reelsplit.types.spec import ReportKind
from reelsplit_server.jobs import schema
from reelsplit_server.jobs.backlog import Queued
from reelsplit_server.jobs.database import Database
from reelsplit_server.jobs.records import JobFilter, JobRecord, KeptEvent, Standing, StoredEvent
from reelsplit_server.jobs.rows import (
    NoSuchJobError,
    event_record,
    events_query,
    job_record,
    jobs_query,
    kept_event,
    load_job,
    load_segment,
    micros,
    segment_record,
    time_of,
)

_MOST_BYTES = 2 * 2**20
"""What the specs or segments of one page may take together: a message must hold the page."""

_FORGOTTEN = "forgotten_position"
"""The property that said up to where the log has lost events when that was not yet told apart by
principals."""


def forgotten_of(owner: int | None) -> str:
    """The property that says up to where the log has lost events of the jobs of a principal, given
    by its row, or of any where it is None: they went with jobs that were deleted."""
    return f"{_FORGOTTEN}:{'all' if owner is None else owner}"


_STANDING = (
    select(
        *(
            schema.jobs.c[name]
            for name in (
                "job_id",
                "state",
                "percent",
                "plan_complete",
                "segment_count",
                "published_count",
                "failed_count",
                "last_sequence",
            )
        ),
        schema.principals.c.name.label("principal"),
    )
    .join(schema.principals)
    .where(schema.jobs.c.job_id == bindparam("of_job"))
)
_KEPT = (
    select(schema.events)
    .where(schema.events.c.job_id == bindparam("of_job"))
    .where(schema.events.c.sequence > bindparam("after"))
    .order_by(schema.events.c.sequence)
    .limit(bindparam("size"))
)


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

    async def queued(self) -> list[Queued]:
        """All jobs that wait to be begun, without their specs."""
        jobs = schema.jobs.c
        query = (
            select(jobs.job_id, schema.principals.c.name, jobs.priority, jobs.create_time)
            .join(schema.principals)
            .where(jobs.state == JobState.PENDING.value)
        )

        def work(connection: Connection) -> list[Queued]:
            return [
                Queued(
                    job_id=job_id,
                    principal=principal,
                    priority=priority,
                    create_time=time_of(created),
                )
                for job_id, principal, priority, created in connection.execute(query)
            ]

        return await self._database.read(work)

    async def unfinished(self) -> list[JobRecord]:
        """All jobs that were begun and have not ended, the oldest first."""
        begun = [state.value for state in (JobState.RUNNING, JobState.CANCELLING)]
        query = jobs_query().where(schema.jobs.c.state.in_(begun))
        order = (schema.jobs.c.create_time, schema.jobs.c.job_id)
        return await self._database.read(
            lambda c: [job_record(row) for row in c.execute(query.order_by(*order))]
        )

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

    async def left(self, job_id: str) -> list[tuple[Segment, str | None]]:
        """The segments that a server which is gone may have left something of, each with the
        checksum that its last attempt was about to publish: those that were being made, and those
        that wait to be made again, where an attempt came so far."""
        table = schema.segments
        states = (SegmentState.RUNNING.value, SegmentState.PLANNED.value)
        query = (
            select(table)
            .where(table.c.job_id == job_id, table.c.state.in_(states))
            .where((table.c.state == SegmentState.RUNNING.value) | table.c.intent.is_not(None))
            .order_by(table.c.idx)
        )
        rows = await self._database.read(lambda c: c.execute(query).all())
        return [(segment_record(row), row.intent) for row in rows]

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

    async def standing(self, job_id: str) -> Standing:
        """How far a job is, without what takes long to read; raises `NoSuchJobError`."""

        def work(connection: Connection) -> Standing:
            row = connection.execute(_STANDING, {"of_job": job_id}).mappings().one_or_none()
            if row is None:
                raise NoSuchJobError(job_id)
            return Standing(**{**row, "state": JobState(row["state"])})

        return await self._database.read(work)

    async def kept_events(self, job_id: str, after: int, size: int) -> list[KeptEvent]:
        """At most ``size`` events of a job behind a sequence number, as they are kept."""
        values = {"of_job": job_id, "after": after, "size": size}

        def work(connection: Connection) -> list[KeptEvent]:
            return [kept_event(row) for row in connection.execute(_KEPT, values)]

        return await self._database.read(work)

    async def all_kept_events(
        self, principal: str | None, after: int, size: int
    ) -> list[KeptEvent]:
        """At most ``size`` events of all jobs of a principal, or of any where it is None, behind a
        position of the log, as they are kept."""
        table = schema.events.c
        query = events_query().where(table.position > after)
        if principal is not None:
            query = query.where(schema.principals.c.name == principal)
        query = query.order_by(table.position).limit(size)

        def work(connection: Connection) -> list[KeptEvent]:
            return [kept_event(row) for row in connection.execute(query)]

        return await self._database.read(work)

    async def labels(self, job_id: str) -> dict[str, str]:
        """The labels of a job; none where there is no such job."""
        table = schema.job_labels.c
        query = select(table.key, table.value).where(table.job_id == job_id)
        rows = await self._database.read(lambda c: c.execute(query).all())
        return {row.key: row.value for row in rows}

    async def last_position(self) -> int:
        """The position of the newest event of all, those that were deleted included."""
        query = select(func.max(schema.events.c.position))
        newest = await self._database.read(lambda c: c.execute(query).scalar_one() or 0)
        return max(newest, await self.forgotten_position(None))

    async def forgotten_position(self, principal: str | None) -> int:
        """The position of the newest event that went with a job that was deleted: one of this
        principal, or of any where it is None."""
        table, principals = schema.properties.c, schema.principals.c

        def work(connection: Connection) -> int:
            owner = None
            if principal is not None:
                of_name = select(principals.principal_id).where(principals.name == principal)
                owner = connection.execute(of_name).scalar_one_or_none()
            names = [_FORGOTTEN]
            if principal is None or owner is not None:
                names.append(forgotten_of(owner))
            query = select(table.value).where(table.name.in_(names))
            return max((int(value) for value in connection.execute(query).scalars()), default=0)

        return await self._database.read(work)
