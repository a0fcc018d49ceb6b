"""The segments as an edit decision list in the form of CMX 3600."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import TextIO

from reelsplit.types.segment import Segment, Transition, TransitionType
from reelsplit_server.reports.findings import (
    Findings,
    boundary_of,
    bounds_of,
    is_counted,
    span_of,
)
from reelsplit_server.reports.timecode import Timecodes

_REEL = 8
_LONGEST_DISSOLVE = 999


@dataclass(slots=True)
class _Event:
    """A line: frames [start, stop) of the source at ``record``, beginning with a dissolve of
    ``dissolve`` frames; all as timecodes count."""

    segment: Segment
    start: int
    stop: int
    record: int
    dissolve: int = 0


def write(found: Findings, file: TextIO) -> None:
    """Write one event for each segment, video only.

    Source times count from the source's first frame, whatever timecode it carries. Segments that
    follow each other are recorded where they lie in the source; a choice of the caller's is
    recorded piece after piece, from 0. Timecodes run at the source's rate, or at the usual one
    that fits it (see `Timecodes`), with dropped numbers at 29.97 and 59.94. A dissolve is a ``D``
    event that begins where the dissolve does: it mixes the source with itself, so it changes
    nothing in the picture, and tells where and how long it is. All other changes are cuts. A
    comment names the kind of each but a plain cut, its frames, and how sure that is.

    Left out, and said so, is what has no length or lies behind hour 99.
    """
    timecodes = found.timecodes
    events, lost = _events(found, timecodes)
    reel = _reel(found.name)
    file.write(f"TITLE: {_line(found.name)[:70]}\n")
    file.write(f"FCM: {'' if timecodes.drop else 'NON-'}DROP FRAME\n\n")
    for number, event in enumerate(events, 1):
        head = f"{number:03d}  {reel:<8} V     "
        start, record = event.start, event.record
        if event.dissolve:
            # The shot before has no more frames of its own here; it goes on under the dissolve.
            file.write(f"{head}C        {_times(timecodes, start, start, record)}\n")
            file.write(f"{head}D    {event.dissolve:03d} ")
        else:
            file.write(f"{head}C        ")
        file.write(f"{_times(timecodes, start, event.stop, record)}\n")
        file.write(f"* FROM CLIP NAME: {_line(found.name)}\n")
        if event.dissolve:
            file.write(f"* TO CLIP NAME: {_line(found.name)}\n")
        change = boundary_of(event.segment)
        if change is not None and (note := _note(change)):
            file.write(f"* {note}\n")
    if lost:
        file.write(f"\n* LEFT OUT: {lost} WITHOUT A TIMECODE OR SHORTER THAN A FRAME\n")


def _events(found: Findings, timecodes: Timecodes) -> tuple[list[_Event], int]:
    events: list[_Event] = []
    record = lost = 0
    for segment in found.segments:
        start, stop = map(timecodes.count, span_of(segment))
        at = record if found.is_edit else start
        if stop <= start or stop >= timecodes.most or at + stop - start >= timecodes.most:
            lost += 1
            continue
        event = _Event(segment, start, stop, at)
        if events and not found.is_edit:
            _dissolve(events[-1], event, found.rate, timecodes)
        events.append(event)
        record = at + stop - start
    return events, lost


def _dissolve(before: _Event, event: _Event, rate: Fraction | None, timecodes: Timecodes) -> None:
    """Let an event begin where its dissolve does, if it does with one that fits in."""
    change = event.segment.transition
    if change is None or change.type is not TransitionType.DISSOLVE:
        return
    if not rate or before.stop != event.start or not is_counted(event.segment):
        return
    scale = timecodes.rate / rate
    early = round((bounds_of(event.segment).start_frame - change.start_frame) * scale)
    length = round((change.end_frame - change.start_frame) * scale)
    begin = event.start - early
    whole = before.start + before.dissolve < begin and begin + length <= event.stop
    if early >= 0 and 0 < length <= _LONGEST_DISSOLVE and whole:
        before.stop = event.start = event.record = begin
        event.dissolve = length


def _times(timecodes: Timecodes, start: int, stop: int, record: int) -> str:
    counts = (start, stop, record, record + stop - start)
    return " ".join(timecodes.label(count) for count in counts)


def _note(change: Transition) -> str:
    if change.type is TransitionType.CUT:
        return ""
    sure = "" if change.confidence is None else f" CONFIDENCE {change.confidence:.2f}"
    frames = f"{change.start_frame}-{change.end_frame}"
    return f"TRANSITION {change.type.name} FRAMES {frames}{sure}"


def _reel(name: str) -> str:
    """Eight letters and digits, as tapes were called; ``AX`` stands for what is no tape."""
    stem = name.rpartition(".")[0] or name
    return re.sub(r"[^A-Z0-9]", "", stem.upper(), flags=re.ASCII)[:_REEL] or "AX"


def _line(text: str) -> str:
    # One line, whatever the name holds; `name` has no character that ends one but these.
    return " ".join(text.split())
