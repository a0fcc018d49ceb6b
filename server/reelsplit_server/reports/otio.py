"""The segments as an OpenTimelineIO timeline."""

from __future__ import annotations

from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any, TextIO

from reelsplit.types.segment import Segment
from reelsplit_server.reports.findings import (
    Findings,
    boundary_of,
    bounds_of,
    is_counted,
    span_of,
    transition_name,
)


def write(found: Findings, file: TextIO) -> None:
    """Write one video track with a clip for each segment, in the library's own JSON.

    A clip's source range counts from the source's first frame at the source's rate, or at the
    usual one that fits it (see `Timecodes`); its media reference is the source. Times between
    segments that follow each other are gaps. How a clip begins is a marker on it that spans the
    change of picture, except for a beginning and a plain cut; that, and the exact frames, stand in
    its metadata under ``reelsplit``: ``index``, ``start_frame``, ``end_frame``, ``transition``,
    ``transition_start_frame``, ``transition_end_frame``, ``confidence``.
    """
    # Loaded by the jobs that write one alone.
    import opentimelineio as otio

    timecodes = found.timecodes
    rate = float(timecodes.rate)

    def span(start: int, stop: int) -> Any:
        time = otio.opentime.RationalTime
        return otio.opentime.TimeRange(time(start, rate), time(stop - start, rate))

    whole = timecodes.count(Fraction(found.source.duration or 0))
    # Each clip gets a copy of its own.
    reference = otio.schema.ExternalReference(
        target_url=_url(found.uri), available_range=span(0, whole) if whole else None
    )
    track = otio.schema.Track(name="V1", kind=otio.schema.TrackKind.Video)
    reached: int | None = None
    for segment in found.segments:
        start, stop = map(timecodes.count, span_of(segment))
        if stop <= start:
            continue
        if not found.is_edit and reached is not None and start > reached:
            track.append(otio.schema.Gap(source_range=span(0, start - reached)))
        reached = stop
        clip = otio.schema.Clip(
            name=f"{found.name} {segment.index}",
            media_reference=reference.deepcopy(),
            source_range=span(start, stop),
            metadata={"reelsplit": _metadata(segment)},
        )
        change = boundary_of(segment)
        if change is not None and change.end_frame > change.start_frame and found.rate:
            scale = timecodes.rate / found.rate
            early = round((bounds_of(segment).start_frame - change.start_frame) * scale)
            length = round((change.end_frame - change.start_frame) * scale)
            clip.markers.append(
                otio.schema.Marker(
                    name=transition_name(segment),
                    marked_range=span(start - early, start - early + length),
                    color=otio.schema.MarkerColor.PURPLE,
                )
            )
        track.append(clip)
    timeline = otio.schema.Timeline(
        name=found.name,
        tracks=[track],
        metadata={"reelsplit": {"method": found.method, "source": found.uri}},
    )
    if not found.is_edit and found.segments:
        start = timecodes.count(span_of(found.segments[0])[0])
        timeline.global_start_time = otio.opentime.RationalTime(start, rate)
    file.write(timeline.to_json_string())
    file.write("\n")


def _metadata(segment: Segment) -> dict[str, Any]:
    bounds, change = bounds_of(segment), segment.transition
    facts: dict[str, Any] = {"index": segment.index}
    if is_counted(segment):
        facts |= {"start_frame": bounds.start_frame, "end_frame": bounds.end_frame}
    if change is not None:
        facts |= {
            "transition": transition_name(segment),
            "transition_start_frame": change.start_frame,
            "transition_end_frame": change.end_frame,
        }
        if change.confidence is not None:
            facts["confidence"] = change.confidence
    return facts


def _url(uri: str) -> str:
    """Editing programs want a URL of files, too."""
    return PurePosixPath(uri).as_uri() if uri.startswith("/") else uri
