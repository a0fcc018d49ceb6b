"""What is to be told to callers' addresses: written in the transaction of what it tells."""

from __future__ import annotations

from sqlalchemy import bindparam, insert, or_, select

from reelsplit.types.event import JobEvent, JobStateChanged, SegmentChanged
from reelsplit.types.segment import SegmentState
from reelsplit.wire import to_message
from reelsplit_server.jobs import schema
from reelsplit_server.jobs.database import Transaction
from reelsplit_server.jobs.rows import load_job, micros
from reelsplit_server.jobs.transitions import ENDED

ENDS, SEGMENTS = 1, 2
"""What the column ``notifies`` of a job says: its end is told, or its segments as well."""

_callbacks = schema.callbacks.c
_ACCOUNT = (
    select(_callbacks.url, _callbacks.tells_ends, _callbacks.tells_segments)
    .where(or_(_callbacks.principal == bindparam("of_principal"), _callbacks.principal == ""))
    # A principal's own stands before that of all.
    .order_by(_callbacks.principal.desc())
    .limit(1)
)
_JOB = select(schema.jobs.c.notifies, schema.jobs.c.key_id).where(
    schema.jobs.c.job_id == bindparam("of_job")
)
_PUT = insert(schema.outbox)


def told(event: JobEvent) -> int:
    """What an event is to those who are called back: `ENDS`, `SEGMENTS`, or 0 for nothing."""
    match event.event:
        case JobStateChanged(state=state) if state in ENDED:
            return ENDS
        case SegmentChanged(segment=segment) if (
            segment is not None and segment.state is SegmentState.PUBLISHED
        ):
            return SEGMENTS
        case _:
            return 0


def enqueue(transaction: Transaction, principal: str, event: JobEvent) -> None:
    """Put an event into the outbox, once for each address that wants it."""
    kind = told(event)
    if not kind:
        return
    connection = transaction.connection
    job = connection.execute(_JOB, {"of_job": event.job_id}).one()
    account = connection.execute(_ACCOUNT, {"of_principal": principal}).one_or_none()
    to_account = account is not None and (
        account.tells_ends if kind == ENDS else account.tells_segments
    )
    to_job = (job.notifies or 0) >= kind
    if not (to_job or to_account):
        return
    spec = load_job(connection, event.job_id).spec
    now = micros(transaction.now)
    row = {
        "job_id": event.job_id,
        "principal": principal,
        "event": to_message(event).SerializeToString(),
        "user_data": spec.user_data,
        "state": "PENDING",
        "tries": 0,
        "next_time": now,
        "create_time": now,
    }
    if to_job:
        connection.execute(
            _PUT, {**row, "url": spec.notify_url, "key_id": job.key_id, "account": False}
        )
    # An address that is both is told once.
    if account is not None and to_account and not (to_job and account.url == spec.notify_url):
        connection.execute(_PUT, {**row, "url": account.url, "key_id": None, "account": True})
