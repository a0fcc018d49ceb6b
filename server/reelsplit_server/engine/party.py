"""Units that one worker does together, since they want the same of one source."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any


class Party:
    """Units that wait for each other before a worker begins with them, each at its place among
    them. Whoever is stopped before leaves, and the others do without.

    What a unit brings, and what a worker makes of all, is the engine's own matter.
    """

    def __init__(self, expected: int = 1) -> None:
        """`expected` is how many they are."""
        self._expected = expected
        self._begin: asyncio.Task[Any] | None = None
        self._ready = asyncio.Event()
        self._calls: dict[int, Any] = {}
        self._left: set[int] = set()

    async def join(
        self,
        place: int,
        call: Any,
        begin: Callable[[Sequence[Any]], Coroutine[Any, Any, Any]],
    ) -> Any:
        """Be ready, wait for the others, and answer what ``begin`` makes of all, once."""
        self._calls[place] = call
        self._look(begin)
        await self._ready.wait()
        # Whoever was waited for may have left.
        self._look(begin)
        assert self._begin is not None
        return await asyncio.shield(self._begin)

    def leave(self, place: int) -> asyncio.Task[Any] | None:
        """Have nothing more to do with it. The last one gets what was begun, to end it."""
        self._left.add(place)
        if self._begin is None:
            self._calls.pop(place, None)
            if self._is_complete:
                self._ready.set()
            return None
        return self._begin if len(self._left) == self._expected else None

    @property
    def _is_complete(self) -> bool:
        return len(self._calls) + len(self._left) == self._expected

    def _look(self, begin: Callable[[Sequence[Any]], Coroutine[Any, Any, Any]]) -> None:
        if self._begin is None and self._is_complete:
            calls = [self._calls[place] for place in sorted(self._calls)]
            self._begin = asyncio.create_task(begin(calls))
            self._ready.set()
