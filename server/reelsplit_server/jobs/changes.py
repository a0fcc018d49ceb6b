"""The steps that writing transactions are made of: each change of state appends its event."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

from sqlalchemy import bindparam, insert, update

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
from reelsplit_server.jobs import outbox, schema
from reelsplit_server.jobs.database import Transaction
from reelsplit_server.jobs.records import JobRecord, StoredEvent
from reelsplit_server.jobs.rows import facts_bytes, load_job, micros, segment_bytes
from reelsplit_server.jobs.transitions import check_job, check_segment

Happening = JobStateChanged | SourceOpened | SegmentChanged | PlanCompleted
"""What is kept in the log."""

# Statements that run for each segment are made once: making them costs more than running them.
_PUT_SEGMENT = (
    update(schema.segments)
    .where(
        schema.segments.c.job_id == bindparam("of_job"),
        schema.segments.c.idx == bindparam("of_index"),
    )
    .values(state=bindparam("new_state"), data=bindparam("new_data"))
)
_NEXT_NUMBER = (
    update(schema.jobs)
    .where(schema.jobs.c.job_id == bindparam("of_job"))
    .values(last_sequence=schema.jobs.c.last_sequence + 1)
    .returning(schema.jobs.c.last_sequence)
)
_PUT_EVENT = insert(schema.events)


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
    now = transaction.now
    record = load_job(transaction.connection, job_id)
    check_job(record.state, state)
    values["state"] = state.value
    if state is JobState.RUNNING and record.start_time is None:
        values["start_time"] = micros(now)
    if expire is not None:
        values |= {"end_time": micros(now), "expire_time": micros(now + expire)}
    if state is JobState.SUCCEEDED:
        values["percent"] = 100.0
    if error is not None or record.error is not None:
        values["facts"] = facts_bytes(dataclasses.replace(record, error=error))
    table = schema.jobs
    transaction.connection.execute(update(table).where(table.c.job_id == job_id).values(**values))
    changed = load_job(transaction.connection, job_id)
    event = JobStateChanged(
        previous_state=record.state,
        state=state,
        error=error,
        percent=changed.percent,
        attempt=changed.attempt,
    )
    append(transaction, job_id, event)
    return load_job(transaction.connection, job_id)


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
    table = schema.jobs
    transaction.connection.execute(update(table).where(table.c.job_id == job_id).values(**values))


def append(transaction: Transaction, job_id: str, event: Happening) -> None:
    """Append an event to a job's log, under the next number."""
    connection = transaction.connection
    sequence = connection.execute(_NEXT_NUMBER, {"of_job": job_id}).scalar_one()
    concerned = outbox.concerned(connection, job_id)
    principal = concerned.principal
    made = JobEvent(job_id=job_id, sequence=sequence, event_time=transaction.now, event=event)
    result = connection.execute(
        _PUT_EVENT,
        {
            "job_id": job_id,
            "sequence": sequence,
            "data": to_message(made).SerializeToString(),
        },
    )
    assert result.inserted_primary_key is not None
    position = result.inserted_primary_key[0]
    transaction.events.append(StoredEvent(position=position, principal=principal, event=made))
    outbox.enqueue(transaction, concerned, made)
