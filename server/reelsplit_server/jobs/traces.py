"""Where jobs are in traces. What a job's trace is is kept with it, and so it goes on after a
restart."""

from __future__ import annotations

import hashlib
from datetime import datetime

from reelsplit.types.job import JobState
from reelsplit_server import tracing
from reelsplit_server.jobs.records import JobRecord
from reelsplit_server.jobs.rows import micros


def of_job(record: JobRecord) -> tracing.Place | None:
    """The span of a job's attempt, below that of the call that submitted it. Every server that
    works on it finds the same."""
    above = tracing.Place.of(record.trace_parent)
    if above is None or not tracing.is_on():
        return above
    return tracing.Place(trace_id=above.trace_id, span_id=_span_id(record), sampled=above.sampled)


def ids(record: JobRecord) -> dict[str, str]:
    """What log lines say of it."""
    place = of_job(record)
    return {} if place is None else {"trace_id": place.trace_id, "span_id": place.span_id}


def ended(record: JobRecord) -> None:
    """Tell the span of a job that has ended, and how long it had waited."""
    above = tracing.Place.of(record.trace_parent)
    if above is None or not tracing.is_on() or record.end_time is None:
        return
    begun = record.start_time or record.end_time
    since = record.create_time if record.attempt == 1 else begun
    span = tracing.start(
        "job",
        above,
        at=_nanoseconds(since),
        span_id=_span_id(record),
        reelsplit__job__id=record.job_id,
        reelsplit__job__state=record.state.value,
        reelsplit__job__attempt=record.attempt,
        reelsplit__job__segments=record.segment_count,
    )
    if begun > since:
        waiting = tracing.start("wait", span.place, at=_nanoseconds(since))
        waiting.end(_nanoseconds(begun))
    if record.state is JobState.FAILED:
        span.fail(record.error.reason if record.error is not None else "FAILED")
    span.end(_nanoseconds(record.end_time))


def _span_id(record: JobRecord) -> str:
    return hashlib.sha256(f"{record.job_id}/{record.attempt}".encode()).hexdigest()[:16]


def _nanoseconds(time: datetime) -> int:
    return micros(time) * 1000
