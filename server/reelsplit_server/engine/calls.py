"""Calls that block, made beside the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

ResultT = TypeVar("ResultT")


class Calls:
    """Makes each call on a thread of its own, at most ``most`` at a time for each store.

    So stores that hang hold up no others; and since these threads are daemons, which a pool's are
    not, they do not hold up the end of the process either.
    """

    def __init__(self, most: int) -> None:
        self._room: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(most)
        )

    async def call(self, store: str, work: Callable[[], ResultT]) -> ResultT:
        """Make a call to a store; raises what it raises. Cancelling this gives up waiting for it,
        and its place is free at once: shield it where that matters."""
        async with self._room[store]:
            future: Future[ResultT] = Future()
            # From here on it cannot be cancelled, only abandoned.
            future.set_running_or_notify_cancel()

            def run() -> None:
                try:
                    future.set_result(work())
                except BaseException as error:
                    future.set_exception(error)

            threading.Thread(target=run, name=f"store {store}".strip(), daemon=True).start()
            return await asyncio.wrap_future(future)
