"""Databases of earlier versions, which are brought to this one at the start."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import URL, inspect, text

from reelsplit import JobState, SegmentState
from reelsplit_server.jobs import migrating
from reelsplit_server.jobs.backend import engine_of
from reelsplit_server.jobs.database import Database, StoreUnavailableError
from tests.unit.jobs.engines import ScriptedEngine, ended, scheduling
from tests.unit.jobs.keeping import Clock, Kept, kept_at
from tests.unit.jobs.older import DONE, REVISIONS, RUNNING, make_older


def _place(folder: Path) -> Path:
    return folder / "reelsplit.db"


def _url(folder: Path) -> URL:
    return URL.create("sqlite", database=str(_place(folder)))


def test_every_revision_is_tried() -> None:
    _, script = migrating._script()
    assert tuple(sorted(r.revision for r in script.walk_revisions())) == REVISIONS


async def look(keep: Kept) -> None:
    """All is there that the earlier version kept, and goes on."""
    job = await keep.store.get("me", RUNNING)
    assert (job.state, job.percent, job.published_count) == (JobState.RUNNING, 25.0, 1)
    assert (await keep.store.get("me", DONE)).percent == 100.0
    # The token answers with the job that it made.
    assert (await keep.add("t")).job_id == RUNNING
    segments, count = await keep.store.segments(RUNNING)
    assert [s.state for s in segments] == [SegmentState.PUBLISHED, SegmentState.RUNNING]
    assert count == 2
    assert await keep.sequences(RUNNING) == [1, 2]
    engine = ScriptedEngine()
    async with scheduling(keep, engine):
        assert (await ended(keep, RUNNING)).state is JobState.SUCCEEDED
    # What was published stays; what was under way is made again.
    assert engine.published == [(RUNNING, 1)]
    numbers = await keep.sequences(RUNNING)
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > 2


@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_database_of_an_earlier_version_goes_on(tmp_path: Path, revision: str) -> None:
    make_older(_url(tmp_path), revision)
    async with kept_at(_place(tmp_path)) as keep:
        await look(keep)


def test_a_migration_that_fails_leaves_the_database_as_it_was(tmp_path: Path) -> None:
    make_older(_url(tmp_path), "0003")
    engine = engine_of(_url(tmp_path))
    with engine.begin() as connection:
        # The last table of 0004 is in its way.
        connection.execute(text("CREATE TABLE outbox (x INTEGER)"))
    database = Database(_place(tmp_path), lambda _: None, lambda: Clock().now)
    with pytest.raises(StoreUnavailableError, match="outbox"):
        database.open()
    database._engine.dispose()
    with engine.connect() as connection:
        tables = inspect(connection).get_table_names()
        assert "access_keys" not in tables
        assert (
            connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "0003"
        )
        assert connection.execute(text("SELECT count(*) FROM jobs")).scalar() == 2
    engine.dispose()
