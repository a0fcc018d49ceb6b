"""What is forgotten of jobs, and when: asked for, or because their time is over."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import sqlalchemy
from sqlalchemy import Connection, bindparam, func, insert, select, tuple_, update

from reelsplit.types.job import JobState
from reelsplit_server.jobs import schema, waiting
from reelsplit_server.jobs.database import Transaction
from reelsplit_server.jobs.reading import forgotten_of
from reelsplit_server.jobs.rows import load_job, micros
from reelsplit_server.jobs.transitions import TransitionError

MEMORY_OF_TOKENS = timedelta(hours=24)
"""How long a client token is remembered after its job, or its asset, was deleted."""
_MOST_SWEPT = 1000
"""About how many events and segments, or tokens, one sweep forgets."""
_DUE = (
    select(
        schema.jobs.c.job_id,
        schema.jobs.c.state,
        schema.jobs.c.segment_count,
        schema.jobs.c.last_sequence,
    )
    .where(schema.jobs.c.expire_time < bindparam("of_time"))
    .order_by(schema.jobs.c.expire_time)
    .limit(200)
)


def delete(transaction: Transaction, principal: str, job_id: str) -> JobState:
    """Forget a job that has ended; answers how. Raises `TransitionError` where it has not, or goes
    on by now."""
    record = load_job(transaction.connection, job_id, principal)
    if not record.ended:
        raise TransitionError(f"a job that is {record.state} is not deleted")
    _forget(transaction, [job_id])
    waiting.moved(transaction, record.principal, record.state, None)
    return record.state


def sweep(transaction: Transaction) -> dict[str, str]:
    """Forget some of the jobs whose time is over; answers their ids and states."""
    connection, expired, size = transaction.connection, dict[str, str](), 0
    for row in connection.execute(_DUE, {"of_time": micros(transaction.now)}).all():
        size += row.last_sequence + row.segment_count
        if expired and size > _MOST_SWEPT:
            break
        expired[row.job_id] = row.state
    if expired:
        _forget(transaction, list(expired))
    return expired


def sweep_tokens(transaction: Transaction) -> int:
    """Forget some of the client tokens whose time is over; answers how many."""
    tokens = schema.tokens.c
    old = (
        select(tokens.principal_id, tokens.client_token)
        .where(tokens.forget_time < micros(transaction.now))
        .limit(_MOST_SWEPT)
    )
    place = tuple_(tokens.principal_id, tokens.client_token)
    done = transaction.connection.execute(sqlalchemy.delete(schema.tokens).where(place.in_(old)))
    return done.rowcount


def _forget(transaction: Transaction, job_ids: Sequence[str]) -> None:
    connection, tokens, events = transaction.connection, schema.tokens, schema.events
    jobs = schema.jobs.c
    lasts = connection.execute(
        select(jobs.principal_id, func.max(events.c.position))
        .join(schema.events, events.c.job_id == jobs.job_id)
        .where(jobs.job_id.in_(job_ids))
        .group_by(jobs.principal_id)
    ).all()
    for owner, last in lasts:
        _forget_up_to(connection, forgotten_of(owner), last)
    _forget_up_to(connection, forgotten_of(None), max((last for _, last in lasts), default=0))
    forget = micros(transaction.now + MEMORY_OF_TOKENS)
    connection.execute(
        update(tokens).where(tokens.c.job_id.in_(job_ids)).values(forget_time=forget)
    )
    connection.execute(sqlalchemy.delete(schema.jobs).where(jobs.job_id.in_(job_ids)))


def _forget_up_to(connection: Connection, name: str, position: int) -> None:
    """Keep, as the property of this name, the place in the log up to which events may be
    missing."""
    table = schema.properties
    known = connection.execute(
        select(table.c.value).where(table.c.name == name)
    ).scalar_one_or_none()
    if known is None:
        connection.execute(insert(table).values(name=name, value=b"0"))
    value = str(max(position, int(known or b"0"))).encode()
    connection.execute(update(table).where(table.c.name == name).values(value=value))
