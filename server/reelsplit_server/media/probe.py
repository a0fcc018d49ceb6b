"""What a source holds, found without reading all of it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO, cast

import av
from av.audio.stream import AudioStream
from av.codec.context import CodecContext
from av.container import InputContainer
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from reelsplit_server.media.container import open_source, video_stream
from reelsplit_server.media.decoding import Damage, prepare, presented, time_base
from reelsplit_server.media.errors import MediaError

#: FFmpeg's name for a demuxer, to the short one that users know.
_SHORT_NAMES = {
    "mov,mp4,m4a,3gp,3g2,mj2": "mp4",
    "matroska,webm": "matroska",
    "live_flv": "flv",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFacts:
    """The video stream, as coded; what its first presented frame says wins over the header."""

    track: int
    """The container's own number of the stream, such as the track id of an MP4."""
    stream: int
    """Its place among all streams, from 0."""
    codec: str
    """FFmpeg's name of the codec (not of a decoder): h264, hevc, av1, vp9, mpeg2video…"""
    profile: str | None
    width: int
    """Pixels of the coded picture after cropping, before rotation and aspect ratio."""
    height: int
    rotation: int
    """Degrees clockwise that a player turns the picture by: 0, 90, 180 or 270."""
    sample_aspect_ratio: Fraction
    pixel_format: str
    bit_depth: int
    frame_rate: Fraction | None
    """Average frames a second, as declared."""
    time_base: Fraction
    """Seconds in a tick of the stream."""
    color_primaries: int
    """This and the next three: code points of ITU-T H.273; 2 is unspecified."""
    color_transfer: int
    color_space: int
    color_range: int
    """0 unspecified, 1 limited (MPEG), 2 full (JPEG)."""
    interlaced: bool
    start_pts: int
    """Ticks: the presentation time of the first presented frame, t = 0 of everything else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioFacts:
    codec: str
    sample_rate: int
    channels: int
    language: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubtitleFacts:
    codec: str
    language: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFacts:
    container: str
    """Short name: mp4, mov, matroska, webm, mpegts, mpeg, avi…"""
    duration: Fraction | None
    """Seconds of video as the container declares them: a hint, `Timeline.end` is exact."""
    video: VideoFacts
    audio: tuple[AudioFacts, ...]
    subtitles: tuple[SubtitleFacts, ...]
    chapters: int


def probe(file: BinaryIO, *, threads: int = 1) -> SourceFacts:
    """Read the header and decode up to the first presented frame.

    Raises `MediaError` with ``SOURCE_UNREADABLE``, ``SOURCE_FORMAT_REFUSED`` or
    ``SOURCE_NO_VIDEO``.
    """
    with open_source(file) as container:
        stream = video_stream(container)
        # Whatever is asked of the container comes before decoding: damage may upset its state.
        name = _short_name(container, file)
        duration = _duration(container, stream)
        audio = tuple(
            _audio(other) for other in container.streams.audio if codec_name(other) is not None
        )
        subtitles = tuple(
            SubtitleFacts(codec=known, language=_language(other))
            for other in container.streams.subtitles
            if (known := codec_name(other)) is not None
        )
        chapters = len(container.chapters())
        frame = first_frame(container, stream, threads=threads)
        return SourceFacts(
            container=name,
            duration=duration,
            video=_video(stream, frame),
            audio=audio,
            subtitles=subtitles,
            chapters=chapters,
        )


def first_frame(container: InputContainer, stream: VideoStream, *, threads: int = 1) -> VideoFrame:
    """The first frame that a decoder really puts out; `container` must be at its beginning.

    Raises `MediaError` with ``SOURCE_UNREADABLE`` where there is none.
    """
    damage = Damage()
    if codec_name(stream) is not None:
        prepare(container, stream, threads)
        for frame in presented(container, stream, damage):
            return frame
    raise no_frame(stream, damage)


def no_frame(stream: VideoStream, damage: Damage) -> MediaError:
    """The error for a video stream out of which no frame comes."""
    codec = codec_name(stream) or "an unknown codec"
    return MediaError(
        "SOURCE_UNREADABLE",
        f"No frame of the source's video ({codec}) can be decoded: "
        "it is corrupt, encrypted, or of a codec that this server does not have.",
        metadata={"detail": damage.detail or "no frame"},
    )


def _video(stream: VideoStream, frame: VideoFrame) -> VideoFacts:
    context = stream.codec_context
    ratio = stream.sample_aspect_ratio or context.sample_aspect_ratio
    return VideoFacts(
        track=stream.id,
        stream=stream.index,
        codec=context.codec.canonical_name,
        profile=stream.profile,
        width=frame.width,
        height=frame.height,
        # FFmpeg counts anticlockwise, from -180 to 180.
        rotation=round(-frame.rotation / 90) * 90 % 360,
        sample_aspect_ratio=Fraction(ratio) if ratio else Fraction(1),
        pixel_format=frame.format.name,
        bit_depth=max(component.bits for component in frame.format.components),
        frame_rate=Fraction(stream.average_rate) if stream.average_rate else None,
        time_base=time_base(stream),
        color_primaries=_known_colour(frame.color_primaries, context.color_primaries),
        color_transfer=_known_colour(frame.color_trc, context.color_trc),
        color_space=_known_colour(frame.colorspace, context.colorspace),
        color_range=int(frame.color_range) or int(context.color_range),
        interlaced=bool(frame.interlaced_frame),
        start_pts=frame.pts or 0,
    )


def _known_colour(of_frame: int, of_stream: int) -> int:
    unspecified = 2
    return int(of_frame) if of_frame != unspecified else int(of_stream)


def _audio(stream: AudioStream) -> AudioFacts:
    context = stream.codec_context
    return AudioFacts(
        codec=context.codec.canonical_name,
        sample_rate=context.sample_rate,
        channels=context.channels,
        language=_language(stream),
    )


def codec_name(stream: Stream) -> str | None:
    """The codec's canonical name, or None where FFmpeg has no decoder for it."""
    context = cast("CodecContext | None", stream.codec_context)  # PyAV's stub forgets the None
    return None if context is None else context.codec.canonical_name


def _language(stream: Stream) -> str | None:
    language = stream.language
    return None if language in (None, "", "und") else language


def _duration(container: InputContainer, stream: VideoStream) -> Fraction | None:
    if stream.duration and stream.time_base:
        return stream.duration * Fraction(stream.time_base)
    if container.duration and container.duration > 0:
        return Fraction(container.duration, av.time_base)
    return None


def _short_name(container: InputContainer, file: BinaryIO) -> str:
    name = _SHORT_NAMES.get(container.format.name, container.format.name)
    if name == "mp4" and container.metadata.get("major_brand", "qt  ").strip() == "qt":
        return "mov"  # files from before the brand existed are QuickTime's, too
    if name == "matroska":
        position = file.tell()
        file.seek(0)
        head = file.read(64)
        file.seek(position)
        return "webm" if b"webm" in head else name
    return name
