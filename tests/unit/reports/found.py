"""What a job found, made up."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TextIO

from reelsplit.types.job import SourceInfo, VideoInfo
from reelsplit.types.segment import Segment, SegmentBounds, Transition, TransitionType
from reelsplit_server.reports.findings import Findings, Scores

BASE = Fraction(1, 90_000)


def segment(
    index: int,
    frames: tuple[int, int],
    rate: Fraction = Fraction(25),
    transition: Transition | None = None,
) -> Segment:
    """A segment of a steady source, whose first frame is at tick 1,000."""
    start, end = (Fraction(frame) / rate for frame in frames)
    return Segment(
        index=index,
        bounds=SegmentBounds(
            start_offset=start,
            end_offset=end,
            start_frame=frames[0],
            end_frame=frames[1],
            start_pts=1000 + round(start / BASE),
            end_pts=1000 + round(end / BASE),
            time_base=BASE,
        ),
        transition=transition,
    )


def cut(frame: int, kind: TransitionType = TransitionType.CUT, until: int = 0) -> Transition:
    """A change at a frame, or from it on."""
    return Transition(type=kind, start_frame=frame, end_frame=max(frame, until), confidence=0.9375)


def findings(
    segments: Sequence[Segment] | None = None,
    *,
    rate: Fraction = Fraction(25),
    uri: str = "/films/A film.mp4",
    scores: Scores | None = None,
) -> Findings:
    """Three shots: a cut at frame 50, and a dissolve from 90 to 110 whose middle is the border."""
    if segments is None:
        start = Transition(type=TransitionType.START, start_frame=0, end_frame=0)
        segments = (
            segment(0, (0, 50), rate, start),
            segment(1, (50, 100), rate, cut(50)),
            segment(2, (100, 200), rate, cut(90, TransitionType.DISSOLVE, 110)),
        )
    end = segments[-1].bounds.end_offset if segments and segments[-1].bounds else 8
    return Findings(
        uri=uri,
        source=SourceInfo(
            container="mp4",
            duration=end,
            frame_count=200,
            video=VideoInfo(
                codec="h264", width=640, height=360, frame_rate=rate, time_base=BASE, start_pts=1000
            ),
        ),
        method="shots by our own detector",
        segments=segments,
        scores=scores or Scores(),
    )


def text(write: Callable[[Findings, TextIO], None], found: Findings) -> str:
    """What a writer writes."""
    file = io.StringIO(newline="")
    write(found, file)
    return file.getvalue()


def renamed(found: Findings, name: str) -> Findings:
    """The same of a source with another name."""
    return dataclasses.replace(found, uri=f"/films/{name}")
