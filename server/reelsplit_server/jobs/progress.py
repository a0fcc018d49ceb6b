"""How far a job is, how fast it goes, and how long it will take."""

from __future__ import annotations

from collections import deque
from fractions import Fraction

from reelsplit.types.job import JobPhase, JobProgress, SegmentProgress
from reelsplit_server.jobs.records import JobRecord

_WINDOW = 5.0
"""Seconds over which speeds are taken."""
_LONGEST = 366 * 86400.0
"""Seconds behind which a time that is left is a guess that helps nobody."""
_DETECTION = 0.35
_INDEXING = 0.01
"""What a second of the source costs to analyse, against 1 for making it: with and without looking
at its pictures."""


class Rate:
    """How fast a number grows, over the last few seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque()

    def add(self, now: float, value: float) -> None:
        """The number's value at a time in seconds. It may fall when a count begins anew."""
        if self._seen and value < self._seen[-1][1]:
            self._seen.clear()
        self._seen.append((now, value))
        while now - self._seen[0][0] > _WINDOW and len(self._seen) > 2:
            self._seen.popleft()

    @property
    def per_second(self) -> float:
        """The speed; 0 while it cannot be told."""
        if len(self._seen) < 2:
            return 0.0
        (first, low), (last, high) = self._seen[0], self._seen[-1]
        return (high - low) / (last - first) if last - first > 0.05 else 0.0


class Meter:
    """The progress of one job. Times are seconds of a monotonic clock."""

    def __init__(self, *, floor: float, detects: bool, renders: bool) -> None:
        self._floor = floor
        self._analysis_cost = _DETECTION if detects else _INDEXING
        self._tiles = detects
        self._renders = renders
        self._length = 0.0
        self._planned = 0.0
        self._made = 0.0
        self._analysed = 0.0
        self._running: dict[int, tuple[float, float, int]] = {}
        self._finished_frames = 0
        self._work = Rate()
        self._analysis_rate = Rate()
        self._frame_rate = Rate()
        self._segment_rates: dict[int, Rate] = {}
        self.plan_complete = False

    def source(self, length: Fraction | float | None) -> None:
        """The source's length in seconds is known."""
        self._length = float(length or 0.0)

    def analysed(self, now: float, fraction: float, frames: int) -> None:
        """So much of the source was analysed."""
        self._analysed = max(self._analysed, fraction)
        self._analysis_rate.add(now, frames)
        self._work.add(now, self._done())

    def planned(self, seconds: float) -> None:
        """So many more seconds are to be made."""
        self._planned += seconds

    def begun(self, index: int, seconds: float) -> None:
        """A segment of this length is being made."""
        self._running[index] = (seconds, 0.0, 0)
        self._segment_rates[index] = Rate()

    def made(self, now: float, index: int, fraction: float, frames: int) -> None:
        """So much of a segment was made."""
        if index not in self._running:
            return
        seconds, before, _ = self._running[index]
        # A segment that is encoded after all begins anew.
        self._running[index] = (seconds, max(before, fraction), frames)
        self._segment_rates[index].add(now, frames)
        self._advance(now)

    def ended(self, now: float, index: int, seconds: float, frames: int, *, counts: bool) -> None:
        """A segment is published or failed; not ``counts`` when it will be made again."""
        self._running.pop(index, None)
        self._segment_rates.pop(index, None)
        if counts:
            self._made += seconds
            self._finished_frames += frames
        self._advance(now)

    def _advance(self, now: float) -> None:
        self._work.add(now, self._done())
        running = sum(frames for _, _, frames in self._running.values())
        self._frame_rate.add(now, self._finished_frames + running)

    def _done(self) -> float:
        running = sum(seconds * fraction for seconds, fraction, _ in self._running.values())
        analysed = 1.0 if self.plan_complete else self._analysed
        return analysed * self._length * self._analysis_cost + self._made + running

    def _total(self) -> float:
        # While shots are being found it is known already that they will cover the source.
        guess = self._tiles and not self.plan_complete
        planned = max(self._planned, self._length) if guess else self._planned
        return self._length * self._analysis_cost + (planned if self._renders else 0.0)

    def progress(self, job: JobRecord) -> JobProgress:
        """The progress as it is told; the counts of segments are the record's."""
        done, total = self._done(), self._total()
        percent = min(99.9, 100.0 * done / total) if total > 0 else 0.0
        self._floor = percent = max(self._floor, percent)
        rate = self._work.per_second
        left = max(0.0, total - done)
        known = total > 0 and left < rate * _LONGEST and (self.plan_complete or self._tiles)
        return JobProgress(
            percent=percent,
            phase=JobPhase.CUTTING if self.plan_complete else JobPhase.ANALYSING,
            analysed_fraction=1.0 if self.plan_complete else self._analysed,
            analysis_frames_per_second=0.0
            if self.plan_complete
            else self._analysis_rate.per_second,
            frames_per_second=self._frame_rate.per_second,
            time_left=left / rate if known else None,
            segment_count=job.segment_count,
            published_count=job.published_count,
            failed_count=job.failed_count,
            plan_complete=self.plan_complete,
            running=[
                SegmentProgress(
                    index=index,
                    fraction=fraction,
                    frames_per_second=self._segment_rates[index].per_second,
                )
                for index, (_, fraction, _) in sorted(self._running.items())
            ],
        )
