"""Following jobs: what is kept first, then what happens, with no gap between and nothing twice."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction

from reelsplit.types.event import Bookmark, JobEvent, JobStateChanged
from reelsplit_server.access.callers import Caller
from reelsplit_server.access.permissions import Permission
from reelsplit_server.app.authorization import require
from reelsplit_server.app.errors import AppError, Kind, Violation, invalid, shutting_down
from reelsplit_server.app.jobs import Jobs, store_unavailable
from reelsplit_server.app.presenting import snapshot
from reelsplit_server.app.tokens import Sealer
from reelsplit_server.jobs.database import StoreUnavailableError
from reelsplit_server.jobs.log import EventLog, Follower
from reelsplit_server.jobs.records import JobRecord, StoredEvent
from reelsplit_server.jobs.rows import NoSuchJobError
from reelsplit_server.jobs.store import Store
from reelsplit_server.jobs.transitions import ENDED

_BATCH = 200
_INTERVAL = 0.25
_BOOKMARK = 30.0


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

    async def job(
        self,
        caller: Caller,
        job_id: str,
        *,
        resume_token: str = "",
        interval: Fraction | float | None = None,
        skip_progress: bool = False,
    ) -> AsyncIterator[JobEvent]:
        """The events of a job behind a token; ends behind the event of the job's end."""
        require(caller, Permission.READ)
        pause = _INTERVAL if interval is None else float(interval)
        if not 0 <= pause <= 3600:
            wrong = "lies from 0 to 3,600 seconds"
            raise invalid([Violation(field="progress_interval", description=wrong)])
        await self._jobs.record(caller, job_id)
        bound = (caller.principal, job_id)
        last = 0
        if resume_token:
            (value,) = self._sealer.open("watch", bound, resume_token, "resume_token")
            last = int(value)
        self._enter(caller.principal)
        follower = self._events.follow_job(job_id)
        try:
            token, snapped, told, percent = resume_token, False, 0.0, 0.0
            while True:
                for event in await self._behind(job_id, last):
                    last = event.sequence
                    token = self._sealer.seal("watch", bound, [last])
                    if isinstance(event.event, JobStateChanged):
                        percent = max(percent, event.event.percent)
                    yield replace(event, resume_token=token)
                record = await self._jobs.record(caller, job_id)
                if record.last_sequence > last:
                    continue
                live = self._events.last_progress(job_id)
                now = time.monotonic()
                wait = None
                if not skip_progress and (not snapped or (live is not None and not record.ended)):
                    wait = max(0.0, told + pause - now)
                    if not snapped or wait == 0.0:
                        made = snapshot(record, live)
                        percent = max(percent, made.percent)
                        yield JobEvent(
                            job_id=job_id,
                            event_time=datetime.now(UTC),
                            resume_token=token,
                            event=replace(made, percent=percent),
                        )
                        snapped, told, wait = True, now, None
                if record.ended:
                    return
                if self._jobs.draining:
                    raise shutting_down()
                await follower.woken(wait)
        finally:
            self._leave(caller.principal, follower)

    async def all(
        self,
        caller: Caller,
        *,
        resume_token: str = "",
        labels: Mapping[str, str] | None = None,
        include_progress: bool = False,
    ) -> AsyncIterator[JobEvent]:
        """The events of all jobs that the caller sees behind a token, or from now on."""
        require(caller, Permission.READ)
        bound = (caller.principal,)
        if resume_token:
            (value,) = self._sealer.open("watch-all", bound, resume_token, "resume_token")
            position = int(value)
            await self._check_age(position)
        else:
            position = await self._last_position()
        self._enter(caller.principal)
        follower = self._events.follow_principal(caller.sees)
        wanted: dict[str, bool] = {}
        try:
            if not resume_token:
                # So that a watch that breaks before its first event can be resumed.
                yield self._bookmark(bound, position)
            told: dict[str, tuple[float, float]] = {}
            for job in await self._running(caller.sees) if include_progress else ():
                if await self._matches(job.job_id, labels or {}, wanted):
                    told[job.job_id] = (0.0, job.percent)
            while True:
                stored, reached = await self._behind_position(caller.sees, position)
                for item in stored:
                    position = item.position
                    job_id = item.event.job_id
                    if not await self._matches(job_id, labels or {}, wanted):
                        continue
                    token = self._sealer.seal("watch-all", bound, [position])
                    yield replace(item.event, resume_token=token)
                    if isinstance(item.event.event, JobStateChanged):
                        if item.event.event.state in ENDED:
                            told.pop(job_id, None)
                            wanted.pop(job_id, None)
                        elif include_progress:
                            told[job_id] = (0.0, item.event.event.percent)
                position = max(position, reached)
                if stored:
                    continue
                token = self._sealer.seal("watch-all", bound, [position])
                if include_progress:
                    for event in self._ticks(told):
                        yield replace(event, resume_token=token)
                if self._jobs.draining:
                    raise shutting_down()
                if not await follower.woken(_INTERVAL if told else _BOOKMARK) and not told:
                    yield self._bookmark(bound, position)
        finally:
            self._leave(caller.principal, follower)

    async def _check_age(self, position: int) -> None:
        try:
            forgotten = await self._store.forgotten_position()
        except StoreUnavailableError as error:
            raise store_unavailable() from error
        if position < forgotten:
            raise AppError(
                Kind.TOO_OLD,
                "TOKEN_TOO_OLD",
                "Jobs were deleted since, and their events with them; list the jobs again, and "
                "watch from the list's token.",
            )

    def _bookmark(self, bound: Sequence[str], position: int) -> JobEvent:
        token = self._sealer.seal("watch-all", bound, [position])
        return JobEvent(event_time=datetime.now(UTC), resume_token=token, event=Bookmark())

    def _ticks(self, told: dict[str, tuple[float, float]]) -> Sequence[JobEvent]:
        now, made = time.monotonic(), []
        for job_id, (last, percent) in told.items():
            live = self._events.last_progress(job_id)
            if live is None or now - last < _INTERVAL:
                continue
            percent = max(percent, live.percent)
            told[job_id] = (now, percent)
            made.append(
                JobEvent(
                    job_id=job_id,
                    event_time=datetime.now(UTC),
                    event=replace(live, percent=percent),
                )
            )
        return made

    async def _matches(
        self, job_id: str, labels: Mapping[str, str], wanted: dict[str, bool]
    ) -> bool:
        if not labels:
            return True
        if job_id not in wanted:
            try:
                record = await self._store.get(None, job_id)
            except NoSuchJobError:
                return False
            wanted[job_id] = labels.items() <= dict(record.spec.labels).items()
        return wanted[job_id]

    async def _last_position(self) -> int:
        try:
            return await self._store.last_position()
        except StoreUnavailableError as error:
            raise store_unavailable() from error

    async def _running(self, principal: str | None) -> list[JobRecord]:
        try:
            return [job for job in await self._store.active() if principal in (None, job.principal)]
        except StoreUnavailableError as error:
            raise store_unavailable() from error

    async def _behind(self, job_id: str, last: int) -> list[JobEvent]:
        stored = self._events.tail(job_id, last)
        if stored is None:
            try:
                stored = await self._store.events(job_id, last, _BATCH)
            except StoreUnavailableError as error:
                raise store_unavailable() from error
        return [item.event for item in stored]

    async def _behind_position(
        self, principal: str | None, position: int
    ) -> tuple[list[StoredEvent], int]:
        """The next events, and the position up to which there are no others."""
        reached = self._events.position
        stored = self._events.recent(principal, position)
        if stored is None:
            try:
                stored = await self._store.all_events(principal, position, _BATCH)
            except StoreUnavailableError as error:
                raise store_unavailable() from error
            if len(stored) == _BATCH:
                reached = stored[-1].position
        return stored, reached

    def _enter(self, principal: str) -> None:
        if self._open[principal] >= self._most:
            raise AppError(
                Kind.EXHAUSTED,
                "TOO_MANY_WATCHES",
                f"{self._most} watches of this caller are open already; end some of them.",
                metadata={"limit": str(self._most)},
                retry_after=5.0,
            )
        self._open[principal] += 1

    def _leave(self, principal: str, follower: Follower) -> None:
        self._events.leave(follower)
        self._open[principal] -= 1
        if not self._open[principal]:
            del self._open[principal]
