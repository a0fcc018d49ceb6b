"""Generated from reelsplit/v1/event.proto by scripts/generate_types.py; never edited."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime

from reelsplit.types.record import Record
from reelsplit.types.error import Error
from reelsplit.types.job import JobProgress, JobState, Report, SourceInfo
from reelsplit.types.segment import Notice, Segment, SegmentState


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent(Record):
    """JobEvent is one thing that happened to a job. Events of state are kept as long as the
    job, are numbered 1, 2, 3 … without a gap, and come in that order. Progress and
    bookmarks are neither kept nor numbered. No event embeds the spec.
    """

    job_id: str = ""
    """Output only. The job; empty in a bookmark."""

    sequence: int = 0
    """Output only. The number of the event in its job, from 1; 0 for progress and bookmarks."""

    event_time: datetime | None = None
    """Output only. When it happened."""

    resume_token: str = ""
    """Output only. What to send to resume behind this event; opaque. Progress repeats the
    token of the last numbered event.
    """

    event: JobStateChanged | SourceOpened | SegmentChanged | PlanCompleted | JobProgress | Bookmark | None = None
    """Output only. What happened."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JobStateChanged(Record):
    """JobStateChanged tells that a job changed its state."""

    previous_state: JobState = JobState.UNSPECIFIED
    """Output only. The state before; unspecified in the first event."""

    state: JobState = JobState.UNSPECIFIED
    """Output only. The state now."""

    error: Error | None = None
    """Output only. Why it failed."""

    percent: float = 0.0
    """Output only. The percentage at this moment."""

    attempt: int = 0
    """Output only. Which attempt it belongs to."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SourceOpened(Record):
    """SourceOpened tells what the source turned out to be."""

    source: SourceInfo | None = None
    """Output only. The facts of the source, as far as they are known."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SegmentChanged(Record):
    """SegmentChanged tells that a segment changed its state."""

    previous_state: SegmentState = SegmentState.UNSPECIFIED
    """Output only. The state before; unspecified when the segment was planned."""

    segment: Segment | None = None
    """Output only. The segment as it is now."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PlanCompleted(Record):
    """PlanCompleted tells that all segments are known."""

    segment_count: int = 0
    """Output only. How many there are."""

    source: SourceInfo | None = None
    """Output only. The facts of the source, now complete."""

    notices: Sequence[Notice] = ()
    """Output only. What the caller may want to know besides."""

    reports: Sequence[Report] = ()
    """Output only. The reports that were written."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Bookmark(Record):
    """Bookmark carries a newer resume token through quiet times."""
