"""Where audio packets lie, in whole samples: containers round their times, samples follow on."""

from __future__ import annotations

import math
from fractions import Fraction

from av.audio.stream import AudioStream
from av.packet import Packet
from av.stream import Stream

#: Samples from time 0 beyond which a packet's time is a lie (or a film of more than 40 years).
_FARTHEST = 1 << 46
#: Seconds of sound in one packet, at most, whatever the file says.
_LONGEST = 1
#: Samples in a packet where nobody knows.
_USUAL = 1024
#: Samples at 48 kHz in one Opus frame, by the configuration in a packet's first byte.
_OPUS_FRAMES = (*(480, 960, 1920, 2880) * 3, *(480, 960) * 2, *(120, 240, 480, 960) * 4)


class Grid:
    """Times of a source's packets, counted in samples from time 0 of the output."""

    def __init__(self, source: AudioStream, zero: Fraction) -> None:
        """`zero`: what becomes time 0, seconds on the source's own clock."""
        context = source.codec_context
        self.rate: int = context.sample_rate
        self.tick = Fraction(source.time_base or Fraction(1, self.rate))
        """Seconds; the source's times are rounded to it."""
        self._zero = zero
        self._frame = context.frame_size or 0
        self._is_opus = context.codec.canonical_name == "opus"
        self._slack = math.ceil(self.tick * self.rate) + 1
        self._next: int | None = None

    def own(self, packet: Packet[Stream]) -> int | None:
        """Where the packet itself says that it lies. Without a time it follows the one before;
        None where there is none, or where the time cannot be true."""
        ticks = packet.pts if packet.pts is not None else packet.dts
        if ticks is None:
            return self._next
        at = round((ticks * self.tick - self._zero) * self.rate)
        return at if abs(at) < _FARTHEST else None

    def length(self, packet: Packet[Stream]) -> int:
        """Samples in a coded packet: by its codec where that tells, else by its duration."""
        if self._is_opus and packet.size:
            return _opus_length(bytes(packet)[:2], self.rate)
        said = round((packet.duration or 0) * self.tick * self.rate)
        if self._frame and (not said or abs(said - self._frame) <= self._slack):
            return self._frame
        return said if 0 < said <= _LONGEST * self.rate else self._frame or _USUAL

    def settle(self, own: int, count: int) -> int:
        """Where a packet of `count` samples is put that lies at `own` by its own rounded time:
        right after the one before, unless the two lie apart by more than a rounding."""
        follows = self._next is not None and abs(own - self._next) <= self._slack
        at = self._next if follows and self._next is not None else own
        self._next = at + count
        return at


def _opus_length(head: bytes, rate: int) -> int:
    frame = _OPUS_FRAMES[head[0] >> 3]
    code = head[0] & 3
    count = (1, 2, 2, head[1] & 63 if len(head) > 1 else 1)[code]
    # A packet never lasts longer than 120 ms.
    return min(frame * max(count, 1), 5760) * rate // 48_000
