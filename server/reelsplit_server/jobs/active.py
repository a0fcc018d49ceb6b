"""A job that is being worked on, as the scheduler holds it in memory."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from fractions import Fraction

from reelsplit.types.error import Error
from reelsplit.types.segment import Segment
from reelsplit.types.spec import ShotDetection
from reelsplit_server.jobs.progress import Meter
from reelsplit_server.jobs.records import JobRecord

ANALYSIS = -1
"""The key of a job's analysis among its units; those of its segments are their indexes, and those
of the units that help with the analysis lie below."""


@dataclass(slots=True)
class ActiveJob:
    """The units of a job: waiting, under way, and waiting to be tried again."""

    record: JobRecord
    meter: Meter
    waiting: deque[int] = field(default_factory=deque)
    running: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    tries: dict[int, int] = field(default_factory=dict)
    again: dict[int, float] = field(default_factory=dict)
    """Units that will be tried again, each with the seconds that it waits for that."""
    share: str | None = None
    """By which name other workers can help with the analysis, while it goes on."""
    spans: dict[int, tuple[Fraction, Fraction]] = field(default_factory=dict)
    """Where the segments begin and end that are to be made, as far as that is known."""
    ending: bool = False
    held: tuple[Error | None, int | None] | None = None
    """Why it was to be ended while something else was about to end it."""
    told: float = 0.0
    deadline: asyncio.TimerHandle | None = None

    @classmethod
    def of(cls, record: JobRecord, planned: list[Segment]) -> ActiveJob:
        """A job as the store knows it, with those of its segments that are to be made."""
        renders = record.spec.output is not None
        meter = Meter(
            floor=record.percent,
            detects=isinstance(record.spec.mode, ShotDetection),
            renders=renders,
        )
        job = cls(record=record, meter=meter)
        meter.plan_complete = record.plan_complete
        if record.source is not None:
            meter.source(record.source.duration)
        if not record.plan_complete:
            job.waiting.append(ANALYSIS)
        if renders:
            for segment in planned:
                job.add(segment)
        return job

    def add(self, segment: Segment) -> None:
        """A segment is to be made."""
        self.waiting.append(segment.index)
        if (bounds := segment.bounds or segment.requested) is not None:
            span = bounds.start_offset or 0, bounds.end_offset or 0
            self.spans[segment.index] = Fraction(span[0]), Fraction(span[1])
        self.meter.planned(length(segment))

    def helped(self, share: str, helpers: int) -> None:
        """So many workers may help with the analysis, if they have nothing else to do."""
        self.share = share
        for key in range(ANALYSIS - 1, ANALYSIS - 1 - helpers, -1):
            if key not in self.waiting and key not in self.running and key not in self.again:
                self.waiting.append(key)

    def unhelped(self) -> None:
        """The analysis has ended: nobody begins to help any more."""
        self.share = None
        for key in [key for key in self.waiting if key < ANALYSIS]:
            self.waiting.remove(key)

    @property
    def idle(self) -> bool:
        """Whether nothing of it is under way or will be."""
        return not (self.waiting or self.running or self.again)


def length(segment: Segment) -> float:
    """The seconds of a segment, as far as they are known before it is made."""
    bounds = segment.bounds or segment.requested
    if bounds is None:
        return 0.0
    return float(Fraction(bounds.end_offset or 0) - Fraction(bounds.start_offset or 0))
