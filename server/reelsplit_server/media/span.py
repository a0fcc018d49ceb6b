"""The wanted stretch of a source, on its video stream's own clock, in whole ticks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from reelsplit_server.media.errors import MediaError


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Half-open: a frame belongs if low <= pts < high. Half a tick is forgiven at both ends."""

    origin: int
    """Ticks: the presentation time of t = 0."""
    time_base: Fraction
    """Seconds in a tick."""
    start: Fraction
    """This and `end`: seconds from t = 0, as asked for. End None: to the source's end."""
    end: Fraction | None
    low: int
    high: int | None

    @classmethod
    def of(cls, *, start: Fraction, end: Fraction | None, origin: int, time_base: Fraction) -> Span:
        def tick(time: Fraction) -> int:
            return origin + math.ceil(time / time_base - Fraction(1, 2))

        return cls(
            origin=origin,
            time_base=time_base,
            start=start,
            end=end,
            low=tick(start),
            high=None if end is None else tick(end),
        )

    def offset(self, pts: int) -> Fraction:
        """Seconds from t = 0."""
        return (pts - self.origin) * self.time_base

    def __str__(self) -> str:
        until = "its end" if self.end is None else f"{float(self.end):.3f} s"
        return f"{float(self.start):.3f} s to {until}"

    def empty(self, beyond: int | None) -> MediaError:
        """The error where the source shows no frame in it. `beyond`: ticks of the next one."""
        if beyond is None:
            told = f"The source's video ends before the range from {self}."
        else:
            told = (
                f"The source shows no new frame from {self}; the next one comes at "
                f"{float(self.offset(beyond)):.3f} s."
            )
        return MediaError("RANGE_OUTSIDE_SOURCE", told)

    def ends_before(self, pts: int) -> bool:
        return self.high is not None and pts >= self.high

    @property
    def zero(self) -> Fraction:
        """Seconds on the source's own clock at t = 0: what other streams' times are less by."""
        return self.origin * self.time_base
