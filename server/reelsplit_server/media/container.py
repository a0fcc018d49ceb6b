"""Opening sources, with closed lists: what FFmpeg may parse, and that it may open nothing else."""

from __future__ import annotations

from contextvars import ContextVar
from typing import BinaryIO, cast

import av
import av.error
from av.container import InputContainer
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from reelsplit_server.media.errors import MediaError

#: Demuxers that read one self-contained file. Playlists and anything else that makes FFmpeg open
#: a second resource (HLS, DASH, concat, SDP, image sequences) are left out on purpose.
DEMUXERS = (
    "mov,mp4,m4a,3gp,3g2,mj2",
    "matroska,webm",
    "mpegts",
    "mpeg",
    "mpegvideo",
    "avi",
    "flv",
    "live_flv",
    "asf",
    "ogg",
    "mxf",
    "ivf",
    "nut",
    "h264",
    "hevc",
    "m4v",
)

#: The most pixels that a picture may have. Decoders refuse larger ones, whatever the header said:
#: a tiny file can claim, or turn to, pictures that fill the memory.
most_pixels: ContextVar[int] = ContextVar("most_pixels", default=8192 * 4320)

_OPTIONS = {
    "format_whitelist": ",".join(DEMUXERS),
    # Sources come as an open file object, so the demuxer itself needs no protocol at all.
    "protocol_whitelist": "none",
    # A MOV may name other files as data references; the default is off, said here to keep it so.
    "enable_drefs": "0",
    "use_absolute_path": "0",
}

_REFERRING = (b"#EXTM3U", b"<MPD", b"ffconcat", b"v=0", b"<SmoothStreamingMedia", b"<?xml")


def open_source(file: BinaryIO, *, probes: bool = True) -> InputContainer:
    """Open a seekable binary file for reading, from its beginning.

    FFmpeg reads and decodes some packets then, to learn what the header does not say; without
    `probes`, only the first one.

    Raises `MediaError` with ``SOURCE_FORMAT_REFUSED`` for playlists and other files that refer to
    further resources, and ``SOURCE_UNREADABLE`` for what no allowed demuxer understands.
    """
    file.seek(0)
    head = file.read(512).lstrip(b"\xef\xbb\xbf \t\r\n")
    file.seek(0)
    if not head:
        raise MediaError("SOURCE_UNREADABLE", "The source is empty: it holds no bytes of media.")
    if head.startswith(_REFERRING):
        raise MediaError(
            "SOURCE_FORMAT_REFUSED",
            "The source is a playlist or manifest, which refers to other files. "
            "Give the video file itself (MP4, MOV, MKV, WebM, MPEG-TS, AVI and others).",
        )
    options = _OPTIONS if probes else _OPTIONS | {"probesize": "32"}
    try:
        container = av.open(file, mode="r", container_options=options, metadata_errors="replace")
    except av.error.FFmpegError as error:
        raise unreadable(error) from error
    for stream in container.streams.video:
        # PyAV's stub forgets that there is none for a codec that FFmpeg cannot decode.
        context = cast("VideoCodecContext | None", stream.codec_context)
        if context is not None:
            context.options = {"max_pixels": str(most_pixels.get())}
    return container


def decoder_like(context: VideoCodecContext, *, threads: int) -> VideoCodecContext:
    """A decoder of its own for packets of this stream, to be fed from any entry on."""
    decoder = cast(VideoCodecContext, av.CodecContext.create(context.codec, "r"))
    decoder.extradata = context.extradata
    decoder.thread_count = threads
    # H.264 need not tell how far its pictures are reordered. The stream's own decoder has learned
    # it while the source was opened; one that has not drops the first picture that comes late,
    # unless it is strict.
    decoder.options = {**context.options, "strict": "strict"}
    return decoder


def video_stream(container: InputContainer) -> VideoStream:
    """The stream that all of us mean by "the video": the default one, else the first.

    Attached pictures (cover art) are no video. Raises `MediaError` with ``SOURCE_NO_VIDEO``.
    """
    moving = [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic
    ]
    for stream in moving:
        if stream.disposition & Disposition.default:
            return stream
    if moving:
        return moving[0]
    raise MediaError(
        "SOURCE_NO_VIDEO",
        f"The source holds no video stream, only {_holdings(container)}. "
        "Give a file that has a video stream.",
    )


def _holdings(container: InputContainer) -> str:
    """What a source without video does hold, in words: "2 audio streams and 1 picture"."""
    streams = container.streams
    counted = (
        (len(streams.video), "picture"),
        (len(streams.audio), "audio stream"),
        (len(streams.subtitles), "subtitle stream"),
        (len(streams.data) + len(streams.attachments), "data stream"),
    )
    parts = [f"{n} {noun}{'s' if n > 1 else ''}" for n, noun in counted if n]
    return " and ".join(parts) or "no stream at all"


def unreadable(error: av.error.FFmpegError) -> MediaError:
    """What a failure of FFmpeg to parse or decode the source means to the user."""
    return MediaError(
        "SOURCE_UNREADABLE",
        "The source is not a video file that this server can read: it is corrupt, truncated "
        "before its index, or of an unsupported format.",
        metadata={"detail": error.strerror or "unknown"},
    )
