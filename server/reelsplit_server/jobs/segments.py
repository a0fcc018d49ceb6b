"""The steps of a job's segments: planned, begun, and ended."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

from sqlalchemy import bindparam, insert, select, update

from reelsplit.types.event import SegmentChanged
from reelsplit.types.segment import Segment, SegmentState
from reelsplit_server.jobs import changes, exports, schema
from reelsplit_server.jobs.database import Transaction
from reelsplit_server.jobs.records import JobRecord
from reelsplit_server.jobs.rows import NoSuchJobError, load_job, load_segment, segment_bytes
from reelsplit_server.jobs.transitions import check_segment

_PUT_SEGMENTS = insert(schema.segments).returning(schema.segments.c.idx)
_STATE = select(schema.segments.c.state).where(
    schema.segments.c.job_id == bindparam("of_job"),
    schema.segments.c.idx == bindparam("of_index"),
)
_INTEND = (
    update(schema.segments)
    .where(
        schema.segments.c.job_id == bindparam("of_job"),
        schema.segments.c.idx == bindparam("of_index"),
    )
    .values(intent=bindparam("new_intent"))
)


def plan(transaction: Transaction, job_id: str, planned: Sequence[Segment]) -> JobRecord:
    """Keep segments whose bounds are known, those with an error as FAILED, but for those whose
    index is known already."""
    record = load_job(transaction.connection, job_id)
    now = transaction.now
    fresh = [segment for segment in planned if segment.index >= record.segment_count]
    rows: list[dict[str, object]] = []
    happened: list[SegmentChanged] = []
    for segment in fresh:
        last = known = dataclasses.replace(
            segment, job_id=job_id, state=SegmentState.PLANNED, error=None, create_time=now
        )
        happened.append(SegmentChanged(segment=known))
        if segment.error is not None:
            check_segment(SegmentState.PLANNED, SegmentState.FAILED)
            last = dataclasses.replace(
                known, state=SegmentState.FAILED, error=segment.error, end_time=now
            )
            happened.append(SegmentChanged(previous_state=known.state, segment=last))
        rows.append(
            {
                "job_id": job_id,
                "idx": last.index,
                "state": last.state.value,
                "data": segment_bytes(last),
            }
        )
    if fresh:
        transaction.connection.execute(_PUT_SEGMENTS, rows)
        changes.update_job(
            transaction,
            job_id,
            segment_count=record.segment_count + len(fresh),
            failed_count=record.failed_count + len(happened) - len(fresh),
            last_sequence=record.last_sequence + len(happened),
        )
        numbers = itertools.count(record.last_sequence + 1)
        changes.put_events(
            transaction,
            [(job_id, record.principal, next(numbers), event) for event in happened],
        )
    return load_job(transaction.connection, job_id)


def change(
    transaction: Transaction, segment: Segment, state: SegmentState
) -> tuple[JobRecord, Segment]:
    """Bring a segment to another state, with what is known of it now; raises `TransitionError`."""
    connection, now = transaction.connection, transaction.now
    place = {"of_job": segment.job_id, "of_index": segment.index}
    found = connection.execute(_STATE, place).scalar_one_or_none()
    if found is None:
        raise NoSuchJobError(segment.job_id)
    before = SegmentState(found)
    changed = dataclasses.replace(segment, state=state)
    if state is SegmentState.RUNNING:
        changed = dataclasses.replace(
            changed, start_time=now, end_time=None, error=None, attempt=segment.attempt + 1
        )
    elif state is not SegmentState.PLANNED:
        changed = dataclasses.replace(changed, end_time=now)
    changes.put_segment(transaction, before, changed)
    if changed.media_id and state is SegmentState.PUBLISHED:
        exports.add(transaction, changed)
    record = load_job(connection, segment.job_id)
    published = state is SegmentState.PUBLISHED
    failed = (state is SegmentState.FAILED) - (before is SegmentState.FAILED)
    if published or failed:
        record = dataclasses.replace(
            record,
            published_count=record.published_count + published,
            failed_count=record.failed_count + failed,
        )
        changes.update_job(
            transaction,
            segment.job_id,
            published_count=record.published_count,
            failed_count=record.failed_count,
        )
    return record, changed


def begin(
    transaction: Transaction, job_id: str, index: int
) -> tuple[JobRecord, Segment, str | None]:
    """Bring a segment to RUNNING; answers with it what its last attempt was about to publish.
    Raises `TransitionError`."""
    segment, intent = load_segment(transaction.connection, job_id, index)
    return *change(transaction, segment, SegmentState.RUNNING), intent


def intend(transaction: Transaction, job_id: str, index: int, checksum: str) -> None:
    """Keep what an attempt is about to publish."""
    values = {"of_job": job_id, "of_index": index, "new_intent": checksum}
    transaction.connection.execute(_INTEND, values)
