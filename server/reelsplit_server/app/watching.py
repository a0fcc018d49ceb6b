"""Following jobs: what is kept first, then what happens, with no gap between and nothing twice."""

from __future__ import annotations

import asyncio
import functools
from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from weakref import WeakValueDictionary

from reelsplit_server.access.callers import Caller
from reelsplit_server.access.permissions import Permission
from reelsplit_server.app.authorization import require
from reelsplit_server.app.errors import (
    AppError,
    Kind,
    Violation,
    invalid,
    job_not_found,
    shutting_down,
    translated,
)
from reelsplit_server.app.job_reading import check_job_id
from reelsplit_server.app.jobs import Jobs
from reelsplit_server.app.presenting import snapshot
from reelsplit_server.app.telling import AllLine, Line, Make, Once, Pages, Told
from reelsplit_server.app.tokens import Sealer
from reelsplit_server.jobs.log import EventLog, Feed
from reelsplit_server.jobs.records import KeptEvent, Standing
from reelsplit_server.jobs.rows import NoSuchJobError
from reelsplit_server.jobs.store import Store

_BATCH = 64
_INTERVAL = 0.25
_BOOKMARK = 30.0
_MOST_LABELS = 4096


class Watching:
    """The watches of all callers; ``most`` are open at once for each."""

    def __init__(
        self, jobs: Jobs, store: Store, events: EventLog, sealer: Sealer, most: int
    ) -> None:
        self._jobs = jobs
        self._store = store
        self._events = events
        self._sealer = sealer
        self._most = most
        self._open: Counter[str] = Counter()
        self._pages = Pages(store)
        self._standings = Once[Standing]()
        self._lines: WeakValueDictionary[tuple[str, str], Line] = WeakValueDictionary()
        self._all_lines: WeakValueDictionary[str, AllLine] = WeakValueDictionary()
        self._reading_labels = Once[Mapping[str, str]]()
        self._labels: OrderedDict[str, Mapping[str, str]] = OrderedDict()

    async def job(
        self,
        caller: Caller,
        job_id: str,
        make: Make,
        *,
        resume_token: str = "",
        interval: Fraction | float | None = None,
        skip_progress: bool = False,
    ) -> AsyncGenerator[bytes, None]:
        """The events of a job behind a token, each as ``make`` makes it; ends behind the event of
        the job's end."""
        require(caller, Permission.READ)
        pause = _INTERVAL if interval is None else float(interval)
        if not 0 <= pause <= 3600:
            wrong = "lies from 0 to 3,600 seconds"
            raise invalid([Violation(field="progress_interval", description=wrong)])
        check_job_id(job_id)
        # Before the store is asked: what is committed later is heard of in any case.
        follower = self._events.follow_job(job_id)
        feed = follower.source
        try:
            standing = await self._standing(caller, feed)
            line = self._line(caller.principal, feed)
            last = 0
            if resume_token:
                (value,) = self._sealer.open("watch", line.bound, resume_token, "resume_token")
                last = int(value)
                if last > feed.last:
                    # The look may have been begun for others, before the token was made.
                    standing = await self._standing(caller, feed)
                    _check_made(last, feed.last)
            with self._entered(caller.principal):
                beat, heard, quiet = None, 0, 0.0
                snapped = skip_progress
                while True:
                    if last < feed.last:
                        newest = line.newest(last) or await self._behind(caller, line, last)
                        for told in newest:
                            last = told.number
                            yield told.sent(make)
                        continue
                    if feed.gone and not feed.ended:
                        raise job_not_found(job_id)
                    live = None if feed.ended else self._events.last_progress(job_id)
                    if not snapped:
                        if live is None and standing.last_sequence < feed.last:
                            standing = await self._standing(caller, feed)
                            continue
                        beat = feed.beat(follower, pause)
                        snapped, heard = True, beat.number
                        quiet = asyncio.get_running_loop().time() + pause
                        shown = snapshot(standing, None) if live is None else live
                        yield line.tick(shown).sent(make)
                        continue
                    if beat is not None and beat.number != heard and live is not None:
                        heard = beat.number
                        if beat.time >= quiet:
                            yield line.tick(live).sent(make)
                            continue
                    if feed.ended:
                        return
                    if self._jobs.draining:
                        raise shutting_down()
                    await follower.woken()
        finally:
            self._events.leave(follower)

    async def all(
        self,
        caller: Caller,
        make: Make,
        *,
        resume_token: str = "",
        labels: Mapping[str, str] | None = None,
        include_progress: bool = False,
    ) -> AsyncGenerator[bytes, None]:
        """The events of all jobs that the caller sees behind a token, or from now on; each as
        ``make`` makes it."""
        require(caller, Permission.READ)
        line = self._all_line(caller.principal)
        if resume_token:
            (value,) = self._sealer.open("watch-all", line.bound, resume_token, "resume_token")
            position = int(value)
            await self._check_age(caller.sees, position)
            if position > self._events.position:
                with translated():
                    _check_made(position, await self._store.last_position())
        else:
            with translated():
                position = await self._store.last_position()
        follower = self._events.follow_principal(caller.sees)
        try:
            with self._entered(caller.principal):
                if not resume_token:
                    # So that a watch that breaks before its first event can be resumed.
                    yield line.bookmark(position).sent(make)
                clock = asyncio.get_running_loop().time
                spoken, group = clock(), follower.source
                beat = group.beat(follower, _INTERVAL) if include_progress else None
                heard, seen = -1, -1
                while True:
                    events, reached = await self._behind_position(caller.sees, position)
                    for event in events:
                        position = event.position
                        if not labels or await self._matches(event.job_id, labels):
                            yield line.told(event).sent(make)
                            spoken = clock()
                    position = max(position, reached)
                    if events:
                        continue
                    if beat is not None and beat.number != heard:
                        heard, since, seen = beat.number, seen, group.told
                        for job_id in group.progressed(since):
                            live = self._events.last_progress(job_id)
                            if live is None:
                                continue
                            if not labels or await self._matches(job_id, labels):
                                yield line.tick(job_id, live, position).sent(make)
                                spoken = clock()
                        continue
                    if self._jobs.draining:
                        raise shutting_down()
                    if clock() - spoken >= _BOOKMARK:
                        yield line.bookmark(position).sent(make)
                        spoken = clock()
                    await follower.woken(spoken + _BOOKMARK - clock())
        finally:
            self._events.leave(follower)

    async def _standing(self, caller: Caller, feed: Feed) -> Standing:
        """Where a job stands; raises JOB_NOT_FOUND for those of other principals too, unless the
        caller may see them."""
        with translated():
            try:
                read = functools.partial(self._store.standing, feed.job_id)
                standing = await self._standings.get(feed, read)
            except NoSuchJobError:
                raise job_not_found(feed.job_id) from None
        if caller.sees not in (None, standing.principal):
            raise job_not_found(feed.job_id)
        feed.know(standing)
        return standing

    async def _behind(self, caller: Caller, line: Line, last: int) -> Sequence[Told]:
        """The next events of a job, from the store."""
        if line.feed.gone:
            raise job_not_found(line.feed.job_id)
        with translated():
            found = await self._pages.behind(line, last)
        if not found:
            # It was deleted in this moment, or the store is asked again.
            await self._standing(caller, line.feed)
        return found

    async def _behind_position(
        self, principal: str | None, position: int
    ) -> tuple[Sequence[KeptEvent], int]:
        """The next events, and the position up to which there are no others."""
        reached = self._events.position
        events = self._events.recent(principal, position, _BATCH)
        if events is None:
            with translated():
                events = await self._store.all_kept_events(principal, position, _BATCH)
            # Jobs may have been deleted while this reader was on its way.
            await self._check_age(principal, position)
        if len(events) == _BATCH:
            reached = events[-1].position
        return events, reached

    async def _check_age(self, principal: str | None, position: int) -> None:
        with translated():
            forgotten = await self._store.forgotten_position(principal)
        if position < forgotten:
            raise AppError(
                Kind.TOO_OLD,
                "TOKEN_TOO_OLD",
                "Jobs were deleted since, and their events with them; list the jobs again, and "
                "watch from the list's token.",
            )

    async def _matches(self, job_id: str, labels: Mapping[str, str]) -> bool:
        known = self._labels.get(job_id)
        if known is None:
            read = functools.partial(self._store.labels, job_id)
            with translated():
                known = self._labels[job_id] = await self._reading_labels.get(job_id, read)
            if len(self._labels) > _MOST_LABELS:
                self._labels.popitem(last=False)
        return labels.items() <= known.items()

    def _line(self, principal: str, feed: Feed) -> Line:
        line = self._lines.get((principal, feed.job_id))
        if line is None or line.feed is not feed:
            line = self._lines[principal, feed.job_id] = Line(feed, self._sealer, principal)
        return line

    def _all_line(self, principal: str) -> AllLine:
        line = self._all_lines.get(principal)
        if line is None:
            line = self._all_lines[principal] = AllLine(self._sealer, principal)
        return line

    @contextmanager
    def _entered(self, principal: str) -> Iterator[None]:
        if self._open[principal] >= self._most:
            raise AppError(
                Kind.EXHAUSTED,
                "TOO_MANY_WATCHES",
                f"{self._most} watches of this caller are open already; end some of them.",
                metadata={"limit": str(self._most)},
                retry_after=5.0,
            )
        self._open[principal] += 1
        try:
            yield
        finally:
            self._open[principal] -= 1
            if not self._open[principal]:
                del self._open[principal]


def _check_made(told: int, newest: int) -> None:
    """Refuse a token that tells of what has not happened yet: it would pass over what comes."""
    if told > newest:
        raise AppError(
            Kind.TOO_OLD,
            "TOKEN_TOO_OLD",
            "The token was made by a later state of this database, which was put back from a "
            "backup since; list the jobs again, and watch without it, or from the list's token.",
        )
