"""Writing a segment by decoding and encoding every frame of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import numpy as np
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame

from reelsplit_server.media.container import open_source, video_stream
from reelsplit_server.media.decoding import time_base
from reelsplit_server.media.errors import MediaError
from reelsplit_server.media.made import Made
from reelsplit_server.media.mp4_edit import hide_after
from reelsplit_server.media.others import (
    PREROLL,
    PREROLL_OF_CUES,
    early_packets,
    is_stale,
    sounds_of,
)
from reelsplit_server.media.output import Output
from reelsplit_server.media.plan import Action, CutMode, RenderPlan, StreamKind, StreamOutcome
from reelsplit_server.media.reader import Reader
from reelsplit_server.media.span import Span
from reelsplit_server.media.tracks import Tracks, kept, plan_others
from reelsplit_server.media.video import VideoWriter


def encode(
    file: BinaryIO,
    plan: RenderPlan,
    origin: int,
    path: Path,
    on_progress: Callable[[int], None],
) -> Made:
    """Write the plan's range to `path`, every frame decoded and encoded.

    `origin` is the source's tick of t = 0.

    Raises `MediaError`: ``RANGE_OUTSIDE_SOURCE`` where no frame lies in the span,
    ``SOURCE_DAMAGED`` where none of it can be decoded, ``ENCODER_REFUSED``, and what `Output` and
    `Tracks` raise.
    """
    with ExitStack() as stack:
        with open_source(file) as container:
            base = time_base(video_stream(container))
            span = Span.of(start=plan.start, end=plan.end, origin=origin, time_base=base)
            outcomes = plan_others(container, plan)
            wanted, sounds = kept(outcomes), sounds_of(container)
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
            # The entry may lie hours before the range.
            if not is_stale(event, span.low * span.time_base, sounds):
                early.append(event)
            if reader.video_done:
                break
        if first is None:
            raise _nothing_found(span, reader.damage.count, reader.beyond)
        output = Output(path, plan.container)
        stack.callback(output.abandon)
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
        if span.end is not None:
            tracks.hold_end(span.zero + span.end)

        def finish() -> None:
            writer.finish(reader.beyond)
            if span.end is not None:
                tracks.end_at(writer.end_pts * span.time_base)

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
                finish()
                finished = True
            tracks.take(event)
            if finished and tracks.done:
                break
        if not finished:
            finish()
        tracks.finish()
        output.close()
        if writer.overshoots:
            hide_after(path, writer.placed_end * writer.time_base)
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
        return Made(
            mode=CutMode.ENCODE,
            span=span,
            start_pts=writer.start_pts,
            end_pts=writer.end_pts,
            early_frames=0,
            placed=np.array(writer.placed, dtype=np.int64),
            placed_end=writer.placed_end,
            time_base=writer.time_base,
            rate=writer.rate,
            encoded_head=writer.frame_count,
            encoded_tail=0,
            hides=False,
            damaged=reader.damage.count,
            broken=reader.damage.between(span.zero),
            reason=writer.reason,
            streams=sorted((video, *outcomes), key=lambda each: each.source_index),
            audio=tracks.audio,
        )


def _nothing_found(span: Span, damaged: int, beyond: int | None) -> MediaError:
    """The error for a range out of which no frame came."""
    if damaged:
        return MediaError(
            "SOURCE_DAMAGED",
            f"No frame from {span} can be decoded: the source is corrupt there.",
            metadata={"broken": str(damaged)},
        )
    return span.empty(beyond)
