"""The segments as CSV."""

from __future__ import annotations

import csv
from typing import TextIO

from reelsplit_server.reports.figures import clock, confidence, seconds
from reelsplit_server.reports.findings import (
    Findings,
    bounds_of,
    is_counted,
    span_of,
    transition_name,
)

COLUMNS = (
    "shot",
    "start_frame",
    "end_frame",
    "frames",
    "start_seconds",
    "end_seconds",
    "duration_seconds",
    "start",
    "end",
    "transition",
    "transition_start_frame",
    "transition_end_frame",
    "confidence",
)


def write(found: Findings, file: TextIO) -> None:
    """Write a line of names, and one for each segment.

    ``shot`` is the segment's index. Frames count from 0 in presentation order, times from the
    first of them, in seconds and as ``HH:MM:SS.mmm``; the end is the first frame, or time, behind
    it. ``transition`` and what follows say how the shot begins: its kind, the first frame that is
    no longer purely the shot before, the first that is purely this one, and 0 to 1. Empty is what
    is not known. No cell holds a text that the source or the caller made up: a spreadsheet could
    take it for a formula.
    """
    table = csv.writer(file)
    table.writerow(COLUMNS)
    for segment in found.segments:
        bounds, change = bounds_of(segment), segment.transition
        start, end = span_of(segment)
        first, stop = bounds.start_frame, bounds.end_frame
        table.writerow(
            (
                segment.index,
                *((first, stop, stop - first) if is_counted(segment) else ("", "", "")),
                seconds(start),
                seconds(end),
                seconds(end - start),
                clock(start),
                clock(end),
                transition_name(segment),
                *((change.start_frame, change.end_frame) if change is not None else ("", "")),
                confidence(change.confidence if change is not None else None),
            )
        )
