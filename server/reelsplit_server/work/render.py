"""The unit that makes one segment and publishes it."""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
from fractions import Fraction
from pathlib import Path

from reelsplit.types import output as wire
from reelsplit.types import segment as told
from reelsplit.types.output import AudioEncoding, Output, VideoEncoding
from reelsplit.types.segment import CutResult, Segment, SegmentBounds, StreamResult
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
from reelsplit_server.media.render import render
from reelsplit_server.storage.errors import StorageError
from reelsplit_server.storage.files import Files, disk_full
from reelsplit_server.storage.location import parse
from reelsplit_server.storage.template import Values, expand
from reelsplit_server.work.channel import Channel
from reelsplit_server.work.checksums import checksum_at, digest
from reelsplit_server.work.sources import open_input, short
from reelsplit_server.work.units import Published, Render

_MOST_STREAMS = 128
"""The streams whose fate is told: a hostile source may have any number."""


def run(unit: Render, channel: Channel) -> None:
    """Make the segment in a scratch folder, check in with the server, and publish it."""
    most_pixels.set(unit.most_pixels)
    output, segment = unit.output, unit.segment
    assert segment.requested is not None
    values = Values(
        index=segment.index,
        start=Fraction(segment.requested.start_offset),
        end=Fraction(segment.requested.end_offset),
        stem=parse(unit.source.uri or "").stem,
        job_id=unit.job_id,
    )
    uri = expand(output.uri_template, values)
    path = parse(uri).path
    files = Files(unit.access.roots)
    replace = output.overwrite_policy is wire.OverwritePolicy.REPLACE
    ours = (
        unit.intent is not None and files.exists(path) and checksum_at(files, path) == unit.intent
    )
    with open_input(unit.source, unit.access) as source:
        if files.is_open(path, source):
            raise StorageError(
                "OUTPUT_COLLISION",
                f"The output {uri} is the source itself, which would be lost. Choose another name.",
                {"uri": uri},
            )
    if not replace and not ours and files.exists(path):
        # Told before the work is done; publishing makes sure of it again.
        raise StorageError(
            "OUTPUT_EXISTS",
            f"There is something at {uri} already. Ask to replace it, or choose another name.",
            {"uri": uri},
        )
    try:
        unit.scratch.mkdir(parents=True, exist_ok=True)
        scratch = unit.scratch / f"segment{Path(path).suffix}"
        result = _render(unit, output, scratch, channel)
        _sync(scratch)
        with scratch.open("rb") as file:
            checksum = digest(file)
        size = scratch.stat().st_size
        if not channel.may_publish(checksum):
            return
        # What lies there from an attempt whose end the server did not see is replaced.
        files.publish(scratch, path, replace=replace or ours)
    except OSError as error:
        raise disk_full() if error.errno == errno.ENOSPC else error from error
    finally:
        shutil.rmtree(unit.scratch, ignore_errors=True)
    made = _describe(segment, result)
    channel.tell(
        Published(segment=dataclasses.replace(made, uri=uri, size_bytes=size, checksum=checksum))
    )


def _render(unit: Render, output: Output, scratch: Path, channel: Channel) -> RenderResult:
    segment = unit.segment
    assert segment.requested is not None
    container = container_of(output.uri_template)
    assert container is not None
    expected = segment.bounds.end_frame - segment.bounds.start_frame if segment.bounds else 0
    _check_length(segment, output, unit.most_frames)
    plan = RenderPlan(
        start=Fraction(segment.requested.start_offset),
        end=Fraction(segment.requested.end_offset),
        container=container,
        mode=CutMode.KEYFRAME if output.cut_mode is wire.CutMode.KEYFRAME else CutMode.ENCODE,
        width=output.width,
        height=output.height,
        video=_video(output.video or VideoEncoding()),
        audio=_audio(output.audio or AudioEncoding()),
        threads=unit.threads,
    )
    with open_input(unit.source, unit.access) as file:
        return render(
            file,
            plan,
            scratch,
            lambda frames: channel.progress(frames / max(1, expected), frames),
        )


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
    whole = result.encoded_frames == 0
    notices = list(segment.notices)
    if result.damaged:
        message = f"{result.damaged} broken places of the source were skipped."
        notices.append(told.Notice(code="SOURCE_DAMAGED", message=message))
    before = segment.bounds or SegmentBounds()
    first = before.start_frame - result.early_frames
    return dataclasses.replace(
        segment,
        bounds=SegmentBounds(
            start_offset=result.start,
            end_offset=result.end,
            start_frame=first,
            end_frame=first + result.frame_count if whole else before.end_frame,
            start_pts=result.start_pts,
            end_pts=result.end_pts,
            time_base=result.time_base,
        ),
        duration=result.duration,
        frame_count=result.frame_count,
        cut=CutResult(
            mode=wire.CutMode.KEYFRAME if whole else wire.CutMode.ENCODE,
            copied_frames=result.copied_frames,
            encoded_frames=result.encoded_frames,
            reason=result.reason or "",
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


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
