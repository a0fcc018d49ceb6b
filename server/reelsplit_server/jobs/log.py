"""Wakes those who follow jobs: numbered events as they are committed, and progress as it comes.

Nobody who follows asks the database what happened: what is known of a job, or of the jobs of a
principal, lies in one object that all share who follow it.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

from reelsplit.types.event import JobStateChanged
from reelsplit.types.job import JobProgress
from reelsplit_server.jobs.records import KeptEvent, Standing, StoredEvent
from reelsplit_server.jobs.transitions import ENDED

_TAIL = 32
"""Events that are kept in memory for each followed job, so that most readers need no database."""
_RECENT = 2048
"""The same for those who follow all jobs."""

SourceT = TypeVar("SourceT", bound="Source")
SourceT_co = TypeVar("SourceT_co", bound="Source", covariant=True)


class Follower(Generic[SourceT_co]):
    """One who follows ``source``; wakes when something happened since it last looked."""

    __slots__ = ("_waiting", "_woken", "source")

    def __init__(self, source: SourceT_co) -> None:
        self.source = source
        self._woken = False
        self._waiting: asyncio.Future[None] | None = None

    def wake(self) -> None:
        """Let the follower look again."""
        self._woken = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def woken(self, timeout: float | None = None) -> bool:
        """Wait until woken; false after ``timeout`` seconds."""
        if not self._woken:
            loop = asyncio.get_running_loop()
            waiting = self._waiting = loop.create_future()
            timer = None if timeout is None else loop.call_later(timeout, _end, waiting)
            try:
                await waiting
            finally:
                self._waiting = None
                if timer is not None:
                    timer.cancel()
        woken, self._woken = self._woken, False
        return woken


class Beat:
    """Wakes followers for progress, at most once in ``interval`` seconds: one timer for all who
    wait for the same."""

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self.followers: set[Follower[Source]] = set()
        self.time = -interval
        """When it beat last, by the loop's clock."""
        self.number = 0
        """How often it did."""
        self._timer: asyncio.TimerHandle | None = None

    def progress(self) -> None:
        """There is something to tell."""
        if self._timer is None:
            loop = asyncio.get_running_loop()
            left = self.time + self.interval - loop.time()
            if left <= 0:
                self._beat()
            else:
                self._timer = loop.call_later(left, self._beat)

    def stop(self) -> None:
        """Nobody waits for it any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _beat(self) -> None:
        self._timer = None
        self.time = asyncio.get_running_loop().time()
        self.number += 1
        _wake(self.followers)


class Source:
    """What is followed, with those who follow it."""

    def __init__(self) -> None:
        self.followers: set[Follower[Source]] = set()
        self.told = 0
        """How often progress was told."""
        self._beats: dict[float, Beat] = {}

    def beat(self, follower: Follower[Source], interval: float) -> Beat:
        """Wake a follower for progress too, at most once in so many seconds, until it leaves."""
        beat = self._beats.get(interval)
        if beat is None:
            beat = self._beats[interval] = Beat(interval)
        beat.followers.add(follower)
        return beat

    def progress(self) -> None:
        """Progress is told."""
        self.told += 1
        for beat in self._beats.values():
            beat.progress()

    def leave(self, follower: Follower[Source]) -> None:
        """One follows no more."""
        self.followers.discard(follower)
        for beat in list(self._beats.values()):
            beat.followers.discard(follower)
            if not beat.followers:
                beat.stop()
                del self._beats[beat.interval]


class Feed(Source):
    """One job that is followed."""

    def __init__(self, job_id: str) -> None:
        super().__init__()
        self.job_id = job_id
        self.last = 0
        """The number of the newest event that is known of."""
        self.ended = False
        """Whether the job had ended with that event."""
        self.gone = False
        """Whether the job was deleted."""
        self.percent = 0.0
        """The highest percentage that events told."""
        self._tail: deque[KeptEvent] = deque(maxlen=_TAIL)

    def know(self, standing: Standing) -> None:
        """Learn what the store says, which may be behind what is known already."""
        self._know(standing.last_sequence, standing.percent, ended=standing.ended)

    def _know(self, last: int, percent: float, *, ended: bool) -> None:
        self.percent = max(self.percent, percent)
        if last > self.last:
            self.last, self.ended = last, ended

    def commit(self, kept: KeptEvent, change: object) -> None:
        """An event was committed, which tells of ``change``. Followers are not woken yet."""
        if self._tail and kept.sequence != self._tail[-1].sequence + 1:
            # A tail has no gap; who needs more asks the store.
            self._tail.clear()
        self._tail.append(kept)
        if isinstance(change, JobStateChanged):
            self._know(kept.sequence, change.percent, ended=change.state in ENDED)
        self.last = max(self.last, kept.sequence)

    def behind(self, after: int) -> list[KeptEvent] | None:
        """The events behind a number, or None where memory does not reach back that far."""
        tail = self._tail
        if not tail or tail[0].sequence > after + 1:
            return None
        return [tail[place] for place in range(after - tail[-1].sequence, 0)]


class Group(Source):
    """All jobs of one principal, or of everybody, that are followed together."""

    def __init__(self) -> None:
        super().__init__()
        self._jobs: dict[str, int] = {}

    def job_progress(self, job_id: str) -> None:
        """Progress of one of the jobs is told."""
        self._jobs.pop(job_id, None)
        self._jobs[job_id] = self.told + 1
        self.progress()

    def job_ended(self, job_id: str) -> None:
        """Nothing more is told of a job's progress."""
        self._jobs.pop(job_id, None)

    def progressed(self, told: int) -> list[str]:
        """The jobs whose progress was told since ``told`` was as it says."""
        newest = itertools.takewhile(lambda job: job[1] > told, reversed(self._jobs.items()))
        return [job_id for job_id, _ in newest]


