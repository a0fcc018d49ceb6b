from __future__ import annotations

from fractions import Fraction

from reelsplit import (
    AdaptiveDetector,
    CropRegion,
    FixedInterval,
    LongShotPolicy,
    ShotDetection,
    TimeRange,
    TransitionPolicy,
    UserDefined,
    every,
    ranges,
    shots,
)


def test_ranges_keep_their_order() -> None:
    assert ranges((5, 7.5), (0, Fraction(1, 2))) == UserDefined(
        ranges=(
            TimeRange(start_offset=5, end_offset=7.5),
            TimeRange(start_offset=0, end_offset=0.5),
        )
    )
    assert ranges((0, 1), strict=True).strict_ranges


def test_every() -> None:
    assert every(60) == FixedInterval(interval=60)


def test_shots_leave_out_what_is_left_out() -> None:
    assert shots() == ShotDetection()


def test_shots_take_every_setting() -> None:
    crop = CropRegion(x=0, y=0, width=16, height=16)
    made = shots(
        AdaptiveDetector(threshold=2.5),
        min_shot=0.5,
        max_shot=60,
        long_shots=LongShotPolicy.LEAVE,
        transitions=TransitionPolicy.DROP,
        start=1,
        end=100,
        crop=crop,
        downscale=2,
        skip_letterbox=True,
    )
    assert made == ShotDetection(
        detector=AdaptiveDetector(threshold=2.5),
        transition_policy=TransitionPolicy.DROP,
        min_shot_duration=0.5,
        max_shot_duration=60,
        long_shot_policy=LongShotPolicy.LEAVE,
        crop=crop,
        downscale=2,
        skip_letterbox=True,
        start_offset=1,
        end_offset=100,
    )
