"""The unit that opens a source and finds its segments."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO

from reelsplit.types.error import Error
from reelsplit.types.job import SourceInfo
from reelsplit.types.segment import Notice, Segment, SegmentBounds
from reelsplit.types.spec import FixedInterval, JobSpec, ShotDetection, TimeRange, UserDefined
from reelsplit_server.media.container import most_pixels
from reelsplit_server.media.cues import SparseTimeline, read_cues
from reelsplit_server.media.errors import MediaError
from reelsplit_server.media.probe import SourceFacts, probe
from reelsplit_server.media.stages import stage
from reelsplit_server.media.timeline import Timeline, read_timeline
from reelsplit_server.storage.grants import FileGrant, SourceGrant
from reelsplit_server.storage.opening import check_readable, keeping
from reelsplit_server.work.channel import Channel
from reelsplit_server.work.detecting import damage, find
from reelsplit_server.work.reporting import Reporting
from reelsplit_server.work.sources import describe, opened
from reelsplit_server.work.units import Analyse, Opened, PlanDone, Planned

_BATCH = 200
"""Segments told at once, where they are all known together."""


def run(unit: Analyse, grant: SourceGrant, channel: Channel) -> None:
    """Tell the source, then the segments as soon as they are certain."""
    most_pixels.set(unit.most_pixels)
    with opened(grant, channel) as (file, pin):
        with keeping(file), stage("probe"):
            facts = probe(file)
        pixels = facts.video.width * facts.video.height
        if pixels > unit.most_pixels:
            raise MediaError(
                "SOURCE_TOO_LARGE",
                f"The picture is {facts.video.width}x{facts.video.height}, which is more than "
                f"the {unit.most_pixels:,} pixels that this server takes.",
                metadata={"limit": str(unit.most_pixels), "value": str(pixels)},
            )
        source = describe(facts, pin)
        channel.tell(Opened(source=source, pin=pin.text))
        reporting = Reporting(unit)
        if isinstance(unit.spec.mode, ShotDetection):
            done = _shots(unit, unit.spec.mode, file, facts, source, channel, reporting)
        else:
            remote = not isinstance(grant, FileGrant)
            timeline = _timeline(unit, file, facts, channel, remote=remote)
            done = _ranges(unit, file, source, timeline, channel, reporting)
        with stage("report"):
            reporting.publish(file, done.source, channel)
    channel.tell(done)


def _ranges(
    unit: Analyse,
    file: BinaryIO,
    source: SourceInfo,
    timeline: Timeline | SparseTimeline,
    channel: Channel,
    reporting: Reporting,
) -> PlanDone:
    if isinstance(timeline, Timeline):
        _check_clock(unit, restarts=timeline.restarts)
    batch: list[Segment] = []
    for segment in _segments(unit.spec, timeline):
        _check_count(segment.index, unit.most_segments)
        batch.append(segment)
        if len(batch) == _BATCH:
            _tell(file, batch, channel, reporting)
            batch = []
    if batch:
        _tell(file, batch, channel, reporting)
    if isinstance(timeline, SparseTimeline):
        length = timeline.known_end or source.duration
        return PlanDone(source=dataclasses.replace(source, duration=length))
    source = dataclasses.replace(source, duration=timeline.end, frame_count=timeline.frame_count)
    notices = []
    if timeline.truncated:
        notices.append(Notice(code="SOURCE_TRUNCATED", message=damage(timeline.detail)))
    elif timeline.damaged:
        notices.append(Notice(code="SOURCE_DAMAGED", message=damage(timeline.detail)))
    return PlanDone(source=source, notices=notices)


def _timeline(
    unit: Analyse, file: BinaryIO, facts: SourceFacts, channel: Channel, *, remote: bool
) -> Timeline | SparseTimeline:
    """The times of all frames, by the index where that tells enough.

    A local source of a job that makes nothing is passed over all the same: nobody else would
    see that it is damaged.
    """
    with keeping(file), stage("index"):
        sparse = None
        if remote and isinstance(unit.spec.mode, UserDefined):
            sparse = read_cues(file, threads=unit.threads)
        return sparse or read_timeline(
            file,
            lambda done: channel.progress(float(done), 0),
            threads=unit.threads,
            prefer_index=remote or unit.spec.output is not None,
            facts=facts,
        )


def _tell(file: BinaryIO, segments: list[Segment], channel: Channel, reporting: Reporting) -> None:
    # A source that cannot be read on seems to end there, and what was told stays.
    check_readable(file)
    channel.tell(Planned(segments=segments))
    reporting.add(segments)


def _segments(spec: JobSpec, timeline: Timeline | SparseTimeline) -> Iterator[Segment]:
    match spec.mode:
        case UserDefined(ranges=ranges, strict_ranges=strict):
            for index, wanted in enumerate(ranges):
                yield _range(index, wanted, timeline, strict=strict)
        case FixedInterval(interval=interval):
            assert isinstance(timeline, Timeline)
            step, index, start = Fraction(interval), 0, Fraction(0)
            while start < timeline.end:
                end = start + step
                # An interval in which no frame begins holds none, and is no segment.
                if timeline.span(start, end):
                    wanted = TimeRange(start_offset=start, end_offset=min(end, timeline.end))
                    yield _range(index, wanted, timeline, strict=False)
                    index += 1
                    start = end
                else:
                    # On to the interval of the next frame: pauses may be very long.
                    following = timeline.first_at(end)
                    if following == timeline.frame_count:
                        break
                    start = max(end, timeline.offset(following) // step * step)


def _range(
    index: int, wanted: TimeRange, timeline: Timeline | SparseTimeline, *, strict: bool
) -> Segment:
    start, end = Fraction(wanted.start_offset), Fraction(wanted.end_offset)
    segment = Segment(index=index, requested=wanted)
    if timeline.holds(start, end) is False:
        inside = start < timeline.end
        message = (
            f"No frame of the source begins in the range from {float(start):.3f} s to "
            f"{float(end):.3f} s: it is shorter than the frames there."
            if inside
            else f"The range begins at {float(start):.3f} s, at or behind the end of the source "
            f"at {float(timeline.end):.3f} s. Choose a range before that."
        )
        return _failed(segment, "RANGE_OUTSIDE_SOURCE", message, timeline)
    # Half a tick is forgiven here as everywhere: ends are often rounded up.
    if timeline.ends_before(end):
        length = f"{float(timeline.end):.3f} s"
        if strict:
            message = (
                f"The range ends at {float(end):.3f} s, behind the end of the source at {length}, "
                "and strict ranges were asked for."
            )
            return _failed(segment, "RANGE_OVERLAPS_END", message, timeline)
        message = f"The range was clipped to the end of the source at {length}."
        notice = Notice(code="RANGE_CLIPPED", message=message)
        segment = dataclasses.replace(segment, notices=(notice,))
        end = timeline.end
    if isinstance(timeline, SparseTimeline):
        # Which frames these are is known when they have been read.
        bounds = SegmentBounds(start_offset=start, end_offset=end, time_base=timeline.time_base)
        return dataclasses.replace(segment, bounds=bounds)
    span = timeline.span(start, end)
    origin = int(timeline.pts[0])
    base = timeline.time_base
    bounds = SegmentBounds(
        start_offset=timeline.offset(span.start),
        end_offset=timeline.offset(span.stop),
        start_frame=span.start,
        end_frame=span.stop,
        start_pts=int(timeline.pts[span.start]),
        end_pts=origin + round(timeline.offset(span.stop) / base),
        time_base=base,
    )
    return dataclasses.replace(segment, bounds=bounds)


def _failed(
    segment: Segment, reason: str, message: str, timeline: Timeline | SparseTimeline
) -> Segment:
    metadata = {"source_duration": str(float(timeline.end))}
    error = Error(reason=reason, message=message, metadata=metadata)
    return dataclasses.replace(segment, error=error)


def _shots(
    unit: Analyse,
    mode: ShotDetection,
    file: BinaryIO,
    facts: SourceFacts,
    source: SourceInfo,
    channel: Channel,
    reporting: Reporting,
) -> PlanDone:
    def tell(segment: Segment) -> None:
        _check_count(segment.index, unit.most_segments)
        _tell(file, [segment], channel, reporting)

    with stage("detect"):
        done, restarts = find(unit, mode, file, facts, source, channel, reporting, tell)
    _check_clock(unit, restarts=restarts)
    return done


def _check_count(index: int, most: int) -> None:
    if index >= most:
        raise MediaError(
            "TOO_MANY_SEGMENTS",
            f"The job would have more than the {most:,} segments that this server takes. Choose "
            "longer intervals, a longer shortest shot, or fewer ranges.",
            metadata={"limit": str(most)},
        )


def _check_clock(unit: Analyse, *, restarts: bool) -> None:
    """Where one time leads to two places, a cut could hold the wrong one and not know it."""
    if restarts and unit.spec.output is not None:
        raise MediaError(
            "SOURCE_DAMAGED",
            "The source's clock starts over in the middle, as in files that were joined end to "
            "end, so it cannot be cut by times. Give it one clock first: "
            "ffmpeg -i SOURCE -map 0 -c copy REPAIRED.mkv",
            metadata={"detail": "presentation times fall back by a second and more"},
        )
