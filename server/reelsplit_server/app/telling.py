"""What watchers are told, made once for all who see it through the same principal.

Tokens are bound to a principal, so those who watch as the same one get the same bytes. Faces turn
an event into what they send once, and that is kept with it.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Generic, TypeVar

from reelsplit.types.event import Bookmark, JobEvent
from reelsplit.types.job import JobProgress
from reelsplit.wire import to_message
from reelsplit_server.app.tokens import Sealer
from reelsplit_server.jobs.log import Feed
from reelsplit_server.jobs.records import KeptEvent
from reelsplit_server.jobs.store import Store

_LATEST, _LATEST_OF_ALL = 16, 64
"""Events that are kept as they are told, of one job and of all jobs."""
_TICKS = 1024
"""Jobs whose progress is kept as it is told to those who watch all."""
_FRESH = 1.0
"""Seconds for which a job's progress is told as it was made."""
_PAGE = 32
"""Events that are read from the store at once."""
_MOST_PAGES = 8 * 2**20
"""The bytes of events that are kept for others who replay the same."""

T = TypeVar("T")


Make = Callable[[bytes, str], bytes]
"""What a face makes of an event's message and its token. One face tells one kind of watch."""


class Told:
    """An event as it is told. ``number`` is its place among those of its job, or in the log of
    all; 0 for what has none."""

    __slots__ = ("_event", "_sent", "_token", "number")

    def __init__(self, event: bytes, token: str, number: int = 0) -> None:
        self.number = number
        self._event = event
        self._token = token
        self._sent: bytes | None = None

    def sent(self, make: Make) -> bytes:
        """What a face sends; made once."""
        if self._sent is None:
            self._sent = make(self._event, self._token)
            self._event = b""
        return self._sent


class Once(Generic[T]):
    """Reads what several ask for at the same time once for all of them."""

    def __init__(self) -> None:
        self._running: dict[Hashable, asyncio.Task[T]] = {}

    async def get(self, key: Hashable, read: Callable[[], Awaitable[T]]) -> T:
        """What ``read`` answers, or one that began earlier for the same key."""
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.ensure_future(read())
            task.add_done_callback(lambda ended: self._end(key, ended))
        # One who goes away takes nothing from the others.
        return await asyncio.shield(task)

    def _end(self, key: Hashable, task: asyncio.Task[T]) -> None:
        del self._running[key]
        if not task.cancelled():
            # Looked at, so that asyncio does not complain where all have gone.
            task.exception()


class Line:
    """What the watchers of one principal are told of one job."""

    def __init__(self, feed: Feed, sealer: Sealer, principal: str) -> None:
        self.feed = feed
        self.bound = (principal, feed.job_id)
        self._sealer = sealer
        self._made: OrderedDict[int, Told] = OrderedDict()
        self._tick: tuple[tuple[int, int, JobProgress], float, Told] | None = None

    def told(self, event: KeptEvent) -> Told:
        """A numbered event."""
        token = self._sealer.seal("watch", self.bound, [event.sequence])
        return Told(event.data, token, event.sequence)

    def newest(self, after: int) -> Sequence[Told]:
        """The events behind a number; none where memory does not reach back that far."""
        last = self.feed.last
        if after == last - 1 and (told := self._made.get(last)) is not None:
            return (told,)
        found = []
        for event in self.feed.behind(after) or ():
            told = self._made.get(event.sequence)
            if told is None:
                told = self._made[event.sequence] = self.told(event)
                if len(self._made) > _LATEST:
                    self._made.popitem(last=False)
            found.append(told)
        return found

    def tick(self, progress: JobProgress) -> Told:
        """How far the job is, for those who have seen all events."""
        feed, now = self.feed, time.monotonic()
        known = (feed.told, feed.last, progress)
        if self._tick is None or self._tick[0] != known or now - self._tick[1] > _FRESH:
            feed.percent = max(feed.percent, progress.percent)
            shown = replace(progress, percent=feed.percent)
            token = self._sealer.seal("watch", self.bound, [feed.last])
            self._tick = known, now, Told(_unnumbered(feed.job_id, shown), token)
        return self._tick[2]


class Pages:
    """Events of jobs as the store has them, for those who replay: read and made once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._reading = Once[list[Told]]()
        self._kept: OrderedDict[Hashable, tuple[list[Told], int]] = OrderedDict()
        self._bytes = 0

    async def behind(self, line: Line, after: int) -> Sequence[Told]:
        """Some events behind a number, at most a page of them. Raises `StoreUnavailableError`."""
        number = after // _PAGE
        key = (*line.bound, number)
        page, _ = self._kept.get(key, ([], 0))
        if page and page[-1].number >= min((number + 1) * _PAGE, line.feed.last):
            self._kept.move_to_end(key)
        else:
            page = await self._reading.get(key, lambda: self._read(key, line, number * _PAGE))
        return [told for told in page if told.number > after]

    async def _read(self, key: Hashable, line: Line, after: int) -> list[Told]:
        events = await self._store.kept_events(line.feed.job_id, after, _PAGE)
        page = [line.told(event) for event in events]
        _, before = self._kept.pop(key, ([], 0))
        size = sum(len(event.data) for event in events)
        self._kept[key] = page, size
        self._bytes += size - before
        while self._bytes > _MOST_PAGES:
            _, (_, dropped) = self._kept.popitem(last=False)
            self._bytes -= dropped
        return page


class AllLine:
    """What the watchers of one principal are told of all jobs that it sees."""

    def __init__(self, sealer: Sealer, principal: str) -> None:
        self.bound = (principal,)
        self._sealer = sealer
        self._made: OrderedDict[int, Told] = OrderedDict()
        self._ticks: OrderedDict[str, tuple[int, JobProgress, Told]] = OrderedDict()

    def told(self, event: KeptEvent) -> Told:
        """A numbered event."""
        told = self._made.get(event.position)
        if told is None:
            told = Told(event.data, self._token(event.position), event.position)
            self._made[event.position] = told
            if len(self._made) > _LATEST_OF_ALL:
                self._made.popitem(last=False)
        return told

    def tick(self, job_id: str, progress: JobProgress, position: int) -> Told:
        """How far a job is, for those who have seen all events up to a position."""
        made = self._ticks.pop(job_id, None)
        if made is None or made[0] != position or made[1] is not progress:
            made = position, progress, Told(_unnumbered(job_id, progress), self._token(position))
        self._ticks[job_id] = made
        if len(self._ticks) > _TICKS:
            self._ticks.popitem(last=False)
        return made[2]

    def bookmark(self, position: int) -> Told:
        """Nothing happened up to a position."""
        return Told(_unnumbered("", Bookmark()), self._token(position))

    def _token(self, position: int) -> str:
        return self._sealer.seal("watch-all", self.bound, [position])


def _unnumbered(job_id: str, event: JobProgress | Bookmark) -> bytes:
    made = JobEvent(job_id=job_id, event_time=datetime.now(UTC), event=event)
    return to_message(made).SerializeToString()
