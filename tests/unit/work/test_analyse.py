"""Which frames a segment gets, and what is said of ranges that do not fit."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from reelsplit import every, ranges, shots
from reelsplit.types.output import Output
from reelsplit.types.segment import Segment
from reelsplit.types.spec import FixedInterval, Input, JobSpec, UserDefined
from reelsplit_server.app.resolution import resolve
from reelsplit_server.media.errors import MediaError
from reelsplit_server.media.timeline import Timeline
from reelsplit_server.storage.grants import FileGrant
from reelsplit_server.work.analyse import _segments, run
from reelsplit_server.work.channel import Channel
from reelsplit_server.work.units import Analyse, PlanDone, Planned
from tests.clips import make_clip
from tests.unit.app.specs import BOUNDS

TICK = Fraction(1, 12_800)


def timeline(times: list[Fraction], last: Fraction) -> Timeline:
    pts = np.array([int(time / TICK) + 1000 for time in times], dtype=np.int64)
    return Timeline(time_base=TICK, pts=pts, last_duration=int(last / TICK))


STEADY = timeline([Fraction(n, 25) for n in range(100)], Fraction(1, 25))
"""Four seconds at 25 frames a second, which begin at tick 1,000."""


def plan(mode: UserDefined | FixedInterval, source: Timeline = STEADY) -> list[Segment]:
    return list(_segments(JobSpec(input=Input(uri="/x"), mode=mode), source))


def frames(segment: Segment) -> tuple[int, int]:
    assert segment.bounds is not None
    return segment.bounds.start_frame, segment.bounds.end_frame


def test_a_range_is_half_open() -> None:
    (segment,) = plan(ranges((1, 2)))
    assert frames(segment) == (25, 50)
    assert segment.bounds is not None
    assert (segment.bounds.start_offset, segment.bounds.end_offset) == (1, 2)
    assert (segment.bounds.start_pts, segment.bounds.end_pts) == (13_800, 26_600)


@pytest.mark.parametrize("slip", [Fraction(-1, 10**9), 0, Fraction(1, 10**9)])
def test_half_a_tick_is_forgiven_at_both_ends(slip: Fraction) -> None:
    (segment,) = plan(ranges((Fraction(1, 25) + slip, Fraction(2, 25) + slip)))
    assert frames(segment) == (1, 2)


def test_ranges_keep_their_order_and_may_overlap() -> None:
    assert [frames(segment) for segment in plan(ranges((2, 3), (0, 1), (0.5, 2.5)))] == [
        (50, 75),
        (0, 25),
        (13, 63),
    ]


def test_a_range_over_the_end_is_clipped_and_says_so() -> None:
    (segment,) = plan(ranges((3, 9)))
    assert frames(segment) == (75, 100)
    assert [notice.code for notice in segment.notices] == ["RANGE_CLIPPED"]
    (whole,) = plan(ranges((3, 4)))
    assert whole.notices == ()


def test_a_range_outside_fails_alone() -> None:
    outside, inside = plan(ranges((4, 5), (0, 1)))
    assert outside.error is not None
    assert outside.error.reason == "RANGE_OUTSIDE_SOURCE"
    assert inside.error is None


def test_strict_ranges_fail_both() -> None:
    reasons = [
        segment.error and segment.error.reason
        for segment in plan(ranges((3, 9), (4, 5), (0, 1), strict=True))
    ]
    assert reasons == ["RANGE_OVERLAPS_END", "RANGE_OUTSIDE_SOURCE", None]


def test_intervals_tile_the_source() -> None:
    assert [frames(segment) for segment in plan(every(1.5))] == [(0, 38), (38, 75), (75, 100)]


def test_intervals_without_a_frame_are_no_segments_however_many_they_are() -> None:
    source = timeline([Fraction(0), Fraction(90_000_000), Fraction(90_000_001)], Fraction(1))
    assert [frames(segment) for segment in plan(every(0.1), source)] == [(0, 1), (1, 2), (2, 3)]


# --- The whole unit ---------------------------------------------------------------------------


class Heard(list[Any]):
    """What a unit tells, instead of a connection to the server."""

    def tell(self, report: Any) -> None:
        self.append(report)

    def progress(self, fraction: float, frames: int) -> None:
        pass


def analyse(path: Path, mode: Any, *, renders: bool) -> tuple[list[Segment], PlanDone]:
    unit = Analyse(
        job_id="1",
        spec=resolve(
            JobSpec(
                input=Input(uri=str(path)),
                mode=mode,
                output=Output(uri_template="/o/{index}.mp4") if renders else None,
            ),
            BOUNDS,
        ),
        pin=None,
        folder=path.parent,
        threads=1,
        most_segments=100,
        most_pixels=10**7,
    )
    heard = Heard()
    run(unit, FileGrant(path=str(path), roots=(str(path.parent),)), cast(Channel, heard))
    planned = [segment for told in heard if isinstance(told, Planned) for segment in told.segments]
    assert isinstance(heard[-1], PlanDone)
    return planned, heard[-1]


@pytest.mark.parametrize(
    "mode", [every(1), ranges((0, 1)), shots()], ids=["every", "ranges", "shots"]
)
def test_a_source_whose_clock_starts_over_is_not_cut(tmp_path: Path, mode: Any) -> None:
    path = tmp_path / "clip.ts"
    make_clip(path, frames=48)
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(MediaError, match="starts over") as caught:
        analyse(path, mode, renders=True)
    assert caught.value.reason == "SOURCE_DAMAGED"
    _, done = analyse(path, mode, renders=False)
    assert done.source.frame_count == 96
    assert [notice.code for notice in done.notices] == ["SOURCE_DAMAGED"]


def test_a_local_source_is_planned_by_its_index(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    make_clip(path, frames=60, gop=12, container_options={"movflags": "faststart"})
    data = bytearray(path.read_bytes())
    # Zeros where the last groups are: what only a pass over the packets sees.
    data[-4000:] = bytes(4000)
    path.write_bytes(data)
    planned, done = analyse(path, every(1), renders=True)
    assert [frames(segment) for segment in planned] == [(0, 24), (24, 48), (48, 60)]
    assert (done.source.frame_count, done.source.duration) == (60, Fraction(5, 2))
    _, passed = analyse(path, every(1), renders=False)
    assert [notice.code for notice in passed.notices] == ["SOURCE_DAMAGED"]