class EventLog:
    """What happens, for those who are connected just now. All calls come from one event loop."""

    def __init__(self) -> None:
        self._feeds: dict[str, Feed] = {}
        self._groups: dict[str | None, Group] = {}
        self._progress: dict[str, tuple[str, JobProgress]] = {}
        self._recent: deque[tuple[str, KeptEvent]] = deque()
        self._floor: int | None = None
        self.position = 0
        """The position of the newest event that was told."""

    def begin(self, position: int) -> None:
        """The position of the newest event in the store, before anything is committed."""
        self._floor = self.position = position

    def follow_job(self, job_id: str) -> Follower[Feed]:
        """Follow one job, until `leave`."""
        feed = self._feeds.get(job_id)
        if feed is None:
            feed = self._feeds[job_id] = Feed(job_id)
        return _join(feed)

    def follow_principal(self, principal: str | None) -> Follower[Group]:
        """Follow all jobs of a principal, or of all where it is None, until `leave`."""
        group = self._groups.get(principal)
        if group is None:
            group = self._groups[principal] = Group()
            for job_id, (owner, _) in self._progress.items():
                if principal in (None, owner):
                    group.job_progress(job_id)
        return _join(group)

    def leave(self, follower: Follower[Feed] | Follower[Group]) -> None:
        """Stop following."""
        source = follower.source
        source.leave(follower)
        if source.followers:
            return
        if isinstance(source, Feed):
            self._feeds.pop(source.job_id, None)
        else:
            for principal in [key for key, group in self._groups.items() if group is source]:
                del self._groups[principal]

    def commit(self, events: Iterable[StoredEvent]) -> None:
        """Tell events that were just committed, in order."""
        touched: set[Source] = set()
        for stored in events:
            if self._floor is None:
                self._floor = stored.position - 1
            kept = stored.kept
            self._recent.append((stored.principal, kept))
            if len(self._recent) > _RECENT:
                self._floor = self._recent.popleft()[1].position
            self.position = stored.position
            feed = self._feeds.get(kept.job_id)
            if feed is not None:
                feed.commit(kept, stored.event.event)
                touched.add(feed)
            touched.update(self._groups_of(stored.principal))
        # Once each, however many events were committed together.
        for source in touched:
            _wake(source.followers)

    def progress(self, principal: str, job_id: str, progress: JobProgress | None) -> None:
        """Tell how far a job is; None when it ended."""
        if progress is None:
            self._progress.pop(job_id, None)
            for group in self._groups_of(principal):
                group.job_ended(job_id)
            return
        self._progress[job_id] = principal, progress
        feed = self._feeds.get(job_id)
        if feed is not None:
            feed.progress()
        for group in self._groups_of(principal):
            group.job_progress(job_id)

    def last_progress(self, job_id: str) -> JobProgress | None:
        """How far a job is that is being worked on."""
        known = self._progress.get(job_id)
        return None if known is None else known[1]

    def recent(self, principal: str | None, after: int, most: int) -> list[KeptEvent] | None:
        """The next ``most`` events of a principal's jobs, or of everybody's where it is None,
        behind a position of the log; None where memory does not reach back that far."""
        if self._floor is None or after < self._floor:
            return None
        behind = itertools.takewhile(lambda item: item[1].position > after, reversed(self._recent))
        return [kept for owner, kept in behind if principal in (None, owner)][: -most - 1 : -1]

    def wake_all(self) -> None:
        """Let everybody look again: the server stops."""
        for source in (*self._feeds.values(), *self._groups.values()):
            _wake(source.followers)

    def deleted(self, job_id: str) -> None:
        """A job was deleted."""
        feed = self._feeds.get(job_id)
        if feed is not None:
            feed.gone = True
            _wake(feed.followers)

    def _groups_of(self, principal: str) -> list[Group]:
        groups = (self._groups.get(principal), self._groups.get(None))
        return [group for group in groups if group is not None]


def _join(source: SourceT) -> Follower[SourceT]:
    follower = Follower(source)
    source.followers.add(follower)
    return follower


def _wake(followers: Iterable[Follower[Source]]) -> None:
    for follower in followers:
        follower.wake()


def _end(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
