"""Opening what a unit works on, and telling what it is in the words of the contract."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from reelsplit.types.job import AudioInfo, SourceInfo, SubtitleInfo, VideoInfo
from reelsplit_server.media.errors import MediaError
from reelsplit_server.media.probe import SourceFacts
from reelsplit_server.media.stages import stage
from reelsplit_server.storage.grants import FileGrant, ObjectGrant, Pin, SourceGrant, WebGrant
from reelsplit_server.storage.opening import check_unchanged, fetched, open_source
from reelsplit_server.work.accounting import reads
from reelsplit_server.work.asks import Renew
from reelsplit_server.work.channel import Channel

_MOST_TRACKS = 64
_MOST_TEXT = 64


def short(text: str | None) -> str:
    """What a source says of itself, in a length that every event can carry."""
    return (text or "")[:_MOST_TEXT]


@contextmanager
def opened(grant: SourceGrant, channel: Channel) -> Iterator[tuple[BinaryIO, Pin]]:
    """The source, and its state, which must still be the same when the block ends.

    Raises `StorageError`.
    """

    def renew() -> SourceGrant:
        answer = channel.ask(Renew())
        assert isinstance(answer, FileGrant | ObjectGrant | WebGrant)
        return answer

    with stage("open"):
        file, pin = open_source(grant, renew)
    reads(lambda: fetched(file))
    with file:
        try:
            yield file, pin
        except MediaError:
            # What could not be read looks like damage.
            check_unchanged(file, grant, pin)
            raise
        check_unchanged(file, grant, pin)


def describe(facts: SourceFacts, pin: Pin) -> SourceInfo:
    """The facts of a source as callers see them; the duration is the container's own claim."""
    video = facts.video
    return SourceInfo(
        container=facts.container,
        duration=facts.duration,
        size_bytes=pin.size,
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
