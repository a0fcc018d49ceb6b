"""How many jobs wait to be run: counted once, and kept right by each change of state."""

from __future__ import annotations

from collections import Counter

from sqlalchemy import func, select

from reelsplit.types.job import JobState
from reelsplit_server.jobs import schema
from reelsplit_server.jobs.database import Transaction

_COUNT = (
    select(schema.principals.c.name, func.count())
    .select_from(schema.jobs)
    .join(schema.principals)
    .where(schema.jobs.c.state == JobState.PENDING.value)
    .group_by(schema.principals.c.name)
)


class QueueFullError(Exception):
    """As many jobs wait as may: ``limit`` in all, or of this caller where it is its ``own``."""

    def __init__(self, limit: int, *, own: bool) -> None:
        super().__init__(limit)
        self.limit, self.own = limit, own


def refusal(
    transaction: Transaction, principal: str, most: int | None, most_of_one: int | None
) -> QueueFullError | None:
    """Why no other job of a caller may wait; None where one may. Answered, not raised: a write
    that raises lets the count be forgotten, just when there is most to count."""
    counts = transaction.memory.waiting
    if counts is None:
        rows = transaction.connection.execute(_COUNT).all()
        counts = transaction.memory.waiting = Counter(dict(tuple(row) for row in rows))
    if most_of_one is not None and counts[principal] >= most_of_one:
        return QueueFullError(most_of_one, own=True)
    if most is not None and counts.total() >= most:
        return QueueFullError(most, own=False)
    return None


def moved(
    transaction: Transaction, principal: str, before: JobState | None, after: JobState | None
) -> None:
    """A job went from one state to another, was made or was deleted. Called right behind that
    change, or before it: nothing that counts the jobs anew may run between the two."""
    by = (after is JobState.PENDING) - (before is JobState.PENDING)
    counts = transaction.memory.waiting
    if not by or counts is None:
        return
    counts[principal] += by
    if not counts[principal]:
        del counts[principal]
