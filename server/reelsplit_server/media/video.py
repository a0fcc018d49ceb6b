"""Encoding the frames of a span into an output's video stream."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import cast

import av.error
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from reelsplit_server.media.cadence import (
    Cadence,
    NewRate,
    OwnTimes,
    Timed,
    nominal_rate,
)
from reelsplit_server.media.encoder import choose, encoder_options
from reelsplit_server.media.errors import MediaError
from reelsplit_server.media.formats import ENCODERS, Container, VideoCodec
from reelsplit_server.media.hdr import hdr_of
from reelsplit_server.media.output import Output, inherit, writing
from reelsplit_server.media.pacing import Pacer
from reelsplit_server.media.picture import Shaper, lay_out
from reelsplit_server.media.plan import RenderPlan
from reelsplit_server.media.span import Span

#: Pictures that another may overtake, where the encoder's context does not say. AV1 and VP9 wrap
#: what is not shown together with what is.
_DEPTHS = {VideoCodec.HEVC: 2, VideoCodec.AV1: 0, VideoCodec.VP9: 0}
_UNSPECIFIED = 2
_PROGRESSIVE = 1
_TOP_FIRST = 2


class VideoWriter:
    """Takes frames in order, encodes them, and muxes them at their own times."""

    def __init__(
        self,
        output: Output,
        plan: RenderPlan,
        source: VideoStream,
        first: VideoFrame,
        span: Span,
        on_progress: Callable[[int], None],
    ) -> None:
        """`first` is the first frame of the span: what it says of itself wins over the header."""
        self._output, self._span, self._on_progress = output, span, on_progress
        rate = nominal_rate(source)
        asked = plan.video.frame_rate
        self._cadence: Cadence = OwnTimes(span, rate) if asked is None else NewRate(span, asked)
        codec_name = source.codec_context.codec.canonical_name
        choice = choose(codec_name, first.format.name, plan.container, plan.video)
        self.codec = choice.codec
        reasons = list(choice.reasons)
        interlaced = bool(first.interlaced_frame)
        if interlaced and choice.codec is not VideoCodec.H264:
            reasons.append(
                f"{choice.codec.value} is encoded progressively here: "
                "the fields stay woven together"
            )
        layout = lay_out(
            first,
            sample_aspect=_sample_aspect(source),
            width=plan.width,
            height=plan.height,
            stores_matrix=output.stores_matrix,
            even=choice.codec is not VideoCodec.VP9 and "420" in choice.pixel_format,
        )
        if layout.turns:
            reasons.append("the picture itself was turned, as the container stores no rotation")
        if layout.cropped:
            reasons.append("an odd row or column was cut off, as the encoder takes even sizes")
        hdr = hdr_of(first)
        if hdr is not None and choice.codec is VideoCodec.VP9:
            reasons.append("the HDR10 metadata could not be kept in vp9")
            hdr = None
        self.reason = "; ".join(reasons) or None
        self._shaper = Shaper(layout, choice.pixel_format, interlaced=interlaced)
        self._stream = self._add_stream(
            source,
            encoder_options(
                choice.codec,
                plan.video,
                rate=self._cadence.rate,
                pixel_format=choice.pixel_format,
                threads=plan.threads,
                interlaced=interlaced,
                hdr=hdr,
                sets_in_band=output.container is Container.TS,
            ),
            threads=plan.threads,
        )
        stream, context = self._stream, self._stream.codec_context
        stream.width, stream.height = layout.width, layout.height
        stream.pix_fmt = choice.pixel_format
        context.sample_aspect_ratio = layout.sample_aspect
        if layout.matrix is not None:
            stream.set_display_matrix(layout.matrix)
        if interlaced:
            context.field_order = source.codec_context.field_order or _TOP_FIRST
        _keep_colour(stream, source, first)
        self._open(plan)
        self.time_base, self.rate = self._cadence.time_base, self._cadence.rate
        self.placed = array("q")
        """When each frame is shown in the output, in ticks of `time_base`."""
        self.placed_end = 0
        """When the last frame ends there."""
        self.overshoots = False
        """Whether the header will say that the video lasts longer than it does."""
        self._times: dict[int, int] = {}
        self._pacer = Pacer(
            output,
            self._stream,
            self.time_base,
            depth=_DEPTHS.get(self.codec, context.reorder_depth),
            step=max(1, round(1 / (self.rate * self.time_base))),
        )
        self._first_pts: int | None = None
        self._last_pts = self._last_duration = 0
        self.frame_count = self._encoded = 0
        self.start_pts = self.end_pts = 0

    def push(self, frame: VideoFrame) -> None:
        if self._first_pts is None:
            self._first_pts = self.start_pts = frame.pts or 0
        self._last_pts, self._last_duration = frame.pts or 0, frame.duration
        for timed in self._cadence.push(frame):
            self._encode(timed)

    def finish(self, beyond: int | None) -> None:
        """Encode what is left. `beyond` is when the source's next frame is shown, in ticks."""
        assert self._first_pts is not None
        self.end_pts = self._last_pts + self._ticks_of_last(beyond)
        end = (self.end_pts - self._first_pts) * self._span.time_base
        for timed in self._cadence.finish(end):
            self._encode(timed)
        # One by one: what a slow encoder has held back may take minutes.
        rest = self._stream.codec_context.encode_lazy(None)
        while (packet := _next(rest)) is not None:
            self._mux([packet])
        self.overshoots = self._pacer.finish(self.placed_end)

    def _ticks_of_last(self, beyond: int | None) -> int:
        """How long the last frame is shown: until the next one, but not far beyond the range
        where the source's picture pauses there."""
        usual = max(1, round(1 / (self._cadence.rate * self._span.time_base)))
        if isinstance(self._cadence, NewRate):
            usual = max(1, self._last_duration or usual)
        if beyond is None:
            # What is a rounding away from the usual is the usual.
            said = self._last_duration
            return said if said and abs(said - usual) > 1 else usual
        high = self._span.high
        assert high is not None
        return min(beyond - self._last_pts, max(high - self._last_pts, usual))

    def _add_stream(
        self, source: VideoStream, options: dict[str, str], *, threads: int
    ) -> VideoStream:
        with writing():
            stream = cast(
                VideoStream,
                self._output.file.add_stream(
                    ENCODERS[self.codec], rate=self._cadence.rate, options=options
                ),
            )
        stream.codec_context.time_base = 1 / self._cadence.rate
        stream.codec_context.thread_count = threads
        stream.time_base = self._cadence.time_base
        if self.codec is VideoCodec.HEVC and self._output.container in (
            Container.MP4,
            Container.MOV,
        ):
            # Apple's players take hvc1 only.
            stream.codec_context.codec_tag = "hvc1"
        inherit(stream, source)
        return stream

    def _open(self, plan: RenderPlan) -> None:
        context = self._stream.codec_context
        try:
            context.open()
        except (av.error.FFmpegError, ValueError) as error:
            raise MediaError(
                "ENCODER_REFUSED",
                f"The {self.codec.value} encoder does not take these settings together: "
                f"{self._stream.width}x{self._stream.height}, {self._stream.pix_fmt}, "
                "and the preset, profile, level and rates asked for.",
                metadata={"detail": str(error)[:200]},
            ) from error

    def _encode(self, timed: Timed) -> None:
        frame = self._shaper.shape(timed.frame)
        frame.pict_type = 0
        frame.pts = timed.slot
        frame.time_base = 1 / self._cadence.rate
        self.placed.append(timed.time)
        self.placed_end = timed.time + timed.duration
        self._times[timed.slot] = timed.time
        with writing():
            packets = self._stream.encode(frame)
        if frame is timed.frame:
            # It may be encoded again, at another slot.
            frame.time_base = self._span.time_base
        self.frame_count += 1
        self._mux(packets)

    def _mux(self, packets: list[Packet[Stream]]) -> None:
        for packet in packets:
            assert packet.pts is not None
            self._pacer.push(packet, self._times.pop(packet.pts))
        # Encoders hold frames back, and take them fast as long as they only do that.
        self._encoded += len(packets)
        self._on_progress(self._encoded)


def _next(packets: Iterator[Packet[Stream]]) -> Packet[Stream] | None:
    with writing():
        return next(packets, None)


def _sample_aspect(stream: VideoStream) -> Fraction:
    ratio = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    return Fraction(ratio) if ratio else Fraction(1)


def _keep_colour(stream: VideoStream, source: VideoStream, first: VideoFrame) -> None:
    context, header = stream.codec_context, source.codec_context
    for name in ("color_primaries", "color_trc", "colorspace"):
        value = int(getattr(first, name))
        setattr(context, name, int(getattr(header, name)) if value == _UNSPECIFIED else value)
    context.color_range = int(first.color_range) or int(header.color_range)
