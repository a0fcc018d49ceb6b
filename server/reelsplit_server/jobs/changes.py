"""The steps that writing transactions are made of: each change of state appends its event."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import timedelta
from operator import attrgetter

from sqlalchemy import bindparam, insert, select, update

from reelsplit.types.error import Error
from reelsplit.types.event import (
    JobEvent,
    JobStateChanged,
    PlanCompleted,
    SegmentChanged,
    SourceOpened,
)
from reelsplit.types.job import JobState
from reelsplit.types.segment import Segment, SegmentState
from reelsplit.wire import to_message
from reelsplit_server.jobs import outbox, schema, waiting
from reelsplit_server.jobs.database import Transaction
from reelsplit_server.jobs.principals import principal_name
from reelsplit_server.jobs.records import JobRecord, StoredEvent
from reelsplit_server.jobs.rows import facts_bytes, load_job, micros, segment_bytes, segment_record
from reelsplit_server.jobs.transitions import check_job, check_segment

Happening = JobStateChanged | SourceOpened | SegmentChanged | PlanCompleted
"""What is kept in the log."""

_FINAL = frozenset({"RANGE_OUTSIDE_SOURCE", "RANGE_OVERLAPS_END"})
"""Why the plan refuses a segment; making it would not ask again."""

# Statements that run for each segment are made once: making them costs more than running them.
_PUT_SEGMENT = (
    update(schema.segments)
    .where(
        schema.segments.c.job_id == bindparam("of_job"),
        schema.segments.c.idx == bindparam("of_index"),
    )
    .values(state=bindparam("new_state"), data=bindparam("new_data"))
)
_SET_JOB = update(schema.jobs).where(schema.jobs.c.job_id == bindparam("of_job"))
_NEXT_NUMBER = (
    update(schema.jobs)
    .where(schema.jobs.c.job_id == bindparam("of_job"))
    .values(last_sequence=schema.jobs.c.last_sequence + 1)
    .returning(schema.jobs.c.last_sequence, schema.jobs.c.principal_id)
)
_events = schema.events.c
# Not in the order of the parameters: SQLite would then take a statement for each.
_PUT_EVENTS = insert(schema.events).returning(_events.position, _events.job_id, _events.sequence)


def change_job(
    transaction: Transaction,
    job_id: str,
    state: JobState,
    *,
    error: Error | None = None,
    expire: timedelta | None = None,
    **values: object,
) -> JobRecord:
    """Bring a job to another state; raises `TransitionError` where that is not allowed."""
    connection, now = transaction.connection, transaction.now
    record = load_job(connection, job_id)
    check_job(record.state, state)
    values |= {"state": state.value, "last_sequence": record.last_sequence + 1}
    if state is JobState.RUNNING and record.start_time is None:
        values["start_time"] = micros(now)
    if expire is not None:
        values |= {"end_time": micros(now), "expire_time": micros(now + expire)}
    if state is JobState.SUCCEEDED:
        values["percent"] = 100.0
    if error is not None or record.error is not None:
        values["facts"] = facts_bytes(dataclasses.replace(record, error=error))
    connection.execute(_SET_JOB, values | {"of_job": job_id})
    changed = load_job(connection, job_id)
    event = JobStateChanged(
        previous_state=record.state,
        state=state,
        error=error,
        percent=changed.percent,
        attempt=changed.attempt,
    )
    put_event(transaction, job_id, record.principal, changed.last_sequence, event)
    waiting.moved(transaction, record.principal, record.state, state)
    return changed


def retry(
    transaction: Transaction,
    job_id: str,
    retry_token: str,
    most_waiting: int | None,
    most_of_one: int | None,
) -> JobRecord | waiting.QueueFullError:
    """Put an ended job back in the queue, with its failed segments planned again; answers, and
    does not raise, that the queue is full. Raises `TransitionError`."""
    connection = transaction.connection
    table = schema.jobs
    seen = connection.execute(
        select(table.c.retry_token).where(table.c.job_id == job_id)
    ).scalar_one_or_none()
    record = load_job(connection, job_id)
    if retry_token and seen == retry_token:
        return record
    check_job(record.state, JobState.PENDING)
    if full := waiting.refusal(transaction, record.principal, most_waiting, most_of_one):
        return full
    rows = connection.execute(
        select(schema.segments).where(
            schema.segments.c.job_id == job_id,
            # One that is RUNNING here was stopped before it could be put back.
            schema.segments.c.state.in_([SegmentState.FAILED.value, SegmentState.RUNNING.value]),
        )
    ).all()
    found = [segment_record(row) for row in rows]
    final = [s for s in found if s.error is not None and s.error.reason in _FINAL]
    for before in found:
        if before not in final:
            segment = dataclasses.replace(
                before, state=SegmentState.PLANNED, error=None, end_time=None
            )
            put_segment(transaction, before.state, segment)
    return change_job(
        transaction,
        job_id,
        JobState.PENDING,
        failed_count=len(final),
        attempt=record.attempt + 1,
        retry_token=retry_token or None,
        # With no segment planned, the source may as well be another by now.
        source_pin=record.source_pin if record.segment_count else None,
        start_time=None,
        end_time=None,
        expire_time=None,
    )


def put_segment(transaction: Transaction, before: SegmentState, segment: Segment) -> None:
    """Keep a segment in the state that it says; raises `TransitionError`."""
    check_segment(before, segment.state)
    transaction.connection.execute(
        _PUT_SEGMENT,
        {
            "of_job": segment.job_id,
            "of_index": segment.index,
            "new_state": segment.state.value,
            "new_data": segment_bytes(segment),
        },
    )
    event = SegmentChanged(previous_state=before, segment=segment)
    append(transaction, segment.job_id, event)


def update_job(transaction: Transaction, job_id: str, **values: object) -> None:
    """Set columns of a job that no event tells of."""
    transaction.connection.execute(_SET_JOB, values | {"of_job": job_id})


def append(transaction: Transaction, job_id: str, event: Happening) -> None:
    """Append an event to a job's log, under the next number."""
    connection = transaction.connection
    row = connection.execute(_NEXT_NUMBER, {"of_job": job_id}).one()
    principal = principal_name(transaction, row.principal_id)
    put_event(transaction, job_id, principal, row.last_sequence, event)


def put_event(
    transaction: Transaction, job_id: str, principal: str, sequence: int, event: Happening
) -> None:
    """Put an event into a job's log, under a number that the job's row has already."""
    put_events(transaction, [(job_id, principal, sequence, event)])


def put_events(
    transaction: Transaction, happened: Sequence[tuple[str, str, int, Happening]]
) -> None:
    """Put events of jobs (their ids, principals, and the events' numbers) into their logs."""
    made = {
        (job_id, sequence): JobEvent(
            job_id=job_id, sequence=sequence, event_time=transaction.now, event=event
        )
        for job_id, _, sequence, event in happened
    }
    data = {place: to_message(event).SerializeToString() for place, event in made.items()}
    rows = [
        {"job_id": job_id, "sequence": sequence, "data": data[job_id, sequence]}
        for job_id, sequence in made
    ]
    principals = {job_id: principal for job_id, principal, _, _ in happened}
    found = transaction.connection.execute(_PUT_EVENTS, rows)
    for row in sorted(found, key=attrgetter("position")):
        place = row.job_id, row.sequence
        event = made[place]
        transaction.events.append(
            StoredEvent(
                position=row.position,
                principal=principals[row.job_id],
                event=event,
                data=data[place],
            )
        )
        outbox.enqueue(transaction, event)
