"""Ends tasks of the event loop."""

from __future__ import annotations

import asyncio
from typing import Any


async def end(*tasks: asyncio.Future[Any] | None) -> None:
    """Cancel these, and wait until they have ended, however they do; None was never begun.

    One that does not heed it is waited for. Where whoever waits is cancelled meanwhile, they are
    cancelled once more, and not waited for."""
    begun = [task for task in tasks if task is not None]
    for task in begun:
        task.cancel()
    await asyncio.gather(*begun, return_exceptions=True)
