"""The database: one thread that writes, a few that read, and one commit for many writers."""

from __future__ import annotations

import asyncio
import os
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

import structlog
from sqlalchemy import URL, Connection
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

from reelsplit_server import metrics
from reelsplit_server.jobs.backend import engine_of, reading, writing
from reelsplit_server.jobs.migrating import StoreVersionError, check_version, migrate
from reelsplit_server.jobs.records import StoredEvent

__all__ = [
    "Database",
    "Memory",
    "StoreUnavailableError",
    "StoreVersionError",
    "Transaction",
    "migrate",
]

log = structlog.get_logger(__name__)
T = TypeVar("T")
_BATCH = 256


class StoreUnavailableError(Exception):
    """The database could not be read or written: disk full, locked, read-only, damaged."""


@dataclass(slots=True)
class Memory:
    """What the writing thread knows of the database without asking: all of it is forgotten when a
    write is undone, and found again by the next that needs it."""

    principals: dict[int, str] = field(default_factory=dict)
    """The names of principals by their rows."""
    rows: dict[str, int] = field(default_factory=dict)
    """The rows of principals by their names."""
    waiting: Counter[str] | None = None
    """How many jobs are PENDING, by their principals."""

    def forget(self) -> None:
        """Know nothing any more."""
        self.principals.clear()
        self.rows.clear()
        self.waiting = None


@dataclass(slots=True)
class Transaction:
    """What a writing function works with: the connection, the time of the change in UTC, what is
    remembered from others, and the events that it appends."""

    connection: Connection
    now: datetime
    memory: Memory
    events: list[StoredEvent] = field(default_factory=list)


@dataclass(slots=True)
class _Write(Generic[T]):
    function: Callable[[Transaction], T]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[T]

    def settle(self, result: T | None, error: BaseException | None) -> None:
        if self.future.cancelled():
            return
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)  # type: ignore[arg-type]


_Settled = tuple[_Write[Any], Any, BaseException | None]


class Database:
    """A SQLite database in WAL mode with full synchronisation, given by its path; or another that
    SQLAlchemy has a URL for.

    ``on_commit`` is called on the event loop with the events of each write, in the order of the
    commits and before the write returns to its caller. ``clock`` tells the time in UTC.
    """

    def __init__(
        self,
        place: Path | URL,
        on_commit: Callable[[list[StoredEvent]], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._path = place if isinstance(place, Path) else None
        self._on_commit = on_commit
        self._clock = clock
        url = URL.create("sqlite", database=str(place)) if isinstance(place, Path) else place
        self._engine = engine_of(url)
        self._reading, self._writing = reading(self._engine), writing(self._engine)
        self._connection: Connection | None = None
        self._memory = Memory()
        self.takes_writes = True
        """Whether the last commit was made."""
        self._queue: queue.SimpleQueue[_Write[Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)
        self._readers = ThreadPoolExecutor(4, thread_name_prefix="store-reader")

    def open(self, *, shared: bool = False) -> None:
        """Bring the schema up to date and start writing. Blocks; called once, at start.

        A database that is ``shared`` with a server that runs is taken as it is; raises
        `StoreVersionError` where that is of another version.
        """
        if self._path is not None:
            # It holds what its users submit, and the key of their tokens.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        try:
            (check_version if shared else migrate)(self._engine)
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
                with self._reading.connect() as connection, connection.begin():
                    return function(connection)
            except SQLAlchemyError as error:
                # It may as well be a fault of ours, which nobody else would tell of.
                log.error("store_read_failed", error=str(error))
                raise StoreUnavailableError(str(error)) from error

        return await asyncio.get_running_loop().run_in_executor(self._readers, work)

    def _work(self) -> None:
        try:
            self._write_all()
        finally:
            self._leave()

    def _write_all(self) -> None:
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
        settled: list[_Settled] = []
        events: list[StoredEvent] = []
        started = time.perf_counter()
        try:
            connection = self._writer()
            with connection.begin() as whole:
                # One that is alone needs no savepoint: with it, all is undone.
                alone = len(batch) == 1
                for write in batch:
                    transaction = Transaction(connection, self._clock(), self._memory)
                    settled.append(_run(write, transaction, savepoint=not alone))
                    if settled[-1][2] is None:
                        events += transaction.events
                undone = alone and settled[0][2] is not None
                if undone:
                    whole.rollback()
            if not undone:
                self.takes_writes = True
                metrics.committed(len(batch), time.perf_counter() - started)
        except Exception as error:
            metrics.not_committed()
            log.error("store_write_failed", error=str(error))
            self._memory.forget()
            self._leave()
            self.takes_writes = False
            unavailable = StoreUnavailableError(str(error))
            events, settled = [], [(write, None, unavailable) for write in batch]
        # One call for all, since each wakes the loop.
        batch[0].loop.call_soon_threadsafe(self._tell, events, settled)

    def _writer(self) -> Connection:
        """The connection that writes. It is kept, since taking one takes as long as a write."""
        if self._connection is None:
            self._connection = self._writing.connect()
        return self._connection

    def _leave(self) -> None:
        # Given back, not closed: what SQLite's readers share goes with the last connection, and
        # cannot be made again on a full disk. One that is broken is not given out again.
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SQLAlchemyError):
                connection.close()

    def _tell(self, events: list[StoredEvent], settled: list[_Settled]) -> None:
        try:
            if events:
                self._on_commit(events)
        finally:
            for write, result, error in settled:
                write.settle(result, error)


def _run(write: _Write[Any], transaction: Transaction, *, savepoint: bool) -> _Settled:
    """What came of one function; raises what concerns the whole database."""
    connection = transaction.connection
    # Not by SQLAlchemy, whose bookkeeping for it takes longer than most writes.
    if savepoint:
        connection.exec_driver_sql("SAVEPOINT one")
    try:
        result = write.function(transaction)
    except Exception as error:
        if isinstance(error, DBAPIError) and not isinstance(error, IntegrityError | DataError):
            raise
        if savepoint:
            connection.exec_driver_sql("ROLLBACK TO SAVEPOINT one")
            connection.exec_driver_sql("RELEASE SAVEPOINT one")
        transaction.memory.forget()
        # Told to the one caller whose function it was.
        return write, None, error
    if savepoint:
        connection.exec_driver_sql("RELEASE SAVEPOINT one")
    return write, result, None
