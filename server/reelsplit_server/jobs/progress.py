"""How far a job is, how fast it goes, and how long it will take."""

from __future__ import annotations

import heapq
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction

from reelsplit.types.job import JobPhase, JobProgress, SegmentProgress
from reelsplit_server.jobs.records import JobRecord

_WINDOW = 5.0
"""Seconds over which speeds are taken that are told."""
_PART = 0.5
"""The last part of all the time so far over which speeds are taken that times are reckoned by:
neither a moment in which the machine was busy with something else counts much, nor what was long
ago."""
_FEWEST = 64
"""How many steps a window has at least, once it is long: no more are kept than twice as many."""
_SETTLED = 2.0
"""Seconds after which a segment's own speed counts, where less than a tenth of it is made."""
_SHARED = 3
"""Segments for each worker, from which on it does not matter which of them takes which."""
_LONGEST = 366 * 86400.0
"""Seconds behind which a time that is left is a guess that helps nobody."""
_DETECTION = 0.35
_INDEXING = 0.01
"""What a second of the source costs to analyse, against 1 for making it: with and without looking
at its pictures. For the percentage, which must be told before anything can be measured."""
_USUAL = 4
"""Segments of which the last ones say how fast others go, and how long their ends take."""
_CHECK = 0.02
"""How long the end of a segment takes, against all before, until that was measured: what the
encoder still holds is written, all is read again and checked, and published."""


class Rate:
    """How fast a number grows: over the last seconds, or with ``part`` over that part of the time
    since the beginning where that is more."""

    def __init__(self, part: float = 0.0) -> None:
        self._part = part
        self._seen: deque[tuple[float, float]] = deque()
        self._began: float | None = None

    def add(self, now: float, value: float) -> None:
        """The number's value at a time in seconds. It may fall when a count begins anew."""
        if self._seen and value < self._seen[-1][1]:
            self._seen.clear()
            self._began = None
        if self._began is None or (len(self._seen) == 1 and value == self._seen[0][1]):
            # Nothing has come yet: what is being prepared is no part of how fast it goes.
            self._seen.clear()
            self._began = now
        window = max(_WINDOW, self._part * (now - self._began))
        if len(self._seen) > 1 and now - self._seen[-2][0] < window / _FEWEST:
            self._seen[-1] = now, value
        else:
            self._seen.append((now, value))
        while now - self._seen[0][0] > window and len(self._seen) > 2:
            self._seen.popleft()

    @property
    def span(self) -> float:
        """The seconds over which it was seen to grow."""
        return self._seen[-1][0] - self._seen[0][0] if self._seen else 0.0

    @property
    def per_second(self) -> float:
        """The speed; 0 while it cannot be told."""
        if len(self._seen) < 2:
            return 0.0
        (first, low), (last, high) = self._seen[0], self._seen[-1]
        return (high - low) / (last - first) if last - first > 0.05 else 0.0


