"""A real store in a folder of its own, with a clock that tests turn."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import sqlalchemy

from reelsplit import Error, FixedInterval, Input, JobSpec, Output, Segment, TimeRange
from reelsplit_server.jobs.database import Database
from reelsplit_server.jobs.log import EventLog
from reelsplit_server.jobs.records import JobRecord, StoredEvent
from reelsplit_server.jobs.store import Store

SPEC = JobSpec(
    input=Input(uri="/v/film.mp4"),
    mode=FixedInterval(interval=1),
    output=Output(uri_template="/v/out/{index}.mp4"),
    time_to_live=3600,
)


@dataclasses.dataclass
class Clock:
    """Time stands still until it is turned."""

    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def turn(self, by: timedelta) -> None:
        self.now += by


@dataclasses.dataclass
class Kept:
    """A store, and what is around it."""

    store: Store
    database: Database
    log: EventLog
    clock: Clock
    path: Path | sqlalchemy.URL
    commits: list[list[StoredEvent]]

    async def add(self, token: str = "", *, principal: str = "me", **values: Any) -> JobRecord:
        spec = dataclasses.replace(SPEC, **values)
        return await self.store.add(principal, token, spec, spec, most_waiting=10_000)

    async def force(self, statement: str, **values: object) -> None:
        """Change the tables behind the store's back."""
        await self.database.write(
            lambda t: t.connection.execute(sqlalchemy.text(statement), values) and None
        )

    async def forget(self, job_id: str) -> None:
        """Delete a job of mine. One that had not ended is made to, and no event tells of that."""
        await self.force(
            "UPDATE jobs SET state = 'CANCELLED' WHERE job_id = :j AND state <> 'SUCCEEDED'",
            j=job_id,
        )
        await self.store.delete("me", job_id)

    async def sequences(self, job_id: str) -> list[int]:
        return [item.event.sequence for item in await self.store.events(job_id, 0, 10_000)]


@asynccontextmanager
async def kept(folder: Path) -> AsyncIterator[Kept]:
    """Open the store of a folder, which may exist already."""
    async with kept_at(folder / "reelsplit.db") as made:
        yield made


@asynccontextmanager
async def kept_at(place: Path | sqlalchemy.URL) -> AsyncIterator[Kept]:
    """Open the store of a database, which may exist already."""
    log, clock, commits = EventLog(), Clock(), list[list[StoredEvent]]()

    def on_commit(events: list[StoredEvent]) -> None:
        commits.append(events)
        log.commit(events)

    database = Database(place, on_commit, lambda: clock.now)
    database.open()
    try:
        yield Kept(Store(database), database, log, clock, place, commits)
    finally:
        await database.close()


def pieces(count: int, *, first: int = 0, wrong: Sequence[int] = ()) -> list[Segment]:
    """Segments of a second each, as an analysis plans them; those in ``wrong`` with an error."""
    return [
        Segment(
            index=index,
            requested=TimeRange(start_offset=Fraction(index), end_offset=Fraction(index + 1)),
            error=Error(reason="RANGE_OUTSIDE_SOURCE", message="Outside.")
            if index in wrong
            else None,
        )
        for index in range(first, first + count)
    ]
