"""When each output frame is shown: the source's own times, or a new constant rate."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from reelsplit_server.media.span import Span

_FINEST = 1_000_000_000
#: Frames a second.
_HIGHEST = 1000
#: The part of a rate by which a container may miss it.
_ROUNDING = Fraction(1, 50_000)
#: By how much slower the rates of NTSC are than whole ones.
_NTSC = Fraction(1001, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """A frame with its place in the output, in ticks of the cadence's `time_base`."""

    frame: VideoFrame
    slot: int
    """Its number on the grid of `rate`: what the encoder is told, and strictly increasing."""
    time: int
    duration: int


class Cadence(Protocol):
    time_base: Fraction
    """Seconds in a tick of the output's video stream."""
    rate: Fraction
    """Nominal frames a second."""

    def push(self, frame: VideoFrame) -> Iterator[Timed]:
        """Take the next frame; give those whose duration is now known."""

    def finish(self, end: Fraction) -> Iterator[Timed]:
        """Give the rest; `end` is when the last frame ends, in seconds after the first."""


def nominal_rate(stream: VideoStream) -> Fraction:
    """Frames a second that fit the stream best: never None, never absurd."""
    for rate in (stream.guessed_rate, stream.average_rate, stream.base_rate):
        if rate and 0 < rate <= _HIGHEST:
            # Matroska counts whole nanoseconds a frame, which are never those of 59.94.
            usual = (Fraction(round(rate)), Fraction(round(rate * _NTSC)) / _NTSC)
            return next((one for one in usual if abs(one / rate - 1) < _ROUNDING), Fraction(rate))
    return Fraction(25)


class OwnTimes:
    """Every frame at its own time after the first.

    Times that lie within a tick of the nominal rate's grid are put on it: Matroska counts in
    milliseconds, and 42, 41, 42 should leave as 24 frames a second.
    """

    def __init__(self, span: Span, rate: Fraction) -> None:
        self.rate = rate
        self._tick = span.time_base
        both = math.lcm(span.time_base.denominator, rate.numerator)
        self._snaps = both <= _FINEST and rate * span.time_base * 3 < 1
        self.time_base = Fraction(1, both if self._snaps else span.time_base.denominator)
        # One tick of the source is `slots / per` frames, and `ticks / parts` of `time_base`.
        frames, scale = span.time_base * rate, span.time_base / self.time_base
        self._slots, self._per = frames.numerator, frames.denominator
        self._ticks, self._parts = scale.numerator, scale.denominator
        self._slot_ticks = round(1 / (rate * self.time_base))
        self._first: int | None = None
        self._held: tuple[VideoFrame, int] | None = None
        self._slot = -1

    def push(self, frame: VideoFrame) -> Iterator[Timed]:
        pts = frame.pts
        assert pts is not None
        if self._first is None:
            self._first = pts
        time = self.ticks(pts - self._first)
        if self._held is not None:
            # Two frames of a damaged source may lie at one place of the grid.
            time = max(time, self._held[1] + 1)
            yield self._timed(time)
        self._held = (frame, time)

    def finish(self, end: Fraction) -> Iterator[Timed]:
        if self._held is not None:
            yield self._timed(max(self._held[1] + 1, self.ticks(round(end / self._tick))))
            self._held = None

    def _timed(self, following: int) -> Timed:
        assert self._held is not None
        frame, time = self._held
        self._slot = max(self._slot + 1, round(time * self.time_base * self.rate))
        return Timed(frame=frame, slot=self._slot, time=time, duration=following - time)

    def ticks(self, time: int) -> int:
        """Ticks of the source after the first frame, in ticks of `time_base`, put on the grid
        where near. In whole numbers, as this is called for every packet."""
        if self._snaps:
            slot = _divided(time * self._slots, self._per)
            if abs(slot * self._per - time * self._slots) <= self._slots:
                return slot * self._slot_ticks
        return _divided(time * self._ticks, self._parts)


def _divided(number: int, by: int) -> int:
    """To the nearest whole."""
    return (2 * number + by) // (2 * by)


class NewRate:
    """A constant rate: each output frame shows what the source shows at that moment."""

    def __init__(self, span: Span, rate: Fraction) -> None:
        self.rate = rate
        self.time_base = 1 / rate
        self._tick = span.time_base
        self._first: int | None = None
        self._held: VideoFrame | None = None
        self._slot = 0

    def push(self, frame: VideoFrame) -> Iterator[Timed]:
        pts = frame.pts
        assert pts is not None
        if self._first is None:
            self._first = pts
        yield from self._until((pts - self._first) * self._tick)
        self._held = frame

    def finish(self, end: Fraction) -> Iterator[Timed]:
        yield from self._until(max(end, Fraction(1, 1000)))
        self._held = None

    def _until(self, time: Fraction) -> Iterator[Timed]:
        # Half a tick is forgiven, as everywhere: 41 ms is 1/24 s.
        stop = time * self.rate - self._tick * self.rate / 2
        while self._held is not None and self._slot < stop:
            yield Timed(frame=self._held, slot=self._slot, time=self._slot, duration=1)
            self._slot += 1
