"""The segments as JSON."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any, TextIO

from reelsplit.types.segment import Segment
from reelsplit_server.reports.figures import duration
from reelsplit_server.reports.findings import (
    Findings,
    bounds_of,
    is_counted,
    span_of,
    transition_name,
)


def write(found: Findings, file: TextIO) -> None:
    """Write ``{"source": {…}, "method": "…", "shots": [{…}, …]}``, one shot a line.

    A shot has ``index``, ``startFrame`` and ``endFrame`` (counted from 0 in presentation order,
    the end is the first frame behind it), ``startOffset`` and ``endOffset`` (seconds from the
    source's first frame, as ``"12.345s"``), ``startPts`` and ``endPts`` (ticks of
    ``source.timeBase``), and of shots that were detected ``transition``, ``transitionStartFrame``,
    ``transitionEndFrame`` and ``confidence``, all of how it begins. What is not known is null.
    """
    head = {"source": _source(found), "method": found.method}
    file.write(json.dumps(head, ensure_ascii=True)[:-1] + ', "shots": [')
    for place, segment in enumerate(found.segments):
        file.write(",\n" if place else "\n")
        file.write(json.dumps(_shot(segment), ensure_ascii=True))
    file.write("\n]}\n")


def _source(found: Findings) -> dict[str, Any]:
    source, video = found.source, found.source.video
    return {
        "uri": found.uri,
        "duration": duration(Fraction(source.duration or 0)),
        "frameCount": source.frame_count or None,
        "width": video.width if video is not None else None,
        "height": video.height if video is not None else None,
        "frameRate": _ratio(video.frame_rate if video is not None else None),
        "timeBase": _ratio(video.time_base if video is not None else None),
    }


def _shot(segment: Segment) -> dict[str, Any]:
    bounds, change = bounds_of(segment), segment.transition
    start, end = span_of(segment)
    counted = is_counted(segment)
    return {
        "index": segment.index,
        "startFrame": bounds.start_frame if counted else None,
        "endFrame": bounds.end_frame if counted else None,
        "startOffset": duration(start),
        "endOffset": duration(end),
        "startPts": bounds.start_pts if counted else None,
        "endPts": bounds.end_pts if counted else None,
        "transition": transition_name(segment) or None,
        "transitionStartFrame": change.start_frame if change is not None else None,
        "transitionEndFrame": change.end_frame if change is not None else None,
        "confidence": change.confidence if change is not None else None,
    }


def _ratio(value: Fraction | None) -> str | None:
    return None if value is None else f"{value.numerator}/{value.denominator}"
