"""Opening what a unit works on, and telling what it is in the words of the contract."""

from __future__ import annotations

import os
from typing import BinaryIO

from reelsplit.types.job import AudioInfo, SourceInfo, SubtitleInfo, VideoInfo
from reelsplit.types.spec import Input

from reelsplit_server.media.probe import SourceFacts
from reelsplit_server.storage.files import Files
from reelsplit_server.storage.location import parse
from reelsplit_server.work.units import Access


def open_input(source: Input, access: Access) -> BinaryIO:
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
            profile=video.profile or "",
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
                language=track.language or "",
            )
            for track in facts.audio
        ),
        subtitles=tuple(
            SubtitleInfo(codec=track.codec, language=track.language or "")
            for track in facts.subtitles
        ),
    )
