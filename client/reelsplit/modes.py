"""Short ways to say how a video is split. Times are seconds: int, float or Fraction."""

from __future__ import annotations

from typing import TypeAlias

from reelsplit.types.record import Seconds
from reelsplit.types.spec import (
    AdaptiveDetector,
    ContentDetector,
    CropRegion,
    FixedInterval,
    HashDetector,
    HistogramDetector,
    LongShotPolicy,
    ReelsplitDetector,
    ShotDetection,
    ThresholdDetector,
    TimeRange,
    TransitionPolicy,
    UserDefined,
)

Mode: TypeAlias = UserDefined | ShotDetection | FixedInterval
"""How the segments are found."""

Detector: TypeAlias = (
    ReelsplitDetector
    | AdaptiveDetector
    | ContentDetector
    | ThresholdDetector
    | HashDetector
    | HistogramDetector
)
"""What finds the shots."""


def ranges(*pairs: tuple[Seconds, Seconds], strict: bool = False) -> UserDefined:
    """Cut these ranges, each a pair of start and end, in this order; they may overlap.

    A range is half-open: a frame whose time is the end does not belong to it. Times count from
    the first presented frame. Ranges that overlap the end of the video are clipped, and those
    outside fail alone; ``strict`` fails both.
    """
    return UserDefined(
        ranges=tuple(TimeRange(start_offset=start, end_offset=end) for start, end in pairs),
        strict_ranges=strict,
    )


def every(interval: Seconds) -> FixedInterval:
    """Cut into pieces of this length; the last may be shorter."""
    return FixedInterval(interval=interval)


def shots(
    detector: Detector | None = None,
    *,
    min_shot: Seconds | None = None,
    max_shot: Seconds | None = None,
    long_shots: LongShotPolicy | None = None,
    transitions: TransitionPolicy | None = None,
    start: Seconds | None = None,
    end: Seconds | None = None,
    crop: CropRegion | None = None,
    downscale: int | None = None,
    skip_letterbox: bool | None = None,
) -> ShotDetection:
    """Cut at the shots of the video; what is left out takes the server's default, which the
    submitted job names.

    ``start`` and ``end`` bound the part that is analysed and cut at all.
    """
    return ShotDetection(
        detector=detector,
        transition_policy=transitions,
        min_shot_duration=min_shot,
        max_shot_duration=max_shot,
        long_shot_policy=long_shots,
        crop=crop,
        downscale=downscale,
        skip_letterbox=skip_letterbox,
        start_offset=start,
        end_offset=end,
    )
