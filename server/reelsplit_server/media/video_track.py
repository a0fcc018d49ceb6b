"""The output's video stream, when packets come ready made: copied ones, and an encoder's."""

from __future__ import annotations

from fractions import Fraction

from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from reelsplit_server.media.cadence import OwnTimes, nominal_rate
from reelsplit_server.media.order import Order
from reelsplit_server.media.output import Output, inherit, writing
from reelsplit_server.media.span import Span

#: The stream's tag in MP4 and MOV: parameter sets stand in the header only. QuickTime and iOS
#: play no other.
_TAGS = {"h264": "avc1", "hevc": "hvc1"}


class VideoTrack:
    """Takes packets in decoding order with the source's presentation times, and gives them all
    other times anew: nothing is left of the source's decode times, nor of an encoder's."""

    def __init__(
        self,
        output: Output,
        source: VideoStream,
        span: Span,
        *,
        zero: int,
        extradata: bytes | None,
    ) -> None:
        """`zero`: the source's tick that becomes time 0. `extradata` None is the source's own."""
        self._output, self._span = output, span
        context = source.codec_context
        codec = context.codec.canonical_name
        rate = nominal_rate(source)
        self._times = OwnTimes(span, rate)
        with writing():
            self._stream = output.file.add_stream_from_template(source, opaque=True)
        if extradata is not None:
            self._stream.codec_context.extradata = extradata
        if output.is_iso and codec in _TAGS:
            self._stream.codec_context.codec_tag = _TAGS[codec]
        elif codec == "prores":
            # Nothing but the tag says which profile it is.
            self._stream.codec_context.codec_tag = context.codec_tag
        self._stream.codec_context.framerate = rate
        self._stream.time_base = self._times.time_base
        inherit(self._stream, source)
        self._step = max(1, round(1 / rate / span.time_base))
        self._order = Order(depth=context.reorder_depth, step=self._step)
        self._held: Packet[Stream] | None = None
        self._delay = 0
        self.zero = zero
        """The source's tick that became time 0."""
        self.frame_count = 0
        """Packets taken, hidden ones too."""
        self.step = self._step
        """Ticks of the source that a frame is usually shown for."""

    @property
    def time_base(self) -> Fraction:
        """Seconds in a tick of the output's stream, as far as the container keeps it."""
        return self._times.time_base

    def place(self, pts: int) -> int:
        """The output's tick for a tick of the source; rising as its argument rises."""
        return self._times.ticks(pts - self.zero)

    def push(self, packet: Packet[Stream], pts: int) -> None:
        """Take the next packet in decoding order, shown at `pts`, a tick of the source."""
        self.frame_count += 1
        packet.pts = pts
        for ready in self._order.push(packet):
            self._write(ready)

    def finish(self, end_pts: int) -> bool:
        """Write what is left; the frame shown last ends at `end_pts`, a tick of the source.

        Answers whether the muxer will take the presentation for longer than that.
        """
        for ready in self._order.finish(end_pts):
            self._write(ready)
        last, self._held = self._held, None
        if last is None:
            return False
        assert last.dts is not None
        assert last.pts is not None
        if self._output.is_iso:
            # These files add up decode times: the packet decoded last ends the track.
            left = self.place(end_pts) - self._delay - last.dts
            last.duration = max(last.duration or 1, left)
        overshoots = last.pts + (last.duration or 0) > self.place(end_pts)
        self._mux(last)
        return self._output.is_iso and overshoots

    def _write(self, packet: Packet[Stream]) -> None:
        pts, dts, duration = packet.pts or 0, packet.dts or 0, packet.duration or 1
        packet.duration = max(1, self.place(pts + duration) - self.place(pts))
        packet.pts, packet.dts = self.place(pts), self.place(dts)
        packet.time_base = self._times.time_base
        if self._held is None:
            self._delay = packet.pts - packet.dts
        else:
            self._mux(self._held)
        self._held = packet

    def _mux(self, packet: Packet[Stream]) -> None:
        packet.stream = self._stream
        self._output.mux(packet)
