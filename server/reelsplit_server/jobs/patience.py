"""Writes that must not be lost, made again where the database cannot take them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from reelsplit_server.jobs.database import StoreUnavailableError

T = TypeVar("T")
_FIRST, _LONGEST = 0.25, 5.0
"""Seconds between two tries."""


class Patience:
    """Repeats what fails for want of a database, for as long as the server lives: a disk that is
    full, or a database that is locked, may be as it should be the next moment or the next day."""

    def __init__(self) -> None:
        self._over = asyncio.Event()

    async def kept(self, work: Callable[[], Awaitable[T]]) -> T:
        """Write or read, and if that fails again.

        Raises `StoreUnavailableError` only once the server ends; what was not kept by then is
        found again by the next one.
        """
        pause = _FIRST
        while True:
            try:
                return await work()
            except StoreUnavailableError:
                if self._over.is_set():
                    raise
                try:
                    await asyncio.wait_for(self._over.wait(), pause)
                except TimeoutError:
                    pause = min(_LONGEST, 2 * pause)

    def end(self) -> None:
        """The server ends: what fails is tried once more at once, and not again."""
        self._over.set()
