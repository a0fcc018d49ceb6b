"""Opening what a unit works on, and telling what it is in the words of the contract."""

from __future__ import annotations

import os
from io import BufferedReader
from typing import BinaryIO

from reelsplit.types.job import AudioInfo, SourceInfo, SubtitleInfo, VideoInfo
from reelsplit.types.spec import Input
from reelsplit_server.media.probe import SourceFacts
from reelsplit_server.storage.files import Files
from reelsplit_server.storage.location import parse
from reelsplit_server.work.units import Access

_MOST_TRACKS = 64
_MOST_TEXT = 64


def short(text: str | None) -> str:
    """What a source says of itself, in a length that every event can carry."""
    return (text or "")[:_MOST_TEXT]


def open_input(source: Input, access: Access) -> BufferedReader:
    """Open the source for reading; raises `StorageError`."""
    return Files(access.roots).open(parse(source.uri or "").path)


def describe(facts: SourceFacts, file: BinaryIO) -> SourceInfo:
    """The facts of a source as callers see them; the duration is the container's own claim."""
    video = facts.video
    return SourceInfo(
        container=facts.container,
        duration=facts.duration,
        size_bytes=file.seek(0, os.SEEK_END),
        video=VideoInfo(
            codec=video.codec,
            profile=short(video.profile),
            width=video.width,
            height=video.height,
            rotation=-video.rotation % 360,
            sample_aspect_ratio=video.sample_aspect_ratio,
            pixel_format=video.pixel_format,
            frame_rate=video.frame_rate,
            time_base=video.time_base,
            start_pts=video.start_pts,
            interlaced=video.interlaced,
        ),
        audio=tuple(
            AudioInfo(
                codec=track.codec,
                sample_rate=track.sample_rate,
                channels=track.channels,
                language=short(track.language),
            )
            for track in facts.audio[:_MOST_TRACKS]
        ),
        subtitles=tuple(
            SubtitleInfo(codec=track.codec, language=short(track.language))
            for track in facts.subtitles[:_MOST_TRACKS]
        ),
    )