@dataclass(slots=True)
class _Making:
    """A segment that is being made. Times are seconds of the clock."""

    seconds: float
    fraction: float = 0.0
    frames: int = 0
    last: float = 0.0
    """When its last frames came."""
    frame_rate: Rate = field(default_factory=Rate)
    speed: Rate = field(default_factory=lambda: Rate(_PART))

    @property
    def done(self) -> float:
        """How many of its seconds are made."""
        return self.seconds * self.fraction

    @property
    def is_steady(self) -> bool:
        """Whether its speed says how long it takes: the first frames come as they will."""
        return self.speed.per_second > 0 and (self.fraction > 0.1 or self.speed.span > _SETTLED)

    def left(self, now: float, speed: float, check: float) -> float:
        """The seconds until it is published at a speed; its end takes this part of all before."""
        left = (self.seconds - self.done + check * self.seconds) / speed
        # Nothing is heard while the encoder writes what it holds, nor while it is read again.
        return max(left / 10, left - (now - self.last))


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
        self._running: dict[int, _Making] = {}
        self._finished_frames = 0
        self._making = Rate(_PART)
        self._analysing = Rate(_PART)
        self._analysis_rate = Rate()
        self._frame_rate = Rate()
        self._waiting: deque[float] = deque()
        self._check = _CHECK
        self._checked = 0.0
        self._usual = 0.0
        self._ended = 0
        self._now = 0.0
        self._speed = 0.0
        self.plan_complete = False

    def source(self, length: Fraction | float | None) -> None:
        """The source's length in seconds is known."""
        self._length = float(length or 0.0)

    def analysed(self, now: float, fraction: float, frames: int) -> None:
        """So much of the source was analysed."""
        self._analysed = max(self._analysed, fraction)
        self._analysis_rate.add(now, frames)
        self._analysing.add(now, self._analysed)

    def planned(self, seconds: float) -> None:
        """One more segment is to be made, of this length."""
        self._planned += seconds
        self._waiting.append(seconds)

    def begun(self, index: int, seconds: float) -> None:
        """A segment of this length is being made."""
        self._running[index] = _Making(seconds)
        with suppress(ValueError):
            self._waiting.remove(seconds)

    def made(self, now: float, index: int, fraction: float, frames: int) -> None:
        """So much of a segment was made."""
        making = self._running.get(index)
        if making is None:
            return
        # A segment that is encoded after all begins anew.
        making.fraction, making.frames = max(making.fraction, fraction), frames
        making.last = now
        making.frame_rate.add(now, frames)
        making.speed.add(now, making.done)
        self._advance(now)

    def ended(self, now: float, index: int, seconds: float, frames: int, *, counts: bool) -> None:
        """A segment is published or failed; not ``counts`` when it will be made again."""
        making = self._running.pop(index, None)
        if counts:
            self._made += seconds
            self._finished_frames += frames
            if making is not None:
                self._learn(now, making)
        else:
            self._waiting.appendleft(seconds)
        self._advance(now)

    def _learn(self, now: float, making: _Making) -> None:
        """How fast a segment went, and how long its end took, beyond what was still to be made by
        then."""
        speed = making.speed.per_second
        if speed > 0 and making.seconds > 0:
            silent = (now - making.last) * speed - (making.seconds - making.done)
            self._checked += making.seconds
            part = making.seconds / min(self._checked, _USUAL * making.seconds)
            self._check += (max(0.0, silent) / making.seconds - self._check) * part
            self._usual += (speed - self._usual) * part
            self._ended = min(_USUAL, self._ended + 1)

    def _advance(self, now: float) -> None:
        self._now = now
        self._making.add(now, self._done())
        running = sum(making.frames for making in self._running.values())
        self._frame_rate.add(now, self._finished_frames + running)

    def _done(self) -> float:
        """Seconds that are made."""
        return self._made + sum(making.done for making in self._running.values())

    def _to_make(self) -> float:
        """Seconds that are to be made in all, as far as is known."""
        if not self._renders:
            return 0.0
        # While shots are being found it is known already that they will cover the source.
        guess = self._tiles and not self.plan_complete
        return max(self._planned, self._length) if guess else self._planned

    def _percent(self) -> float:
        analysis = self._length * self._analysis_cost
        total = analysis + self._to_make()
        done = analysis * (1.0 if self.plan_complete else self._analysed) + self._done()
        return min(99.9, 100.0 * done / total) if total > 0 else 0.0

    def _time_left(self) -> float | None:
        if not (self.plan_complete or self._tiles) or self._length + self._planned <= 0:
            return None
        analysis = 0.0
        speed = self._analysing.per_second
        if not self.plan_complete:
            if speed <= 0:
                return None
            analysis = (1.0 - self._analysed) / speed
        left = max(0.0, self._to_make() - self._done())
        making = self._making.per_second
        if making > 0:
            analysis = max(analysis, self._making_left(left, making))
        elif left > 0:
            if self.plan_complete:
                return None
            # Nothing was made so far: as long as the costs say.
            analysis += left / (speed * self._length * self._analysis_cost) if self._length else 0.0
        return analysis if analysis < _LONGEST else None

    def _making_left(self, left: float, rate: float) -> float:
        """How long so many seconds take to make, of which ``rate`` are made in one."""
        moving = [item for item in self._running.values() if item.is_steady]
        if moving:
            speeds = [item.speed.per_second for item in moving] + [self._usual] * self._ended
            self._speed = sum(speeds) / len(speeds)
        speed = self._speed
        if not speed:
            return left / rate
        workers = max(1, len(moving), round(rate / speed))
        # Half its own speed and half that of all: which of them goes slowly for a while is chance,
        # and the time of the slowest alone would be too long nearly always.
        paces = [(item, (item.speed.per_second + speed) / 2) for item in moving]
        ends = [item.left(self._now, pace, self._check) for item, pace in paces]
        others = [i.seconds - i.done for i in self._running.values() if not i.is_steady]
        if len(others) + len(self._waiting) > _SHARED * workers:
            return max(left / rate, *ends, 0.0)
        # The last ones cannot be shared out evenly any more: as the workers will take them.
        ends += [0.0] * (workers - len(moving))
        heapq.heapify(ends)
        for seconds in (*others, *self._waiting):
            heapq.heapreplace(ends, ends[0] + seconds / speed * (1 + self._check))
        return max(ends)

    def progress(self, job: JobRecord) -> JobProgress:
        """The progress as it is told; the counts of segments are the record's."""
        self._floor = percent = max(self._floor, self._percent())
        return JobProgress(
            percent=percent,
            phase=JobPhase.CUTTING if self.plan_complete else JobPhase.ANALYSING,
            analysed_fraction=1.0 if self.plan_complete else self._analysed,
            analysis_frames_per_second=0.0
            if self.plan_complete
            else self._analysis_rate.per_second,
            frames_per_second=self._frame_rate.per_second,
            time_left=self._time_left(),
            segment_count=job.segment_count,
            published_count=job.published_count,
            failed_count=job.failed_count,
            plan_complete=self.plan_complete,
            running=[
                SegmentProgress(
                    index=index,
                    fraction=making.fraction,
                    frames_per_second=making.frame_rate.per_second,
                )
                for index, making in sorted(self._running.items())
            ],
        )
