"""The output's video stream, when packets come ready made: copied ones, and an encoder's."""

from __future__ import annotations

from fractions import Fraction

from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from reelsplit_server.media.cadence import OwnTimes, nominal_rate
from reelsplit_server.media.output import Output, inherit, writing
from reelsplit_server.media.pacing import Pacer
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
        self._pacer = Pacer(
            output,
            self._stream,
            self._times.time_base,
            depth=context.reorder_depth,
            step=max(1, round(1 / (rate * self._times.time_base))),
        )
        self.zero = zero
        """The source's tick that became time 0."""
        self.step = max(1, round(1 / rate / span.time_base))
        """Ticks of the source that a frame is usually shown for."""

    @property
    def frame_count(self) -> int:
        """Packets taken, hidden ones too."""
        return self._pacer.frame_count

    @property
    def time_base(self) -> Fraction:
        """Seconds in a tick of the output's stream, as far as the container keeps it."""
        return self._times.time_base

    def place(self, pts: int) -> int:
        """The output's tick for a tick of the source; rising as its argument rises."""
        return self._times.ticks(pts - self.zero)

    def push(self, packet: Packet[Stream], pts: int) -> None:
        """Take the next packet in decoding order, shown at `pts`, a tick of the source."""
        self._pacer.push(packet, self.place(pts))

    def finish(self, end_pts: int) -> bool:
        """Write what is left; the frame shown last ends at `end_pts`, a tick of the source.

        Answers whether the muxer will take the presentation for longer than that.
        """
        return self._pacer.finish(self.place(end_pts))
