"""Wakes those who follow jobs: numbered events as they are committed, and progress as it comes."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Iterable

from reelsplit.types.job import JobProgress
from reelsplit_server.jobs.records import StoredEvent

_TAIL = 64
"""Events that are kept in memory for each followed job, so that most readers need no database."""
_RECENT = 2048
"""The same for those who follow all jobs."""


class Follower:
    """One who follows; wakes when something happened since it last looked."""

    def __init__(self, group: set[Follower]) -> None:
        self._event = asyncio.Event()
        self.group = group

    def wake(self) -> None:
        """Let the follower look again."""
        self._event.set()

    async def woken(self, timeout: float | None = None) -> bool:
        """Wait until woken; false after ``timeout`` seconds."""
        try:
            await asyncio.wait_for(self._event.wait(), timeout)
        except TimeoutError:
            return False
        self._event.clear()
        return True


class EventLog:
    """What happens, for those who are connected just now. All calls come from one event loop."""

    def __init__(self) -> None:
        self._by_job: dict[str, set[Follower]] = {}
        self._by_principal: dict[str, set[Follower]] = {}
        self._of_everybody: set[Follower] = set()
        self._tails: dict[str, deque[StoredEvent]] = {}
        self._progress: dict[str, JobProgress] = {}
        self._all: set[Follower] = set()
        self._recent: deque[StoredEvent] = deque()
        self._floor: int | None = None
        self.position = 0
        """The position of the newest event that was told."""

    def follow_job(self, job_id: str) -> Follower:
        """Follow one job, until `leave`."""
        return self._follow(self._by_job, job_id)

    def follow_principal(self, principal: str | None) -> Follower:
        """Follow all jobs of a principal, or of all where it is None, until `leave`."""
        if principal is None:
            return self._join(self._of_everybody)
        return self._follow(self._by_principal, principal)

    def _follow(self, groups: dict[str, set[Follower]], key: str) -> Follower:
        return self._join(groups.setdefault(key, set()))

    def _join(self, group: set[Follower]) -> Follower:
        follower = Follower(group)
        group.add(follower)
        self._all.add(follower)
        return follower

    def leave(self, follower: Follower) -> None:
        """Stop following."""
        self._all.discard(follower)
        follower.group.discard(follower)
        if follower.group:
            return
        for groups in (self._by_job, self._by_principal):
            for key in [key for key, group in groups.items() if group is follower.group]:
                del groups[key]
                self._tails.pop(key, None)

    def commit(self, events: Iterable[StoredEvent]) -> None:
        """Tell events that were just committed, in order."""
        for stored in events:
            if self._floor is None:
                self._floor = stored.position - 1
            self._recent.append(stored)
            if len(self._recent) > _RECENT:
                self._floor = self._recent.popleft().position
            self.position = stored.position
            job_id = stored.event.job_id
            if job_id in self._by_job:
                self._tails.setdefault(job_id, deque(maxlen=_TAIL)).append(stored)
                self._wake(self._by_job[job_id])
            self._wake(self._by_principal.get(stored.principal, ()))
            self._wake(self._of_everybody)

    def progress(self, principal: str, job_id: str, progress: JobProgress | None) -> None:
        """Tell how far a job is; None when it ended."""
        if progress is None:
            self._progress.pop(job_id, None)
            return
        self._progress[job_id] = progress
        self._wake(self._by_job.get(job_id, ()))
        self._wake(self._by_principal.get(principal, ()))
        self._wake(self._of_everybody)

    def last_progress(self, job_id: str) -> JobProgress | None:
        """How far a job is that is being worked on."""
        return self._progress.get(job_id)

    def tail(self, job_id: str, after: int) -> list[StoredEvent] | None:
        """The events of a followed job behind a sequence number, or None where memory does not
        reach back that far."""
        tail = self._tails.get(job_id)
        if not tail or tail[0].event.sequence > after + 1:
            return None
        return [stored for stored in tail if stored.event.sequence > after]

    def recent(self, principal: str | None, after: int) -> list[StoredEvent] | None:
        """The events of a principal's jobs, or of everybody's where it is None, behind a position
        of the log; None where memory does not reach back that far."""
        if self._floor is None or after < self._floor:
            return None
        behind = itertools.takewhile(lambda item: item.position > after, reversed(self._recent))
        return [item for item in behind if principal in (None, item.principal)][::-1]

    def wake_all(self) -> None:
        """Let everybody look again: the server stops."""
        self._wake(self._all)

    def wake_job(self, job_id: str) -> None:
        """Let those look again who follow a job, which was deleted."""
        self._wake(self._by_job.get(job_id, ()))

    @staticmethod
    def _wake(followers: Iterable[Follower]) -> None:
        for follower in followers:
            follower.wake()
