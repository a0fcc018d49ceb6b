"""The database: its schema, and commits that many writers share."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest
import sqlalchemy
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError

from reelsplit import JobState
from reelsplit_server.jobs.database import (
    Database,
    StoreUnavailableError,
    StoreVersionError,
    Transaction,
    migrate,
)
from reelsplit_server.jobs.log import EventLog
from reelsplit_server.jobs.schema import metadata
from tests.patience import PATIENCE
from tests.unit.jobs.keeping import Clock, Kept, kept, pieces


@pytest.fixture
def migrated(tmp_path: Path) -> sqlalchemy.Engine:
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'migrated.db'}")
    migrate(engine)
    return engine


def test_the_migrations_make_exactly_the_schema(
    migrated: sqlalchemy.Engine, tmp_path: Path
) -> None:
    with migrated.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    made = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'made.db'}")
    metadata.create_all(made)
    # Alembic does not compare constraints of these kinds.
    ours, theirs = sqlalchemy.inspect(migrated), sqlalchemy.inspect(made)
    for table in metadata.tables:
        for kind in ("get_check_constraints", "get_foreign_keys", "get_unique_constraints"):
            key = str
            found = sorted(getattr(ours, kind)(table), key=key)
            assert found == sorted(getattr(theirs, kind)(table), key=key), (table, kind)
    migrated.dispose()
    made.dispose()


def test_migrating_again_changes_nothing(migrated: sqlalchemy.Engine) -> None:
    migrate(migrated)
    with migrated.connect() as connection:
        assert MigrationContext.configure(connection).get_current_revision() is not None
    migrated.dispose()


async def test_a_database_of_the_version_before_is_taken_over(tmp_path: Path) -> None:
    async with kept(tmp_path) as keep:
        job = await keep.add()
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'reelsplit.db'}")
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", "reelsplit_server.jobs:migrations")
        config.attributes["connection"] = connection
        command.downgrade(config, "0002")
        assert "outbox" not in sqlalchemy.inspect(connection).get_table_names()
    engine.dispose()
    shared = Database(tmp_path / "reelsplit.db", lambda _: None, lambda: Clock().now)
    with pytest.raises(StoreVersionError, match="another version"):
        # A server of the version before may be running on it.
        shared.open(shared=True)
    await shared.close()
    async with kept(tmp_path) as keep:
        found = await keep.store.get("me", job.job_id)
        assert (found.spec, found.key_id) == (job.spec, None)
        await keep.store.change_job(job.job_id, JobState.CANCELLED)
        assert await keep.sequences(job.job_id) == [1, 2]


def test_a_database_of_a_newer_version_is_refused_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "reelsplit.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.execute("INSERT INTO alembic_version VALUES ('9999')")
    connection.close()
    database = Database(path, lambda _: None, lambda: Clock().now)
    with pytest.raises(StoreVersionError, match=r"9999.*newer version"):
        database.open()
    database._engine.dispose()


async def test_what_is_committed_is_on_the_disk(keep: Kept) -> None:
    def work(transaction: Transaction) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys")
        connection = transaction.connection
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

    assert await keep.database.write(work) == ["wal", 2, 1]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE jobs SET state = 'WRONG'",
        "UPDATE jobs SET state = 'UNSPECIFIED'",
        "UPDATE jobs SET percent = -1",
        "UPDATE jobs SET percent = 101, state = 'SUCCEEDED'",
        "UPDATE jobs SET percent = 100",
        "UPDATE jobs SET published_count = 3",
        "UPDATE jobs SET published_count = 1, failed_count = 2",
        "UPDATE jobs SET principal_id = 99",
        "UPDATE segments SET state = 'WRONG'",
        "UPDATE segments SET idx = 0",
        "UPDATE segments SET job_id = 'none'",
        "UPDATE events SET sequence = 1",
        "UPDATE events SET sequence = -sequence",
        "INSERT INTO principals (name, create_time) VALUES ('me', 0)",
    ],
)
async def test_the_tables_refuse_what_cannot_be(keep: Kept, statement: str) -> None:
    job = await keep.add()
    await keep.store.plan(job.job_id, pieces(2))
    with pytest.raises((IntegrityError, StoreUnavailableError)):
        await keep.force(statement)
    assert await keep.store.get(None, job.job_id) == await keep.store.get("me", job.job_id)


# --- Group commit ----------------------------------------------------------------------------


async def _batch(keep: Kept, *writes: object) -> list[object]:
    """Hand in writes that will share one commit, and give what became of each."""
    go = threading.Event()
    first = asyncio.create_task(keep.database.write(lambda _: go.wait(PATIENCE)))
    await asyncio.sleep(0)
    rest = [asyncio.create_task(keep.database.write(write)) for write in writes]  # type: ignore[arg-type]
    await asyncio.sleep(0)
    go.set()
    done = await asyncio.wait_for(asyncio.gather(first, *rest, return_exceptions=True), PATIENCE)
    return list(done[1:])


def _put(name: str) -> object:
    def work(transaction: Transaction) -> str:
        transaction.connection.execute(
            text("INSERT INTO properties (name, value) VALUES (:n, 'x')"), {"n": name}
        )
        return name

    return work


async def _names(keep: Kept) -> list[str]:
    return await keep.database.read(
        lambda c: list(c.execute(text("SELECT name FROM properties ORDER BY name")).scalars())
    )


async def test_a_write_that_raises_undoes_only_itself(keep: Kept) -> None:
    def wrong(transaction: Transaction) -> None:
        _put("half")(transaction)  # type: ignore[operator]
        raise LookupError("mine")

    results = await _batch(keep, _put("a"), wrong, _put("b"))
    assert results[0] == "a"
    assert isinstance(results[1], LookupError)
    assert results[2] == "b"
    assert await _names(keep) == ["a", "b"]


async def test_a_write_that_breaks_a_constraint_undoes_only_itself(keep: Kept) -> None:
    results = await _batch(keep, _put("a"), _put("a"), _put("b"))
    assert results[0] == "a"
    assert isinstance(results[1], Exception)
    assert results[2] == "b"
    assert await _names(keep) == ["a", "b"]


async def test_events_of_a_write_that_raises_are_not_told(keep: Kept) -> None:
    job = await keep.add()
    keep.commits.clear()
    results = await _batch(
        keep, lambda t: 1 / 0, lambda t: keep.store and None, lambda t: t.events and None
    )
    assert isinstance(results[0], ZeroDivisionError)
    assert keep.commits == []
    assert await keep.sequences(job.job_id) == [1]


async def test_events_are_told_before_the_write_returns_and_in_commit_order(keep: Kept) -> None:
    async def add(number: int) -> None:
        job = await keep.add(labels={"n": str(number)})
        told = [item.event.job_id for commit in keep.commits for item in commit]
        assert job.job_id in told

    await asyncio.wait_for(asyncio.gather(*(add(number) for number in range(20))), PATIENCE)
    positions = [item.position for commit in keep.commits for item in commit]
    assert positions == sorted(positions)
    assert len(positions) == 20


async def test_a_caller_that_goes_away_does_not_take_its_write_back(keep: Kept) -> None:
    go = threading.Event()
    first = asyncio.create_task(keep.database.write(lambda _: go.wait(PATIENCE)))
    gone = asyncio.create_task(keep.database.write(_put("mine")))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    go.set()
    await asyncio.wait_for(first, PATIENCE)
    await keep.database.write(lambda _: None)
    assert await _names(keep) == ["mine"]


async def test_what_readers_share_outlives_writers_that_fail(keep: Kept) -> None:
    """On a disk that is full it could not be made again."""

    def fail(_: Transaction) -> None:
        raise OperationalError("", {}, sqlite3.OperationalError("disk I/O error"))

    job = await keep.add()
    assert isinstance(keep.path, Path)
    shared = keep.path.with_name(f"{keep.path.name}-shm")
    for _ in range(4):
        with pytest.raises(StoreUnavailableError):
            await keep.database.write(fail)
        assert shared.exists()
    assert (await keep.store.get(None, job.job_id)).job_id == job.job_id


async def test_closing_finishes_what_was_handed_in(tmp_path: Path) -> None:
    async with kept(tmp_path) as keep:
        writes = [asyncio.create_task(keep.database.write(_put(str(n)))) for n in range(9)]  # type: ignore[arg-type]
        await asyncio.sleep(0)
    assert await asyncio.wait_for(asyncio.gather(*writes), PATIENCE) == [str(n) for n in range(9)]
    async with kept(tmp_path) as keep:
        assert len(await _names(keep)) == 9


async def test_a_database_that_cannot_be_used_is_told_as_such(keep: Kept) -> None:
    job = await keep.add()
    await keep.force("ALTER TABLE events RENAME TO gone")
    with pytest.raises(StoreUnavailableError):
        await keep.store.events(job.job_id, 0, 10)
    with pytest.raises(StoreUnavailableError):
        await keep.add()
    await keep.force("ALTER TABLE gone RENAME TO events")
    assert await keep.sequences(job.job_id) == [1]
    assert (await keep.add()).last_sequence == 1


def test_a_folder_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "reelsplit.db"
    path.write_bytes(b"this is no database at all" * 100)
    database = Database(path, EventLog().commit, lambda: Clock().now)
    with pytest.raises(StoreUnavailableError):
        database.open()
    database._engine.dispose()
