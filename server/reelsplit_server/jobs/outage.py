"""Notices when the database takes no writes, and when it does again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog
from sqlalchemy import delete, insert

from reelsplit_server import tasks
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
        self._since: float | None = None
        """When it was seen to take none; None while it does."""
        self._told = False
        """Whether that was told."""

    def start(self) -> None:
        """Begin; it takes writes for now."""
        self._task = asyncio.create_task(self._forever())

    async def stop(self) -> None:
        """End."""
        await tasks.end(self._task)

    async def _forever(self) -> None:
        while True:
            await asyncio.sleep(_EVERY)
            try:
                await self._look()
            except Exception:
                # Nothing may end this loop: nobody would hear that an outage is over. What could
                # not be told is told at the next look.
                log.exception("outage_not_told")

    async def _look(self) -> None:
        if self._since is None:
            if self._database.takes_writes:
                return
            self._since = time.monotonic()
            log.error("store_takes_no_writes")
        if not self._told:
            await self._on_change(False)
            self._told = True
        # Jobs repeat their own writes, but there may be none.
        if not await self._try():
            return
        await self._on_change(True)
        seconds = round(time.monotonic() - self._since, 1)
        log.info("store_takes_writes_again", seconds=seconds)
        self._since, self._told = None, False

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
