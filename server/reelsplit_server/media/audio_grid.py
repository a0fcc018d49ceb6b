"""Where audio packets lie, in whole samples: containers round their times, samples follow on."""

from __future__ import annotations

import math
from fractions import Fraction

from av.audio.stream import AudioStream
from av.packet import Packet
from av.stream import Stream

#: Seconds from time 0 beyond which a packet's time is a lie (or a film of 30 years).
_FARTHEST = 10**9
#: Seconds of sound in one packet, at most, whatever the file says.
_LONGEST = 1
#: Samples in a packet: of these codecs where FFmpeg does not tell, and where nobody knows.
_FRAMES = {"aac": 1024, "ac3": 1536, "eac3": 1536, "mp2": 1152, "mp3": 1152}
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
        codec = context.codec.canonical_name
        self._frame = context.frame_size or _FRAMES.get(codec, 0)
        self._is_opus = codec == "opus"
        self.slack = math.ceil(self.tick * self.rate) + 1
        """Samples by which rounding moves two packets against each other, at most."""
        # In whole numbers, as this is counted for every packet.
        each = self.tick * self.rate
        self._samples, self._ticks = each.numerator, each.denominator
        self._counts_samples = each <= 2
        self._least = math.ceil((zero - _FARTHEST) / self.tick)
        self._most = math.floor((zero + _FARTHEST) / self.tick)
        self._saw_whole = False
        self._next: int | None = None

    def time(self, packet: Packet[Stream]) -> Fraction | None:
        """Seconds on the source's own clock, as the packet says; the same for whoever asks.
        Without a time it follows the one before; None where there is none, or where the time
        cannot be true."""
        ticks = packet.pts if packet.pts is not None else packet.dts
        if ticks is not None:
            return ticks * self.tick if self._least < ticks < self._most else None
        if self._next is None or self._next >= _FARTHEST * self.rate:
            return None
        return self._zero + Fraction(self._next, self.rate)

    @property
    def knows_lengths(self) -> bool:
        """Whether `length` is exact. Else it is a duration, rounded like the times."""
        return self._is_opus or self._frame > 0

    def length(self, packet: Packet[Stream]) -> int:
        """Samples in a coded packet: by its codec where that tells, else by its duration."""
        if self._is_opus and packet.size:
            return _opus_length(bytes(packet)[:2], self.rate)
        said = self._said(packet)
        if self._frame and (not said or abs(said - self._frame) <= self.slack):
            self._saw_whole = self._saw_whole or said > 0
            return self._frame
        if self.shortened(packet) or self._is_too_long(said):
            return self._frame
        return said if 0 < said <= _LONGEST * self.rate else self._frame or _USUAL

    def shortened(self, packet: Packet[Stream]) -> int:
        """Samples at a packet's end that are none of the source's sound: files whose clock counts
        samples say so by a shorter last duration."""
        said = self._said(packet)
        is_short = 0 < said < self._frame and self._counts_samples
        return self._frame - said if is_short and self._saw_whole else 0

    def _is_too_long(self, said: int) -> bool:
        """Whether a hole was counted to the packet before it. Twice the usual is no hole: decoders
        that know an extension of AAC give that."""
        return 0 < self._frame < said and abs(said - 2 * self._frame) > self.slack

    def _said(self, packet: Packet[Stream]) -> int:
        return _rounded((packet.duration or 0) * self._samples, self._ticks)

    def settle(self, time: Fraction, count: int, *, is_exact: bool = True) -> int:
        """Where a packet of `count` samples is put that lies at `time` by its own rounded word:
        right after the one before, unless the two lie apart by more than a rounding. Where the
        count is not `is_exact`, that would add up."""
        zero = self._zero
        later = time.numerator * zero.denominator - zero.numerator * time.denominator
        at = _rounded(later * self.rate, time.denominator * zero.denominator)
        if is_exact and self._next is not None and abs(at - self._next) <= self.slack:
            at = self._next
        self._next = at + count
        return at


def _rounded(number: int, by: int) -> int:
    """The quotient, to the nearest whole."""
    return (2 * number + by) // (2 * by)


def _opus_length(head: bytes, rate: int) -> int:
    frame = _OPUS_FRAMES[head[0] >> 3]
    code = head[0] & 3
    count = (1, 2, 2, head[1] & 63 if len(head) > 1 else 1)[code]
    # A packet never lasts longer than 120 ms.
    return min(frame * max(count, 1), 5760) * rate // 48_000
