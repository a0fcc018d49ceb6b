"""The stores as all units share them: calls to them, clearing up behind units, removing."""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog

from reelsplit.types.error import Error
from reelsplit_server import tasks
from reelsplit_server.engine.calls import Calls
from reelsplit_server.engine.seam import RemoveError, Target, Unit
from reelsplit_server.storage.errors import StorageError
from reelsplit_server.storage.routes import FilePlace, ObjectPlace, Place
from reelsplit_server.storage.stores import Stores
from reelsplit_server.work.targets import Delivery, deliveries

log = structlog.get_logger(__name__)
ResultT = TypeVar("ResultT")
_CLEARING = 10.0
"""How long clearing up may take when the server stops, in seconds."""
_TOGETHER, _AT_ONCE = 100, 16
"""How many objects are looked at before they are deleted together, and how many at a time."""


class Desks:
    """Calls the stores for all desks, and clears up behind those that are closed."""

    def __init__(self, stores: Stores, units: int) -> None:
        """``units`` is how many units run at the same time."""
        self.stores = stores
        # Some more, so that calls that hang hold up no others.
        self._calls = Calls(2 * units + 16)
        self._clearing: dict[tuple[str, ...], asyncio.Task[None]] = {}

    async def call(self, place: Place, work: Callable[[], ResultT]) -> ResultT:
        """Do something that blocks, with the store of a place."""
        store = place.store if isinstance(place, ObjectPlace) else ""
        return await self._calls.call(store, work)

    def clear(self, target: Place, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Clear up at a target, whether anybody waits for it or not. No unit begins there
        before that has ended: it could delete what the unit has made."""
        spot, before = _spot(target), self._clearing.get(_spot(target))

        async def clear() -> None:
            if before is not None:
                await asyncio.wait([before])
            try:
                await work()
            except Exception:
                log.exception("not_cleared_up", uri=target.label)
            finally:
                if self._clearing.get(spot) is task:
                    del self._clearing[spot]

        task = self._clearing[spot] = asyncio.create_task(clear())
        return task

    async def cleared(self, target: Place) -> None:
        """Wait until nothing is being cleared up at a target."""
        while (task := self._clearing.get(_spot(target))) is not None:
            await asyncio.wait([task])

    async def remove(self, targets: Sequence[Target]) -> int:
        """Delete what a job published; see `seam.Engine.remove`."""
        try:
            places = {
                self.stores.resolve(target.uri, target.endpoint, "write"): target.checksum
                for target in targets
            }
            count, left = 0, iter(places.items())
            # Few at a time, so that little can happen between looking and deleting.
            while batch := list(itertools.islice(left, _TOGETHER)):
                count += await self._remove(batch)
        except StorageError as error:
            raise RemoveError(told(error)) from error
        return count

    async def _remove(self, batch: Sequence[tuple[Place, str | None]]) -> int:
        room = asyncio.Semaphore(_AT_ONCE)

        async def look(place: Place, checksum: str | None) -> Place | None:
            async with room:
                work = functools.partial(self.stores.holds, place, checksum)
                return place if await self.call(place, work) else None

        found = await asyncio.gather(*itertools.starmap(look, batch), return_exceptions=True)
        stores: dict[str, list[Place]] = {}
        for place in found:
            if isinstance(place, BaseException):
                raise place
            if place is not None:
                name = place.store if isinstance(place, ObjectPlace) else ""
                stores.setdefault(name, []).append(place)
        count = 0
        for places in stores.values():
            count += await self.call(places[0], functools.partial(self.stores.delete, places))
        return count

    def abandon(self, units: Sequence[Unit]) -> Awaitable[object]:
        """Clear up what an earlier server left of units; see `seam.Engine.abandon`."""
        begun: list[asyncio.Task[None]] = []
        for unit in units:
            try:
                targets = {
                    self.stores.resolve(left.uri, left.endpoint, "write"): left
                    for left in deliveries(unit)
                }
            except Exception as error:
                # Also what only a worker that lied about its segments can have brought about.
                log.warning("uploads_not_aborted", job_id=unit.job_id, error=str(error))
            else:
                for target, left in targets.items():
                    work = functools.partial(self._abandon, left, target)
                    begun.append(self.clear(target, work))
        return asyncio.gather(*begun, return_exceptions=True)

    async def _abandon(self, left: Delivery, target: Place) -> None:
        await self.call(target, functools.partial(self.abort_abandoned, target))
        if left.intent is not None and not left.replace:
            # It may have appeared, and nothing lists it. What may be replaced is left for the
            # next attempt: the same bytes may have been there before, and be another job's.
            work = functools.partial(self.stores.remove, target, left.intent)
            await self.quietly("output_not_taken_back", target, work)

    def abort_abandoned(self, target: Place) -> None:
        """Give up the uploads to a target that nobody goes on with. Blocks, and raises nothing:
        a server that may not list uploads can do its work all the same."""
        try:
            count = self.stores.abort_abandoned(target)
        except StorageError as error:
            log.warning("uploads_not_aborted", uri=target.label, error=error.message)
        else:
            if count:
                log.info("uploads_aborted", uri=target.label, count=count)

    async def quietly(self, event: str, place: Place, work: Callable[[], object]) -> None:
        """Do something with a store; that it fails is only logged."""
        try:
            await self.call(place, work)
        except StorageError as error:
            log.warning(event, uri=place.label, error=error.message)

    async def close(self) -> None:
        """End when what is being cleared up is, or after some seconds."""
        left = list(self._clearing.values())
        if left:
            _, slow = await asyncio.wait(left, timeout=_CLEARING)
            await tasks.end(*slow)
        self.stores.close()


def _spot(place: Place) -> tuple[str, ...]:
    """Where a place is, however it was named."""
    match place:
        case FilePlace(path=path):
            return "file", path
        case ObjectPlace(store=store, bucket=bucket, key=key):
            return "object", store, bucket, key
        case _:
            return "web", place.url


def told(error: StorageError) -> Error:
    """A failure of a store in the words of the contract."""
    return Error(reason=error.reason, message=error.message, metadata=dict(error.metadata))
