"""What is told of a database that fails: what it says, and nothing of what it was given."""

from __future__ import annotations

import traceback

import pytest
from sqlalchemy import Connection, make_url, text
from sqlalchemy.exc import IntegrityError
from structlog.testing import capture_logs

from reelsplit_server.jobs.backend import engine_of
from reelsplit_server.jobs.database import StoreUnavailableError, Transaction
from reelsplit_server.metrics import REGISTRY
from tests.unit.jobs.keeping import Kept

SECRET = "https://h.example.com/film.mp4?Signature=c2VjcmV0"
_PUT = text("INSERT INTO properties (name, value) VALUES (:name, zeroblob(:size))")


def _told(caught: pytest.ExceptionInfo[BaseException], logs: object) -> str:
    return "".join(traceback.format_exception(caught.value)) + str(logs)


async def test_a_full_database_tells_no_parameters(keep: Kept) -> None:
    def fill(transaction: Transaction) -> None:
        # No page more than there are.
        transaction.connection.exec_driver_sql("PRAGMA max_page_count = 1")
        transaction.connection.execute(_PUT, {"name": SECRET, "size": 10**6})

    with capture_logs() as logs, pytest.raises(StoreUnavailableError) as caught:
        await keep.database.write(fill)
    told = _told(caught, logs)
    assert "full" in told
    assert "store_write_failed" in told
    assert SECRET not in told


async def test_a_write_that_is_refused_tells_no_parameters(keep: Kept) -> None:
    def twice(transaction: Transaction) -> None:
        for _ in range(2):
            transaction.connection.execute(_PUT, {"name": SECRET, "size": 1})

    with capture_logs() as logs, pytest.raises(IntegrityError) as caught:
        await keep.database.write(twice)
    told = _told(caught, logs)
    assert "UNIQUE" in told
    assert SECRET not in told


async def test_a_read_that_fails_is_logged_without_its_parameters(keep: Kept) -> None:
    def look(connection: Connection) -> None:
        connection.execute(text("SELECT * FROM nowhere WHERE name = :name"), {"name": SECRET})

    with capture_logs() as logs, pytest.raises(StoreUnavailableError) as caught:
        await keep.database.read(look)
    (line,) = logs
    assert (line["event"], line["log_level"]) == ("store_read_failed", "error")
    assert "nowhere" in line["error"]
    assert SECRET not in _told(caught, logs)


def test_no_database_system_tells_parameters() -> None:
    pytest.importorskip("psycopg")
    engine = engine_of(make_url("postgresql+psycopg://h/d"))
    assert engine.hide_parameters
    engine.dispose()


async def test_a_lone_write_that_is_undone_is_no_commit(keep: Kept) -> None:
    def wrong(transaction: Transaction) -> None:
        transaction.connection.execute(_PUT, {"name": "half", "size": 1})
        raise LookupError("mine")

    keep.database.takes_writes = False
    before = REGISTRY.get_sample_value("reelsplit_commit_writes_count")
    with pytest.raises(LookupError):
        await keep.database.write(wrong)
    assert not keep.database.takes_writes
    assert REGISTRY.get_sample_value("reelsplit_commit_writes_count") == before
    await keep.database.write(lambda _: None)
    assert keep.database.takes_writes
