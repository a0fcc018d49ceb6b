"""The curve of the scores, and where the picture changes, as inline SVG."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from html import escape
from math import ceil, isfinite
from typing import TextIO

from reelsplit_server.reports.figures import clock
from reelsplit_server.reports.findings import Findings, boundary_of, span_of

_WIDTH, _HEIGHT = 1200, 100
"""Units of a row's picture; a score more than each unit of width would not be seen."""
_ROW, _MOST_ROWS = 300.0, 16
"""Seconds of a row, and how many rows there are before they become longer."""


def write(found: Findings, file: TextIO) -> None:
    """Write one picture for each stretch of time, nothing where nothing was scored.

    Of the detector's columns the first is drawn, of the frames of one unit of width the highest:
    its size depends on the length of neither the video nor the list.
    """
    if not len(found.scores) or not found.scores.columns:
        return
    begin = top = end = None
    for end, score in _points(found):
        begin = end if begin is None else begin
        top = score if top is None else max(top, score)
    if begin is None or end is None or top is None:
        return
    top = top if top > 0 else 1.0
    times = [float(time) for segment in found.segments for time in span_of(segment)]
    begin, end = min(begin, *times), max(end, *times)
    rows = min(_MOST_ROWS, max(1, ceil((end - begin) / _ROW)))
    length = (end - begin) / rows or 1.0
    name = escape(next(iter(found.scores.columns)))
    file.write(
        f'<p class="key"><span>— {name}, up to {top:.4g}</span><span class="cut">| cut</span>'
        '<span class="soft">| gradual</span></p>\n'
    )
    changes = [
        (float(span_of(segment)[0]), change.end_frame > change.start_frame)
        for segment in found.segments
        if (change := boundary_of(segment)) is not None
    ]
    highest: list[dict[int, float]] = [{} for _ in range(rows)]
    for time, score in _points(found):
        row, place = _place(time, begin, length, rows)
        known = highest[row].get(place)
        highest[row][place] = score if known is None else max(known, score)
    lines: list[dict[bool, list[int]]] = [{False: [], True: []} for _ in range(rows)]
    for time, gradual in changes:
        row, place = _place(time, begin, length, rows)
        lines[row][gradual].append(place)
    for row in range(rows):
        file.write(f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" role="img">')
        for gradual, places in lines[row].items():
            if places:
                path = "".join(f"M{place} 0V{_HEIGHT}" for place in sorted(set(places)))
                file.write(f'<path class="{"soft" if gradual else "cut"}" d="{path}"/>')
        line = " ".join(
            f"{place} {_HEIGHT - round(max(0.0, score) / top * _HEIGHT, 1):g}"
            for place, score in sorted(highest[row].items())
        )
        if line:
            file.write(f'<path class="score" d="M{line}"/>')
        first, last = (clock(Fraction(begin + length * n)) for n in (row, row + 1))
        file.write(f'</svg>\n<p class="time"><span>{first}</span><span>{last}</span></p>\n')


def _points(found: Findings) -> Iterator[tuple[float, float]]:
    """Seconds and score of each frame that has one."""
    video = found.source.video
    base = float(video.time_base) if video is not None and video.time_base else 0.0
    zero, scores = found.zero, found.scores
    values = next(iter(scores.columns.values()))
    for pts, score in zip(scores.pts, values, strict=True):
        if isfinite(score):
            yield (pts - zero) * base, score


def _place(time: float, begin: float, length: float, rows: int) -> tuple[int, int]:
    row = min(rows - 1, max(0, int((time - begin) / length)))
    place = round((time - begin - row * length) / length * _WIDTH)
    return row, min(_WIDTH, max(0, place))
