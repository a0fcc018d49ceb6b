"""The pictures beside a copy: decoded from the source, and encoded to join what is copied."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import BinaryIO, cast

import av
import av.error
from av.codec.context import Flags
from av.packet import Packet
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from reelsplit_server.media.cadence import nominal_rate
from reelsplit_server.media.container import decoder_like, most_pixels
from reelsplit_server.media.elementary import Elementary
from reelsplit_server.media.ends import Coded
from reelsplit_server.media.nal.bitstream import CannotJoin
from reelsplit_server.media.reader import Reader
from reelsplit_server.media.span import Span


def frames_of(
    source: VideoStream, group: Iterable[Coded], *, low: int, high: int | None, threads: int
) -> Iterator[VideoFrame]:
    """The frames shown in [low, high), ticks of the source, in order; each has its `pts`.

    `group` is in decoding order and begins with an entry. Pictures outside that no other leans on
    are not decoded. Raises `CannotJoin` where a picture that should be there is missing.
    """
    decoder = decoder_like(source.codec_context, threads=threads)
    wanted: list[int] = []
    shown = 0
    first: int | None = None
    last: int | None = None
    for packet, pts in _needed(group, low, high):
        if first is None and packet is not None:
            first = packet.pts
        if pts is not None:
            wanted.append(pts)
        try:
            frames = decoder.decode(packet)
        except av.error.FFmpegError as error:
            raise CannotJoin(
                f"a picture beside the cut cannot be decoded ({error.strerror})"
            ) from error
        for frame in frames:
            if frame.is_corrupt and frame.pts is not None and frame.pts >= (first or 0):
                # Where it is not wanted itself, others lean on it.
                raise CannotJoin("a picture beside the cut is damaged in the source")
            if frame.pts is None or frame.pts < low or (high is not None and frame.pts >= high):
                continue
            if last is not None and frame.pts <= last:
                raise CannotJoin("a picture beside the cut is damaged in the source")
            last = frame.pts
            shown += 1
            yield frame
    if shown != len(wanted) or (wanted and last != max(wanted)):
        raise CannotJoin("pictures beside the cut are missing or damaged in the source")


def frames_at(file: BinaryIO, span: Span, *, low: int, threads: int) -> Iterator[VideoFrame]:
    """As `frames_of`, read anew from the source: the span's frames from `low` ticks on.

    The file's position is kept.
    """
    position = file.tell()
    start = span.offset(low)
    reader = Reader(
        file,
        Span(
            origin=span.origin,
            time_base=span.time_base,
            start=start,
            end=span.end,
            low=low,
            high=span.high,
        ),
        threads=threads,
        preroll=Fraction(0),
        wants=lambda stream: False,
    )
    try:
        for event in reader.events():
            if isinstance(event, VideoFrame):
                yield event
        if reader.damage.count:
            raise CannotJoin("a picture beside the cut is damaged in the source")
    finally:
        reader.close()
        file.seek(position)


def _needed(
    group: Iterable[Coded], low: int, high: int | None
) -> Iterator[tuple[Packet[Stream] | None, int | None]]:
    """Packets to decode, and the time of those that are wanted; None at the end."""
    for coded in group:
        inside = low <= coded.pts and (high is None or coded.pts < high)
        if inside or coded.access.is_reference:
            yield coded.packet, coded.pts if inside else None
    yield None, None


class Encoder:
    """One run of an encoder, whose first picture is the one key frame."""

    def __init__(self, elementary: Elementary, source: VideoStream, quantiser: int) -> None:
        """Raises `CannotJoin` where there is no encoder for such pictures."""
        name, pixel_format, options = elementary.encoding(quantiser)
        header, rate = source.codec_context, nominal_rate(source)
        # Opened before a picture was decoded: the header's word alone would be taken for it.
        if header.width * header.height > most_pixels.get():
            raise CannotJoin("the source's header claims pictures that are too large")
        context = cast(VideoCodecContext, av.CodecContext.create(name, "w"))
        context.width, context.height = header.width, header.height
        declared = header.pix_fmt or pixel_format
        # FFmpeg's "j" formats say full range in their name.
        is_same = declared.replace("yuvj", "yuv") == pixel_format
        context.pix_fmt = declared if is_same else pixel_format
        context.framerate, context.time_base = rate, 1 / rate
        if header.sample_aspect_ratio:
            context.sample_aspect_ratio = header.sample_aspect_ratio
        for field in ("color_range", "color_primaries", "color_trc", "colorspace"):
            setattr(context, field, int(getattr(header, field)))
        context.thread_count = 1
        context.options = dict(options)
        context.flags |= Flags.global_header
        try:
            context.open()
        except (av.error.FFmpegError, ValueError) as error:
            raise CannotJoin(
                f"the encoder does not make pictures of this kind ({context.pix_fmt})"
            ) from error
        self._context, self._elementary, self._rate = context, elementary, rate
        self._times: list[int] = []

    @property
    def extradata(self) -> bytes:
        """Its parameter sets, in Annex B form."""
        return self._context.extradata or b""

    def push(self, frame: VideoFrame) -> Iterator[tuple[Packet[Stream], int]]:
        """Encode; gives packets for the output in decoding order, and their source's pts."""
        context = self._context
        if (frame.width, frame.height) != (context.width, context.height):
            raise CannotJoin("the size of the picture changes beside the cut")
        assert frame.pts is not None
        self._times.append(frame.pts)
        frame.pts, frame.time_base = len(self._times) - 1, 1 / self._rate
        # The source's own picture types would force key frames.
        frame.pict_type = 0
        yield from self._packets(frame)

    def finish(self) -> Iterator[tuple[Packet[Stream], int]]:
        """What is left, as `push` gives it."""
        yield from self._packets(None)

    def _packets(self, frame: VideoFrame | None) -> Iterator[tuple[Packet[Stream], int]]:
        try:
            packets = self._context.encode(frame)
        except av.error.FFmpegError as error:
            raise CannotJoin(f"the encoder refused a picture ({error.strerror})") from error
        for packet in packets:
            assert packet.pts is not None
            yield self._elementary.encoded(packet), self._times[packet.pts]
