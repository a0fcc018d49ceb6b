"""The database: one thread that writes, a few that read, and one commit for many writers."""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

import sqlalchemy
import structlog
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from reelsplit_server.jobs.records import StoredEvent

log = structlog.get_logger(__name__)
T = TypeVar("T")
_BATCH = 256


class StoreUnavailableError(Exception):
    """The database could not be read or written: disk full, locked, read-only, damaged."""


class StoreVersionError(Exception):
    """The database was made by a newer version of this program."""


@dataclass(slots=True)
class Transaction:
    """What a writing function works with: the connection, the time of the change in UTC, and the
    events that it appends."""

    connection: Connection
    now: datetime
    events: list[StoredEvent] = field(default_factory=list)


@dataclass(slots=True)
class _Write(Generic[T]):
    function: Callable[[Transaction], T]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[T]

    def settle(self, result: T | None, error: BaseException | None) -> None:
        def done() -> None:
            if self.future.cancelled():
                return
            if error is not None:
                self.future.set_exception(error)
            else:
                self.future.set_result(result)  # type: ignore[arg-type]

        self.loop.call_soon_threadsafe(done)


class Database:
    """A SQLite database in WAL mode with full synchronisation.

    ``on_commit`` is called on the event loop with the events of each write, in the order of the
    commits and before the write returns to its caller. ``clock`` tells the time in UTC.
    """

    def __init__(
        self,
        path: Path,
        on_commit: Callable[[list[StoredEvent]], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._path = path
        self._on_commit = on_commit
        self._clock = clock
        self._engine = _engine(path)
        self._queue: queue.SimpleQueue[_Write[Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)
        self._readers = ThreadPoolExecutor(4, thread_name_prefix="store-reader")

    def open(self, *, shared: bool = False) -> None:
        """Bring the schema up to date and start writing. Blocks; called once, at start.

        A database that is ``shared`` with a server that runs is taken as it is; raises
        `StoreVersionError` where that is of another version.
        """
        # It holds what its users submit, and the key of their tokens.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        try:
            (_check_version if shared else migrate)(self._engine)
        except SQLAlchemyError as error:
            raise StoreUnavailableError(f"the database cannot be used: {error}") from error
        self._thread.start()

    async def close(self) -> None:
        """Finish what was handed in, and close."""
        if self._thread.is_alive():
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)
        self._readers.shutdown()
        self._engine.dispose()

    async def write(self, function: Callable[[Transaction], T]) -> T:
        """Run a function in a transaction; returns when it is committed and durable.

        Functions that are handed in at the same time share one commit, each in a savepoint of its
        own: one that raises undoes only itself.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.put(_Write(function, loop, future))
        # A caller that goes away does not take its write back.
        return await asyncio.shield(future)

    async def read(self, function: Callable[[Connection], T]) -> T:
        """Run a function on a snapshot of the database."""

        def work() -> T:
            try:
                with self._engine.connect() as connection:
                    connection.exec_driver_sql("BEGIN")
                    return function(connection)
            except SQLAlchemyError as error:
                raise StoreUnavailableError(str(error)) from error

        return await asyncio.get_running_loop().run_in_executor(self._readers, work)

    def _work(self) -> None:
        stopping = False
        while not stopping:
            first = self._queue.get()
            if first is None:
                return
            batch = [first]
            while len(batch) < _BATCH:
                try:
                    item = self._queue.get_nowait()
                except queue.Empty:
                    break
                if item is None:
                    stopping = True
                    break
                batch.append(item)
            self._commit(batch)

    def _commit(self, batch: list[_Write[Any]]) -> None:
        settled: list[tuple[_Write[Any], Any, BaseException | None]] = []
        events: list[StoredEvent] = []
        try:
            with self._engine.connect() as connection:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                # One that is alone needs no savepoint: with it, all is undone.
                alone = len(batch) == 1
                for write in batch:
                    transaction = Transaction(connection, self._clock())
                    try:
                        with nullcontext() if alone else connection.begin_nested():
                            result = write.function(transaction)
                    except Exception as error:
                        if isinstance(error, DBAPIError) and not isinstance(error, IntegrityError):
                            raise
                        # Told to the one caller whose function it was.
                        settled.append((write, None, error))
                    else:
                        settled.append((write, result, None))
                        events += transaction.events
                undone = alone and settled[0][2] is not None
                connection.exec_driver_sql("ROLLBACK" if undone else "COMMIT")
        except Exception as error:
            log.error("store_write_failed", error=str(error))
            unavailable = StoreUnavailableError(str(error))
            for write in batch:
                write.settle(None, unavailable)
            return
        if events:
            batch[0].loop.call_soon_threadsafe(self._on_commit, events)
        for write, result, failure in settled:
            write.settle(result, failure)


def _engine(path: Path) -> Engine:
    engine = sqlalchemy.create_engine(
        f"sqlite:///{path}", connect_args={"check_same_thread": False, "timeout": 30}
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        # Transactions are begun by us, not guessed by the driver.
        connection.isolation_level = None
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "busy_timeout=30000",
        ):
            connection.execute(f"PRAGMA {pragma}")

    return engine


def _script() -> tuple[Config, ScriptDirectory]:
    config = Config()
    config.set_main_option("script_location", "reelsplit_server.jobs:migrations")
    return config, ScriptDirectory.from_config(config)


def _check_version(engine: Engine) -> None:
    _, script = _script()
    with engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    if current != script.get_current_head():
        raise StoreVersionError(
            f"the server that runs on this data folder is of another version, with schema {current}"
        )


def migrate(engine: Engine) -> None:
    """Bring the database to this version's schema; raises `StoreVersionError` if it is newer."""
    config, script = _script()
    with engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
        if current is not None and current not in {r.revision for r in script.walk_revisions()}:
            raise StoreVersionError(
                f"the database is of schema {current}, which a newer version made: start that "
                "version, or give another data folder"
            )
        config.attributes["connection"] = connection
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        command.upgrade(config, "head")
        connection.exec_driver_sql("COMMIT")
