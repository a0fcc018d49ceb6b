"""Writing one segment of a source into a file."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO

from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame

from reelsplit_server.media.container import open_source, video_stream
from reelsplit_server.media.decoding import time_base
from reelsplit_server.media.errors import MediaError
from reelsplit_server.media.keyframe import copy_between_keys
from reelsplit_server.media.others import PREROLL, PREROLL_OF_CUES, early_packets
from reelsplit_server.media.output import Output
from reelsplit_server.media.plan import (
    Action,
    AudioMode,
    AudioSettings,
    CutMode,
    RenderPlan,
    RenderResult,
    StreamKind,
    StreamOutcome,
    VideoSettings,
)
from reelsplit_server.media.probe import first_frame
from reelsplit_server.media.reader import Reader
from reelsplit_server.media.span import Span
from reelsplit_server.media.tracks import Tracks, kept, plan_others
from reelsplit_server.media.video import VideoWriter

__all__ = [
    "Action",
    "AudioMode",
    "AudioSettings",
    "CutMode",
    "RenderPlan",
    "RenderResult",
    "StreamKind",
    "StreamOutcome",
    "VideoSettings",
    "render",
]


def render(
    file: BinaryIO,
    plan: RenderPlan,
    path: str | Path,
    on_progress: Callable[[int], None] = lambda frames_done: None,
) -> RenderResult:
    """Write the plan's stretch of `file` to `path`; `on_progress` hears of every frame done.

    Raises `MediaError`: ``RANGE_OUTSIDE_SOURCE`` where no frame lies in the range,
    ``SOURCE_DAMAGED`` where none of it can be decoded, ``COPY_IMPOSSIBLE``, ``ENCODER_REFUSED``,
    ``CONTAINER_REFUSED``, ``DISK_FULL``, and what `open_source` raises. What was written of a
    failed segment is left for the caller to remove.
    """
    if plan.start < 0 or (plan.end is not None and plan.end <= plan.start):
        raise ValueError(f"not a range: {plan.start} to {plan.end}")
    with open_source(file) as container:
        stream = video_stream(container)
        origin = first_frame(container, stream, threads=1).pts or 0
        span = Span.of(start=plan.start, end=plan.end, origin=origin, time_base=time_base(stream))
    if plan.mode is CutMode.KEYFRAME:
        return copy_between_keys(file, plan, span, Path(path), on_progress)
    return _encode(file, plan, span, Path(path), on_progress)


def _encode(
    file: BinaryIO,
    plan: RenderPlan,
    span: Span,
    path: Path,
    on_progress: Callable[[int], None],
) -> RenderResult:
    with ExitStack() as stack:
        with open_source(file) as container:
            outcomes = plan_others(container, plan)
            wanted = kept(outcomes)
            has_cues = "mov" not in container.format.name and any(
                outcome.kind is StreamKind.SUBTITLE and outcome.action is not Action.DROPPED
                for outcome in outcomes
            )
            before = None
            if span.low > span.origin:
                before = early_packets(file, container, wanted, start=span.low * span.time_base)
        reader = Reader(
            file,
            span,
            threads=plan.threads,
            preroll=PREROLL_OF_CUES if has_cues else PREROLL,
            wants=lambda stream: stream.index in wanted,
            early=before,
        )
        stack.callback(reader.close)
        events = reader.events()
        early: list[Packet[Stream]] = []
        first: VideoFrame | None = None
        for event in events:
            if isinstance(event, VideoFrame):
                first = event
                break
            early.append(event)
            if reader.video_done:
                break
        if first is None:
            raise nothing_found(span, reader.damage.count, reader.beyond)
        output = Output(path, plan.container)
        stack.callback(_close_quietly, output)
        writer = VideoWriter(output, plan, reader.video, first, span, on_progress)
        tracks = Tracks(
            output,
            reader.container,
            plan,
            outcomes,
            start=span.zero + span.offset(first.pts or 0),
            end=None if span.end is None else span.zero + span.end,
            damage=reader.damage,
        )
        output.begin()
        writer.push(first)
        for packet in early:
            tracks.take(packet)
        finished = False
        for event in events:
            if isinstance(event, VideoFrame):
                writer.push(event)
                continue
            if reader.video_done and not finished:
                writer.finish(reader.beyond)
                finished = True
            tracks.take(event)
            if finished and tracks.done:
                break
        if not finished:
            writer.finish(reader.beyond)
        tracks.finish()
        output.close()
        source_codec = reader.video.codec_context.codec.canonical_name
        video = StreamOutcome(
            kind=StreamKind.VIDEO,
            source_index=reader.video.index,
            source_codec=source_codec,
            codec=writer.codec.value,
            action=Action.ENCODED,
            language=reader.video.language,
            reason=writer.reason,
        )
        start, end = span.offset(writer.start_pts), span.offset(writer.end_pts)
        return RenderResult(
            frame_count=writer.frame_count,
            start=start,
            end=end,
            start_pts=writer.start_pts,
            end_pts=writer.end_pts,
            time_base=span.time_base,
            duration=end - start,
            copied_frames=0,
            encoded_frames=writer.frame_count,
            damaged=reader.damage.count,
            reason=writer.reason,
            streams=tuple(sorted((video, *outcomes), key=lambda o: o.source_index)),
        )


def nothing_found(span: Span, damaged: int, beyond: int | None) -> MediaError:
    """The error for a range out of which no frame came."""
    until = "its end" if span.end is None else f"{float(span.end):.3f} s"
    asked = f"{float(span.start):.3f} s to {until}"
    if damaged:
        return MediaError(
            "SOURCE_DAMAGED",
            f"No frame from {asked} can be decoded: the source is corrupt there.",
            metadata={"broken": str(damaged)},
        )
    if beyond is not None:
        return MediaError(
            "RANGE_OUTSIDE_SOURCE",
            f"The source shows no new frame from {asked}; the next one comes at "
            f"{float(span.offset(beyond)):.3f} s.",
        )
    return MediaError(
        "RANGE_OUTSIDE_SOURCE", f"The source's video ends before the range from {asked}."
    )


def _close_quietly(output: Output) -> None:
    with suppress(MediaError):
        output.close()
