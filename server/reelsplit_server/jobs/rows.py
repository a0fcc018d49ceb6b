"""Between the rows of the tables and the records: the queries that all others begin with."""

from __future__ import annotations

import dataclasses
import functools
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, select

from reelsplit.types.event import JobEvent
from reelsplit.types.job import Job, JobState
from reelsplit.types.segment import Segment, SegmentState
from reelsplit.types.spec import JobSpec, UserDefined
from reelsplit.v1 import event_pb2, job_pb2, segment_pb2, spec_pb2
from reelsplit.wire import from_message, to_message
from reelsplit_server.jobs import schema
from reelsplit_server.jobs.records import JobRecord, KeptEvent, StoredEvent

_MANY = 200


class NoSuchJobError(Exception):
    """No job of this principal has this id."""


def micros(time: datetime) -> int:
    """A time as the tables hold it."""
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def time_of(value: int) -> datetime:
    """The time that a table holds."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=value)


def from_micros(value: int | None) -> datetime | None:
    """The time that a table holds, if it holds one."""
    return None if value is None else time_of(value)


def is_large(spec: JobSpec) -> bool:
    """Whether a spec takes so long to convert that others would wait for it."""
    return isinstance(spec.mode, UserDefined) and len(spec.mode.ranges) > _MANY


def load_job(connection: Connection, job_id: str, principal: str | None = None) -> JobRecord:
    """One job, of this principal where one is given; raises `NoSuchJobError`."""
    if principal is None:
        row = connection.execute(_JOB, {"of_job": job_id}).one_or_none()
    else:
        row = connection.execute(
            _JOB_OF, {"of_job": job_id, "of_principal": principal}
        ).one_or_none()
    if row is None:
        raise NoSuchJobError(job_id)
    return job_record(row)


def load_segment(connection: Connection, job_id: str, index: int) -> tuple[Segment, str | None]:
    """One segment and its intent; raises `NoSuchJobError`."""
    row = connection.execute(_SEGMENT, {"of_job": job_id, "of_index": index}).one_or_none()
    if row is None:
        raise NoSuchJobError(job_id)
    return segment_record(row), row.intent


def jobs_query() -> Select[Any]:
    """Jobs with the names of their principals."""
    return select(schema.jobs, schema.principals.c.name.label("principal")).join(schema.principals)


def events_query() -> Select[Any]:
    """Events with the names of their jobs' principals."""
    return (
        select(schema.events, schema.principals.c.name.label("principal"))
        .join(schema.jobs, schema.jobs.c.job_id == schema.events.c.job_id)
        .join(schema.principals)
    )


# Statements that run many times for each segment are made once: making them costs more than
# running them.
_JOB = jobs_query().where(schema.jobs.c.job_id == bindparam("of_job"))
_JOB_OF = _JOB.where(schema.principals.c.name == bindparam("of_principal"))
_SEGMENT = select(schema.segments).where(
    schema.segments.c.job_id == bindparam("of_job"),
    schema.segments.c.idx == bindparam("of_index"),
)


def job_record(row: Row[Any]) -> JobRecord:
    """The job of a row."""
    facts = _facts(row.facts)
    return JobRecord(
        job_id=row.job_id,
        principal=row.principal,
        state=JobState(row.state),
        spec=spec_of(row.spec),
        create_time=time_of(row.create_time),
        attempt=row.attempt,
        percent=row.percent,
        plan_complete=row.plan_complete,
        segment_count=row.segment_count,
        published_count=row.published_count,
        failed_count=row.failed_count,
        source=facts.source,
        source_pin=row.source_pin,
        media_id=row.media_id,
        error=facts.error,
        notices=facts.notices,
        reports=facts.reports,
        start_time=from_micros(row.start_time),
        end_time=from_micros(row.end_time),
        expire_time=from_micros(row.expire_time),
        last_sequence=row.last_sequence,
        key_id=row.key_id,
        trace_parent=row.trace_parent,
    )


@functools.lru_cache(maxsize=16)
def spec_of(data: bytes) -> JobSpec:
    """The spec of what the column ``spec`` holds."""
    # A job is read at each of its changes, and a spec of 10,000 ranges takes long to read.
    return from_message(JobSpec, spec_pb2.JobSpec.FromString(data))


@functools.lru_cache(maxsize=64)
def _facts(data: bytes) -> Job:
    return from_message(Job, job_pb2.Job.FromString(data))


def facts_bytes(record: JobRecord) -> bytes:
    """What the column ``facts`` holds of a job."""
    job = Job(
        source=record.source,
        error=record.error,
        notices=record.notices,
        reports=record.reports,
    )
    return to_message(job).SerializeToString()


def segment_record(row: Row[Any]) -> Segment:
    """The segment of a row."""
    kept = from_message(Segment, segment_pb2.Segment.FromString(row.data))
    return dataclasses.replace(
        kept, job_id=row.job_id, index=row.idx, state=SegmentState(row.state)
    )


def segment_bytes(segment: Segment) -> bytes:
    """What the column ``data`` holds of a segment."""
    bare = dataclasses.replace(segment, job_id="", index=0, state=SegmentState.UNSPECIFIED)
    return to_message(bare).SerializeToString()


def kept_event(row: Row[Any]) -> KeptEvent:
    """The event of a row, for those who only hand it on."""
    return KeptEvent(row.position, row.job_id, row.sequence, row.data)


def event_record(row: Row[Any]) -> StoredEvent:
    """The event of a row."""
    event = from_message(JobEvent, event_pb2.JobEvent.FromString(row.data))
    return StoredEvent(position=row.position, principal=row.principal, event=event, data=row.data)
