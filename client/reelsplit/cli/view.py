"""What is known of a job from its events."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

from reelsplit.types.error import Error
from reelsplit.types.event import (
    JobEvent,
    JobStateChanged,
    PlanCompleted,
    SegmentChanged,
    SourceOpened,
)
from reelsplit.types.job import JobPhase, JobProgress, JobState, SegmentProgress, SourceInfo
from reelsplit.types.segment import Notice, Segment, SegmentState

ENDED = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class JobView:
    """The state that bars and lines show. Fed with every event of one job in their order."""

    def __init__(self) -> None:
        self.job_id = ""
        self.state = JobState.UNSPECIFIED
        self.error: Error | None = None
        self.source: SourceInfo | None = None
        self.segments: dict[int, Segment] = {}
        self._counts: Counter[SegmentState] = Counter()
        self.running: dict[int, SegmentProgress] = {}
        self.notices: list[Notice] = []
        self.plan_complete = False
        self.percent = 0.0
        self.phase = JobPhase.UNSPECIFIED
        self.analysed = 0.0
        self.analysis_rate = 0.0
        self.rate = 0.0
        self.time_left: Fraction | float | None = None

    @property
    def ended(self) -> bool:
        """Whether the last event was that of the job's end."""
        return self.state in ENDED

    def count(self, state: SegmentState) -> int:
        """The segments in this state."""
        return self._counts[state]

    def apply(self, event: JobEvent) -> None:
        """Take in one event."""
        self.job_id = event.job_id or self.job_id
        match event.event:
            case JobStateChanged() as change:
                self.state, self.error = change.state, change.error
                self.percent = max(self.percent, change.percent)
                if self.ended:
                    self.running.clear()
                    self.time_left, self.rate, self.analysis_rate = None, 0.0, 0.0
            case SourceOpened() as opened:
                self.source = opened.source
            case SegmentChanged(segment=Segment() as segment):
                self._segment(segment)
            case PlanCompleted() as plan:
                self.plan_complete, self.analysed = True, 1.0
                self.source = plan.source or self.source
                self.notices += plan.notices
            case JobProgress() as progress:
                self._progress(progress)
            case _:
                pass  # A bookmark, or what a newer server tells.

    def _segment(self, segment: Segment) -> None:
        before = self.segments.get(segment.index)
        if before is not None:
            self._counts[before.state] -= 1
        self._counts[segment.state] += 1
        self.segments[segment.index] = segment
        if segment.state is SegmentState.RUNNING:
            self.running[segment.index] = SegmentProgress(index=segment.index)
        else:
            self.running.pop(segment.index, None)

    def _progress(self, progress: JobProgress) -> None:
        self.percent = max(self.percent, progress.percent)
        self.phase = progress.phase
        self.analysed = max(self.analysed, progress.analysed_fraction)
        self.analysis_rate = progress.analysis_frames_per_second
        self.rate = progress.frames_per_second
        self.time_left = progress.time_left
        for item in progress.running:
            # The tick may be older than the event of the segment's end.
            known = self.segments.get(item.index)
            if known is None or known.state in (SegmentState.PLANNED, SegmentState.RUNNING):
                self.running[item.index] = item
