"""The unit that makes one segment and publishes it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

from reelsplit.types import output as wire
from reelsplit.types import segment as told
from reelsplit.types.output import AudioEncoding, Output, VideoEncoding
from reelsplit.types.segment import (
    CutResult,
    Segment,
    SegmentBounds,
    StreamResult,
    Verification,
)
from reelsplit_server.media.container import most_pixels
from reelsplit_server.media.errors import MediaError
from reelsplit_server.media.formats import AudioCodec, VideoCodec, container_of
from reelsplit_server.media.plan import (
    AudioMode,
    AudioSettings,
    CutMode,
    RenderPlan,
    RenderResult,
    VideoSettings,
)
from reelsplit_server.media.render import Piece, render, render_all
from reelsplit_server.storage.grants import SourceGrant
from reelsplit_server.storage.opening import check_unchanged
from reelsplit_server.work.asks import Finished
from reelsplit_server.work.channel import Channel
from reelsplit_server.work.publishing import publish
from reelsplit_server.work.sources import opened, short
from reelsplit_server.work.targets import segment_of
from reelsplit_server.work.units import Render

_MOST_STREAMS = 128
"""The streams whose fate is told: a hostile source may have any number."""


_MODES = {
    wire.CutMode.AUTO: CutMode.AUTO,
    wire.CutMode.KEYFRAME: CutMode.KEYFRAME,
    wire.CutMode.EDIT_LIST: CutMode.EDIT_LIST,
    wire.CutMode.ENCODE: CutMode.ENCODE,
}


def run(unit: Render, grant: SourceGrant, channel: Channel) -> None:
    """Make the segment in the scratch folder, and have it published."""
    most_pixels.set(unit.most_pixels)
    with opened(grant, channel) as (file, _):
        piece = _piece(unit, channel)
        result = render(file, piece.plan, piece.path, piece.on_progress)
    _hand_over(unit, result, channel)


def run_all(
    members: Sequence[tuple[Render, Channel]], grant: SourceGrant
) -> Iterator[Callable[[], None]]:
    """Make the segments of several units that want the same of one source. Answers, unit by unit,
    what has it published.

    Ends early, or fails, where not all can be made together: the rest are then to be run one by
    one, which shows what is wrong with each. The last channel stays open meanwhile.
    """
    most_pixels.set(members[0][0].most_pixels)
    with opened(grant, members[-1][1]) as (file, pin):
        pieces = [_piece(unit, channel) for unit, channel in members]
        for (unit, channel), result in zip(members, render_all(file, pieces), strict=False):
            # Before anything of it can be seen.
            check_unchanged(file, grant, pin)
            yield functools.partial(_hand_over, unit, result, channel)


def _hand_over(unit: Render, result: RenderResult, channel: Channel) -> None:
    def finished(size: int, checksum: str) -> Finished:
        made = _describe(unit.segment, result)
        return Finished(segment=dataclasses.replace(made, size_bytes=size, checksum=checksum))

    publish(segment_of(unit), finished, channel)


def _piece(unit: Render, channel: Channel) -> Piece:
    """What is asked of the media layer. The scratch folder exists from here on."""
    scratch = segment_of(unit).scratch
    scratch.parent.mkdir(parents=True, exist_ok=True)
    segment, output = unit.segment, unit.output
    assert segment.requested is not None
    container = container_of(output.uri_template)
    assert container is not None
    expected = _expected(unit)
    _check_length(segment, output, unit.most_frames)
    bounds = segment.bounds or SegmentBounds()
    is_counted = bounds.end_frame > 0 and bounds.time_base
    plan = RenderPlan(
        start=Fraction(segment.requested.start_offset),
        end=Fraction(segment.requested.end_offset),
        container=container,
        mode=_MODES[output.cut_mode or wire.CutMode.AUTO],
        origin=_origin(bounds) if is_counted else None,
        frame_count=bounds.end_frame - bounds.start_frame if is_counted else None,
        width=output.width,
        height=output.height,
        video=_video(output.video or VideoEncoding()),
        audio=_audio(output.audio or AudioEncoding()),
        threads=unit.threads,
    )
    return Piece(
        plan=plan,
        path=scratch,
        on_progress=lambda frames: channel.progress(frames / max(1, expected), frames),
    )


def _origin(bounds: SegmentBounds) -> int:
    """Ticks of the source at t = 0."""
    assert bounds.time_base is not None
    return bounds.start_pts - round(Fraction(bounds.start_offset or 0) / bounds.time_base)


def _expected(unit: Render) -> int:
    """How many frames the segment will have, or about as many where they were not counted."""
    bounds = unit.segment.bounds or SegmentBounds()
    counted = bounds.end_frame - bounds.start_frame
    if counted or unit.frame_rate is None:
        return counted
    length = Fraction(bounds.end_offset or 0) - Fraction(bounds.start_offset or 0)
    return round(length * unit.frame_rate)


def _check_length(segment: Segment, output: Output, most: int) -> None:
    """A constant rate repeats frames: over a pause of years that would never end."""
    rate = output.video.frame_rate if output.video is not None else None
    if rate is None or segment.bounds is None:
        return
    bounds = segment.bounds
    length = Fraction(bounds.end_offset or 0) - Fraction(bounds.start_offset or 0)
    frames = int(length * rate)
    if frames > most:
        raise MediaError(
            "SOURCE_TOO_LARGE",
            f"The segment would have {frames:,} frames at the frame rate asked for; this server "
            f"takes {most:,}.",
            metadata={"limit": str(most), "value": str(frames)},
        )


def _video(asked: VideoEncoding) -> VideoSettings:
    return VideoSettings(
        codec=VideoCodec[asked.codec.name] if asked.codec is not None else None,
        crf=asked.crf,
        bit_rate=asked.bit_rate,
        max_bit_rate=asked.max_bit_rate,
        buffer_size=asked.buffer_size,
        preset=asked.preset,
        gop=asked.gop,
        frame_rate=asked.frame_rate,
        profile=asked.profile,
        level=asked.level,
        pixel_format=asked.pixel_format,
    )


def _audio(asked: AudioEncoding) -> AudioSettings:
    codec: AudioCodec | AudioMode | None
    match asked.codec:
        case wire.AudioCodec.AAC:
            codec = AudioCodec.AAC
        case wire.AudioCodec.OPUS:
            codec = AudioCodec.OPUS
        case wire.AudioCodec.NONE:
            codec = AudioMode.NONE
        case _:
            # Copied where the container can hold it; encoded to its default, and named, else.
            codec = None
    return AudioSettings(
        codec=codec,
        bit_rate=asked.bit_rate,
        sample_rate=asked.sample_rate,
        channels=asked.channels,
    )


def _describe(segment: Segment, result: RenderResult) -> Segment:
    snaps = result.mode is CutMode.KEYFRAME
    notices = list(segment.notices)
    if result.damaged:
        notices.append(told.Notice(code="SOURCE_DAMAGED", message=_damage(result)))
    before = segment.bounds or SegmentBounds()
    counted = before.end_frame > 0
    first = before.start_frame - result.early_frames if counted else 0
    return dataclasses.replace(
        segment,
        bounds=SegmentBounds(
            start_offset=result.start,
            end_offset=result.end,
            # What a source hides before its first frame has no number.
            start_frame=max(0, first),
            end_frame=first + result.frame_count if snaps and counted else before.end_frame,
            start_pts=result.start_pts,
            end_pts=result.end_pts,
            time_base=result.time_base,
        ),
        duration=result.duration,
        frame_count=result.frame_count,
        cut=CutResult(
            mode=wire.CutMode[result.mode.name],
            copied_frames=result.copied_frames,
            encoded_frames=result.encoded_frames,
            reason=result.reason or "",
        ),
        verification=Verification(
            checked=True,
            frame_count=result.frame_count,
            decoded_frames=result.decoded_frames,
            audio_offset=result.audio_offset,
        ),
        streams=tuple(
            StreamResult(
                source_index=stream.source_index,
                kind=told.StreamKind[stream.kind.name],
                source_codec=stream.source_codec,
                codec=stream.codec or "",
                action=told.StreamAction[stream.action.name],
                language=short(stream.language),
                reason=(stream.reason or "")[:500],
            )
            for stream in result.streams[:_MOST_STREAMS]
        ),
        notices=notices,
    )


def _damage(result: RenderResult) -> str:
    """What was broken in the source, and where."""
    where = ""
    if result.broken is not None:
        first, last = (f"{float(time):.3f} s" for time in result.broken)
        where = f", at {first}" if first == last else f", from {first} to {last}"
    return (
        f"Broken places of the source: {result.damaged}{where}. They were skipped, or are as good "
        "as they could be decoded."
    )
