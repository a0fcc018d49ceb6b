"""The shots of a stretch of video: from the borders between them, as these become certain."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from itertools import pairwise
from math import ceil


class Transition(StrEnum):
    """How a shot begins."""

    START = "start"
    """The analysed part of the source begins here."""
    CUT = "cut"
    """The detector saw a new shot."""
    DISSOLVE = "dissolve"
    FADE_BLACK = "fade_black"
    FADE_WHITE = "fade_white"
    WIPE = "wipe"
    """Also an iris or a push."""
    SPLIT = "split"
    """The shot before reached the longest that was allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """Frames [start_frame, end_frame), presented during [start, end)."""

    start_frame: int
    """Counted from 0 over all presented frames of the source."""
    end_frame: int
    start: Fraction
    """Seconds from the source's first presented frame."""
    end: Fraction
    start_pts: int
    """Ticks: the presentation time of `start_frame` in the source."""
    end_pts: int
    """Ticks: that of `end_frame`, or where the last frame ends."""
    transition: Transition
    transition_start: int
    """The first frame that is not purely the shot before, counted as `start_frame`."""
    transition_end: int
    """The first frame that is purely this shot; `transition_start` where nothing is gradual."""
    confidence: float | None
    """0 to 1, or None where the detector gives none, as PySceneDetect's do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How the next shot begins; frames are numbered as they were added, from 0."""

    transition: Transition
    start: int
    end: int
    """As `Shot.transition_start` and `transition_end`."""
    confidence: float | None = None


class Tiling:
    """Turns borders into shots, and splits those that are too long."""

    def __init__(
        self,
        base: Fraction,
        first_pts: int,
        first_frame: int,
        max_shot: Fraction | None,
        on_shot: Callable[[Shot], None],
    ) -> None:
        self._base, self._first_pts, self._first_frame = base, first_pts, first_frame
        # Forgiving half a tick, as everywhere.
        self._max_ticks = None if max_shot is None else max_shot / base + Fraction(1, 2)
        self._on_shot = on_shot
        self._pts = array("q")
        self._start = 0
        self._change = Change(transition=Transition.START, start=0, end=0)
        self.shot_count = 0

    @property
    def frame_count(self) -> int:
        return len(self._pts)

    def add(self, pts: int) -> None:
        """The next frame is shown at this tick."""
        self._pts.append(pts)

    def time_of(self, number: int) -> int:
        """When the frame is shown that was added as `number`, counted from 0: ticks."""
        return self._pts[number]

    def cut(self, number: int) -> None:
        """A new shot begins at the frame that was added as `number`, counted from 0."""
        change = Change(transition=Transition.CUT, start=number, end=number)
        # A fade at the very start asks for a shot of no frames.
        if number > self._start:
            self.border(number, number, change)

    def border(self, out: int, into: int, change: Change) -> None:
        """A shot ends before the frame `out`, and the next begins with the frame `into`, not
        before that. A shot of no frames is none."""
        if out > self._start:
            self._close(out, self._pts[out])
        self._start, self._change = into, change

    def finish(self, end_pts: int) -> None:
        """The last frame that was added ends at this tick."""
        if len(self._pts) > self._start:
            self._close(len(self._pts), end_pts)

    def _close(self, end: int, end_pts: int) -> None:
        for start, stop in self._parts(self._start, end, end_pts):
            self._tell(start, stop, self._pts[stop] if stop < end else end_pts)
            self._change = Change(transition=Transition.SPLIT, start=stop, end=stop)

    def _parts(self, start: int, end: int, end_pts: int) -> Iterator[tuple[int, int]]:
        """The shot's frames in the fewest parts of equal time of which none is too long."""
        begin = self._pts[start]
        length = end_pts - begin
        parts = 1
        if self._max_ticks is not None and length > self._max_ticks:
            # No part is without a frame, however long frames are shown.
            parts = min(ceil(length / self._max_ticks), end - start)
            # Borders fall on frames, which may make a part longer by most of one.
            while parts < end - start and self._too_long(start, end, end_pts, parts):
                parts += 1
        borders = self._borders(start, end, length, parts)
        yield from pairwise(borders)

    def _too_long(self, start: int, end: int, end_pts: int, parts: int) -> bool:
        """Whether a part is too long."""
        assert self._max_ticks is not None
        borders = self._borders(start, end, end_pts - self._pts[start], parts)
        times = [self._pts[border] for border in borders[:-1]] + [end_pts]
        return max(b - a for a, b in pairwise(times)) > self._max_ticks

    def _borders(self, start: int, end: int, length: int, parts: int) -> list[int]:
        begin = self._pts[start]
        borders = [start]
        for part in range(1, parts):
            tick = begin + ceil(Fraction(length * part, parts) - Fraction(1, 2))
            border = bisect_left(self._pts, tick, start, end)
            if borders[-1] < border < end:
                borders.append(border)
        return [*borders, end]

    def _tell(self, start: int, end: int, end_pts: int) -> None:
        start_pts = self._pts[start]
        self.shot_count += 1
        self._on_shot(
            Shot(
                start_frame=self._first_frame + start,
                end_frame=self._first_frame + end,
                start=(start_pts - self._first_pts) * self._base,
                end=(end_pts - self._first_pts) * self._base,
                start_pts=start_pts,
                end_pts=end_pts,
                transition=self._change.transition,
                transition_start=self._first_frame + self._change.start,
                transition_end=self._first_frame + self._change.end,
                confidence=self._change.confidence,
            )
        )
