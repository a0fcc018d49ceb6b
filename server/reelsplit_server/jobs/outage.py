"""Notices when the database takes no writes, and when it does again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog
from sqlalchemy import delete, insert

from reelsplit_server.jobs.database import Database, StoreUnavailableError, Transaction
from reelsplit_server.jobs.schema import properties

log = structlog.get_logger(__name__)
_EVERY = 1.0
"""Seconds between two looks, and between two trials while it takes none."""
_NAME = "written_again"


class Outage:
    """Tells ``on_change`` whether the database takes writes, each time that this changes."""

    def __init__(self, database: Database, on_change: Callable[[bool], Awaitable[None]]) -> None:
        self._database = database
        self._on_change = on_change
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; it takes writes for now."""
        self._task = asyncio.create_task(self._forever())

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _forever(self) -> None:
        while True:
            await asyncio.sleep(_EVERY)
            if self._database.takes_writes:
                continue
            since = time.monotonic()
            log.error("store_takes_no_writes")
            await self._on_change(False)
            # Jobs repeat their own writes, but there may be none.
            while not await self._try():
                await asyncio.sleep(_EVERY)
            log.info("store_takes_writes_again", seconds=round(time.monotonic() - since, 1))
            await self._on_change(True)

    async def _try(self) -> bool:
        def work(transaction: Transaction) -> None:
            # Something that needs room on the disk.
            transaction.connection.execute(delete(properties).where(properties.c.name == _NAME))
            value = transaction.now.isoformat().encode()
            transaction.connection.execute(insert(properties).values(name=_NAME, value=value))

        try:
            await self._database.write(work)
        except StoreUnavailableError:
            return False
        return True
