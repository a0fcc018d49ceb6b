"""Audio that is not compressed: copied, and cut on the sample."""

from __future__ import annotations

from fractions import Fraction

from av.audio.stream import AudioStream
from av.packet import Packet
from av.stream import Stream

from reelsplit_server.media.audio_grid import Grid
from reelsplit_server.media.output import Output, inherit, writing
from reelsplit_server.media.placed import AudioPlaced

#: Bytes in a sample of one channel.
_WIDTHS = {
    "pcm_s16le": 2,
    "pcm_s16be": 2,
    "pcm_s24le": 3,
    "pcm_s24be": 3,
    "pcm_s32le": 4,
    "pcm_f32le": 4,
    "pcm_u8": 1,
    "pcm_alaw": 1,
    "pcm_mulaw": 1,
}


def is_sliceable(codec: str) -> bool:
    """Whether packets of this codec can be cut on any sample."""
    return codec in _WIDTHS


class SlicedAudio:
    """Samples as they are: the packets at both ends are cut where the range ends, as their own
    times say, so that neighbouring segments have every sample once."""

    def __init__(
        self, output: Output, source: AudioStream, start: Fraction, end: Fraction | None
    ) -> None:
        """`start` and `end`: seconds on the source's own clock."""
        self.done = False
        self.end = end
        self._output, self._start = output, start
        self._grid = Grid(source, start)
        context = source.codec_context
        self._codec = context.codec.canonical_name
        self._size = _WIDTHS[self._codec] * context.channels
        with writing():
            self._stream = output.file.add_stream_from_template(source)
        self._stream.time_base = self._base = Fraction(1, self._grid.rate)
        inherit(self._stream, source)
        self._first: int | None = None
        self._next = 0

    def take(self, packet: Packet[Stream]) -> None:
        if self.done:
            return
        time = self._grid.time(packet)
        count = packet.size // self._size
        if time is None or not count:
            return
        at = self._grid.settle(time, count)
        skip = max(0, round((self._start - time) / self._base))
        until = count
        if self.end is not None:
            until = min(count, round((self.end - time) / self._base))
            self.done = until < count
        if self._first is not None and self._next - at > self._grid.slack:
            # The source repeats itself.
            skip = max(skip, self._next - at)
        if until <= skip:
            return
        place = max(at + skip, self._next) if self._first is not None else max(at + skip, 0)
        sliced: Packet[Stream] = Packet(bytes(packet)[skip * self._size : until * self._size])
        self._first = place if self._first is None else self._first
        self._next = place + until - skip
        sliced.pts = sliced.dts = place
        sliced.duration = until - skip
        sliced.time_base = self._base
        sliced.is_keyframe = True
        sliced.stream = self._stream
        self._output.mux(sliced)

    def finish(self) -> None:
        self.done = True

    @property
    def placed(self) -> AudioPlaced:
        return AudioPlaced(
            index=self._stream.index,
            codec=self._codec,
            first=(self._first or 0) * self._base,
            last=self._next * self._base,
            tolerance=self._output.tick + self._grid.tick + self._base,
            overrun=Fraction(0),
            empty=self._first is None,
        )
