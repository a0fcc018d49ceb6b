"""Where the sound of a written track begins and ends, read off its packets."""

from __future__ import annotations

from fractions import Fraction

import av.error
from av.audio.stream import AudioStream
from av.packet import Packet
from av.stream import Stream

from reelsplit_server.media.placed import AudioPlaced
from reelsplit_server.media.trial import failed

#: Packets decoded at the start of a track, to see that some can be.
_TRIED = 4
#: MP4 has one name for both.
_ONE_IN_MP4 = {"mp2", "mp3"}


class Heard:
    """Takes a track's packets in order."""

    def __init__(self, stream: AudioStream) -> None:
        self._stream = stream
        self._base = Fraction(stream.time_base or 1)
        self._rate = stream.codec_context.sample_rate or 1
        self._name = f"the sound of stream {stream.index}"
        self._first: int | None = None
        self._skip = 0
        self._last = self._duration = self._usual = 0
        self._final: Packet[Stream] | None = None
        self._tried = self._broken = 0

    @property
    def latest(self) -> Fraction:
        """Seconds on the file's clock: the end of the last packet so far, 0 without any."""
        return (self._last + self._duration) * self._base

    def take(self, packet: Packet[Stream]) -> None:
        """Raises `VerificationFailed` where times do not increase."""
        pts = packet.pts
        if pts is None:
            raise failed("audio", f"{self._name} has packets without a time")
        if self._first is None:
            self._first = pts
        elif pts < self._last:
            raise failed("audio", f"{self._name} goes back in time at {self._at(pts)}")
        elif pts == self._last:
            # Where an edit is shorter than a packet, FFmpeg puts pre-roll at 0, too.
            self._skip = 0
        self._last, self._duration = pts, packet.duration or 0
        self._usual = max(self._usual, self._duration)
        self._final = packet
        if self._tried < _TRIED:
            self._tried += 1
            self._skip += _skipped(packet)[0]
            try:
                self._stream.codec_context.decode(packet)
            except av.error.FFmpegError:
                self._broken += 1

    def offset(
        self, placed: AudioPlaced, zero: Fraction, slack: Fraction, *, trims: bool
    ) -> Fraction | None:
        """Seconds by which the sound begins later than it should; None where there is none.

        `zero` is the output's time 0 on the file's clock; `slack` is how far, in seconds, the
        container rounds, and `trims` whether it can end sound within a packet. Raises
        `VerificationFailed` where begin or end are not as placed.
        """
        if placed.empty != (self._first is None):
            raise failed("audio", f"{self._name} is {'not ' if placed.empty else ''}empty")
        if self._first is None:
            return None
        codec = self._stream.codec_context.codec.canonical_name
        if codec != placed.codec and {codec, placed.codec} != _ONE_IN_MP4:
            raise failed("audio", f"{self._name} is {codec} instead of {placed.codec}")
        if self._broken == self._tried and not placed.is_copied:
            raise failed("audio", f"{self._name} cannot be decoded")
        allowed = placed.tolerance + slack
        first = self._first * self._base + Fraction(self._skip, self._rate) - zero
        if abs(first - placed.first) > allowed:
            raise failed(
                "audio",
                f"{self._name} begins at {float(first):.4f} s "
                f"instead of {float(placed.first):.4f} s",
            )
        last = self._end() - zero
        beyond = placed.overrun if trims else max(placed.overrun, self._usual * self._base)
        if self._usual and not -allowed <= last - placed.last <= allowed + beyond:
            raise failed(
                "audio",
                f"{self._name} ends at {float(last):.4f} s instead of {float(placed.last):.4f} s",
            )
        return first - placed.first

    def _end(self) -> Fraction:
        """Seconds on the file's clock: when the last sample that is to be heard ends."""
        end = (self._last + self._duration) * self._base
        discard = 0 if self._final is None else _skipped(self._final)[1]
        if discard:
            # Some containers have shortened the duration by what is to be discarded already.
            full = (self._last + self._usual) * self._base
            end = min(end, full - Fraction(discard, self._rate))
        return end

    def _at(self, pts: int) -> str:
        return f"{float(pts * self._base):.3f} s"


def _skipped(packet: Packet[Stream]) -> tuple[int, int]:
    """Samples that are not to be heard, at the packet's beginning and at its end."""
    if not packet.has_sidedata("skip_samples"):
        return 0, 0
    # Two numbers of four bytes, the least significant byte first.
    data = bytes(packet.get_sidedata("skip_samples"))
    return int.from_bytes(data[:4], "little"), int.from_bytes(data[4:8], "little")
