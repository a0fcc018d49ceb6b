"""The score of each frame as CSV."""

from __future__ import annotations

import csv
from math import isnan
from typing import TextIO

from reelsplit_server.reports.figures import seconds
from reelsplit_server.reports.findings import Findings


def write(found: Findings, file: TextIO) -> None:
    """Write a line of names, and one for each frame that was looked at.

    ``frame`` counts from 0 over all presented frames, ``seconds`` from the first of them. The other
    columns are the detector's: ``score`` of our own, the change from the frame before, near 0 in a
    calm shot and 1 and more at a clear cut; and those of PySceneDetect's statistics, by its names
    (``content_val``, ``adaptive_ratio`` …). Empty is what a detector does not say of a frame.
    """
    scores, zero = found.scores, found.zero
    video = found.source.video
    base = video.time_base if video is not None else None
    table = csv.writer(file)
    table.writerow(("frame", "seconds", *map(_named, scores.columns)))
    columns = list(scores.columns.values())
    for place, (frame, pts) in enumerate(zip(scores.frames, scores.pts, strict=True)):
        time = seconds((pts - zero) * base) if base else ""
        table.writerow((frame, time, *(_cell(column[place]) for column in columns)))


def _named(column: str) -> str:
    # What a cell begins with decides whether a spreadsheet takes it for a formula.
    return column.lstrip("=+-@\t\r ")


def _cell(value: float) -> str:
    return "" if isnan(value) else f"{value:.6g}"
