"""What is to be told to callers' addresses: written in the transaction of what it tells."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, bindparam, insert, literal, select

from reelsplit.types.event import JobEvent, JobStateChanged, SegmentChanged
from reelsplit.types.segment import SegmentState
from reelsplit.types.spec import JobSpec
from reelsplit.wire import to_message
from reelsplit_server.jobs import schema
from reelsplit_server.jobs.database import Transaction
from reelsplit_server.jobs.rows import load_job, micros
from reelsplit_server.jobs.transitions import ENDED

ENDS, SEGMENTS = 1, 2
"""What the column ``notifies`` of a job says: its end is told, or its segments as well."""

_jobs, _callbacks = schema.jobs.c, schema.callbacks.c
_CONCERNED = (
    # A statement of its own: SQLite answers the first row's name where this stands in RETURNING.
    select(
        schema.principals.c.name.label("principal"),
        _jobs.notifies,
        _jobs.key_id,
        _callbacks.url,
        _callbacks.tells_ends,
        _callbacks.tells_segments,
    )
    .select_from(schema.jobs)
    .join(schema.principals)
    .outerjoin(schema.callbacks, _callbacks.principal.in_([schema.principals.c.name, literal("")]))
    .where(_jobs.job_id == bindparam("of_job"))
    # A principal's own address stands before that of all.
    .order_by(_callbacks.principal.desc())
    .limit(1)
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


def wanted(spec: JobSpec) -> int | None:
    """What a job's own address is told: `ENDS`, `SEGMENTS`, or None for nothing."""
    if not spec.notify_url:
        return None
    return SEGMENTS if spec.notify_segments else ENDS


class Concerned(NamedTuple):
    """Whose a job is, and who is to be told of it; the last three are those of the account-wide
    address, where there is one."""

    principal: str
    notifies: int | None
    key_id: str | None
    url: str | None
    tells_ends: bool | None
    tells_segments: bool | None


def concerned(connection: Connection, job_id: str) -> Concerned:
    """Who is concerned by what happens to a job."""
    return Concerned(*connection.execute(_CONCERNED, {"of_job": job_id}).one())


def enqueue(transaction: Transaction, event: JobEvent) -> None:
    """Put an event into the outbox, once for each address that wants it."""
    kind = told(event)
    if not kind:
        return
    connection = transaction.connection
    row = concerned(connection, event.job_id)
    to_account = row.tells_ends if kind == ENDS else row.tells_segments
    to_job = (row.notifies or 0) >= kind
    if not (to_job or to_account):
        return
    spec = load_job(connection, event.job_id).spec
    now = micros(transaction.now)
    values = {
        "job_id": event.job_id,
        "principal": row.principal,
        "event": to_message(event).SerializeToString(),
        "user_data": spec.user_data,
        "state": "PENDING",
        "tries": 0,
        "next_time": now,
        "create_time": now,
    }
    if to_job:
        own = {"url": spec.notify_url, "key_id": row.key_id, "account": False}
        connection.execute(_PUT, values | own)
    # An address that is both is told once.
    if to_account and not (to_job and row.url == spec.notify_url):
        connection.execute(_PUT, values | {"url": row.url, "key_id": None, "account": True})
