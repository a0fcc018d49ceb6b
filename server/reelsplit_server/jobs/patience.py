"""Writes that must not be lost, made again for a while where the database cannot take them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from reelsplit_server.jobs.database import StoreUnavailableError

T = TypeVar("T")
_PAUSES = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Seconds between the tries."""


async def kept(write: Callable[[], Awaitable[T]]) -> T:
    """Write, and if that fails again: a disk that is full or slow may have room the next moment.

    Raises `StoreUnavailableError` in the end.
    """
    for pause in _PAUSES:
        try:
            return await write()
        except StoreUnavailableError:
            await asyncio.sleep(pause)
    return await write()
