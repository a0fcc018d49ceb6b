"""The outbox: what has yet to be told, and what could not be."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, func, select, update

from reelsplit.types.event import JobEvent
from reelsplit.v1 import event_pb2
from reelsplit.wire import from_message
from reelsplit_server.jobs import schema
from reelsplit_server.jobs.database import Database, Transaction
from reelsplit_server.jobs.rows import from_micros, micros

_MOST_ERROR = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One callback. ``key_id`` is the access key that signs it; with ``account`` the secret of
    the principal's own address does. Times are UTC."""

    position: int
    principal: str
    url: str
    key_id: str | None
    account: bool
    event: JobEvent
    user_data: str | None
    failed: bool
    tries: int
    next_time: datetime
    error: str | None
    create_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """The entries of one job for one address, which are told one behind the other."""

    job_id: str
    url: str
    principal: str
    due: datetime


class Outbox:
    """Reads the outbox, and keeps what came of its entries."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def channels(self, without: Collection[str], size: int) -> list[Channel]:
        """At most ``size`` channels that hold something, those that are due first; none of the
        principals ``without``."""
        table = schema.outbox.c
        # The first entry's time is the latest: those behind it were never put off.
        due = func.max(table.next_time)
        query = (
            select(table.job_id, table.url, table.principal, due.label("due"))
            .where(table.state == "PENDING", table.principal.not_in(without))
            .group_by(table.job_id, table.url)
            .order_by(due)
            .limit(size)
        )

        def work(connection: Connection) -> list[Channel]:
            return [
                Channel(job_id=r.job_id, url=r.url, principal=r.principal, due=_time(r.due))
                for r in connection.execute(query)
            ]

        return await self._database.read(work)

    async def first(self, channel: Channel) -> Entry | None:
        """The entry of a channel that goes next."""
        table = schema.outbox
        query = (
            select(table)
            .where(
                table.c.state == "PENDING",
                table.c.job_id == channel.job_id,
                table.c.url == channel.url,
            )
            .order_by(table.c.position)
            .limit(1)
        )

        def work(connection: Connection) -> Entry | None:
            row = connection.execute(query).one_or_none()
            return None if row is None else _entry(row)

        return await self._database.read(work)

    async def told(self, entry: Entry) -> None:
        """Forget an entry whose arrival was confirmed."""
        table = schema.outbox
        await self._write(delete(table).where(table.c.position == entry.position))

    async def put_off(self, entry: Entry, until: datetime, error: str) -> None:
        """Keep that a try failed; the next is at ``until``."""
        await self._change(entry, next_time=micros(until), error=error[:_MOST_ERROR])

    async def give_up(self, entry: Entry, error: str) -> None:
        """Keep that the last try failed."""
        await self._change(entry, state="FAILED", error=error[:_MOST_ERROR])

    async def listed(self, *, failed: bool, after: int = 0, size: int = 1000) -> Sequence[Entry]:
        """At most ``size`` entries behind a position: those given up, or those that wait."""
        table = schema.outbox
        state = "FAILED" if failed else "PENDING"
        query = (
            select(table)
            .where(table.c.state == state, table.c.position > after)
            .order_by(table.c.position)
            .limit(size)
        )
        return await self._database.read(lambda c: [_entry(row) for row in c.execute(query)])

    async def waiting(self, most: int) -> int:
        """How many entries wait, counted up to ``most``."""
        table = schema.outbox.c
        some = select(table.position).where(table.state == "PENDING").limit(most).subquery()
        query = select(func.count()).select_from(some)
        return await self._database.read(lambda c: c.execute(query).scalar_one())

    async def sweep(self, before: datetime) -> None:
        """Forget what was given up and happened before a time."""
        table = schema.outbox
        old = (table.c.state == "FAILED") & (table.c.create_time < micros(before))
        await self._write(delete(table).where(old))

    async def _change(self, entry: Entry, **values: object) -> None:
        table = schema.outbox
        changed = update(table).where(table.c.position == entry.position)
        await self._write(changed.values(tries=entry.tries + 1, **values))

    async def _write(self, statement: Any) -> None:
        def work(transaction: Transaction) -> None:
            transaction.connection.execute(statement)

        await self._database.write(work)


def _entry(row: Row[Any]) -> Entry:
    return Entry(
        position=row.position,
        principal=row.principal,
        url=row.url,
        key_id=row.key_id,
        account=row.account,
        event=from_message(JobEvent, event_pb2.JobEvent.FromString(row.event)),
        user_data=row.user_data,
        failed=row.state == "FAILED",
        tries=row.tries,
        next_time=_time(row.next_time),
        error=row.error,
        create_time=_time(row.create_time),
    )


def _time(value: int) -> datetime:
    found = from_micros(value)
    assert found is not None
    return found
