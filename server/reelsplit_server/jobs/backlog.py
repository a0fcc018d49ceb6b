"""The jobs that wait to be begun, in the order of each caller."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

_SPARE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """What the order of waiting jobs depends on. Higher priorities go first."""

    job_id: str
    principal: str
    priority: int
    create_time: datetime


class Place(NamedTuple):
    """Where a job stands among those of its caller."""

    negative_priority: int
    created: float
    job_id: str


class Backlog:
    """Waiting jobs; each stands in it once. What it holds is bounded by the jobs that wait."""

    def __init__(self) -> None:
        self._heaps: dict[str, list[Place]] = {}
        self._jobs: dict[str, Queued] = {}
        """Those that wait. Heaps may hold others, that were taken out."""
        self._counts: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, job: Queued) -> None:
        """Let a job wait, unless it does."""
        if job.job_id in self._jobs:
            return
        self._jobs[job.job_id] = job
        self._counts[job.principal] += 1
        place = Place(-job.priority, job.create_time.timestamp(), job.job_id)
        heapq.heappush(self._heaps.setdefault(job.principal, []), place)

    def discard(self, job_id: str) -> None:
        """Let a job wait no more, if it does."""
        job = self._jobs.pop(job_id, None)
        if job is None:
            return
        principal = job.principal
        self._counts[principal] -= 1
        heap = self._heaps[principal]
        if len(heap) > 2 * self._counts[principal] + _SPARE:
            heap[:] = {place for place in heap if place.job_id in self._jobs}
            heapq.heapify(heap)
        self._tidy(principal)

    def firsts(self) -> Iterable[tuple[str, Place]]:
        """Each caller that has jobs waiting, with the one that is its next."""
        return ((principal, heap[0]) for principal, heap in self._heaps.items())

    def take(self, principal: str) -> Queued:
        """The next job of a caller, which waits no more."""
        job = self._jobs[self._heaps[principal][0].job_id]
        self.discard(job.job_id)
        return job

    def _tidy(self, principal: str) -> None:
        heap = self._heaps[principal]
        while heap and heap[0].job_id not in self._jobs:
            heapq.heappop(heap)
        if not heap:
            del self._heaps[principal], self._counts[principal]
