"""Decoding a video stream from its beginning: every presented frame, whatever is broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import av.error
from av.codec.context import ThreadType
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

#: Demuxing goes on after an error, but not after this many in a row.
_MAX_DEMUX_ERRORS = 8
#: How much earlier, in seconds, each further try to enter a source aims: seeks are not trusted.
STEPS_BACK = (0, Fraction(1, 2), 2, 10, 60)


@dataclass(slots=True, kw_only=True)
class Damage:
    """What was found broken while reading; filled in as decoding goes on."""

    count: int = 0
    detail: str | None = None
    """The first thing found, in words."""

    torn: bool = False
    """The file ends in the middle of a packet."""

    restarts: int = 0
    """How often the clock starts over: times fall back by a second and more."""

    first: Fraction | None = None
    last: Fraction | None = None
    """The earliest and the latest place found whose time is known: seconds on the source's own
    clock."""

    def note(self, detail: str, at: Fraction | None = None) -> None:
        """Count a broken place; `at` is when it would have been shown, as `first`."""
        self.count += 1
        if at is not None:
            self.first = at if self.first is None else min(at, self.first)
            self.last = at if self.last is None else max(at, self.last)
        if self.detail is None:
            self.detail = detail

    def between(self, zero: Fraction) -> tuple[Fraction, Fraction] | None:
        """`first` and `last` in seconds from `zero`, a time on the source's clock."""
        if self.first is None or self.last is None:
            return None
        return self.first - zero, self.last - zero

    def tear(self, detail: str) -> None:
        self.torn = True
        self.note(detail)


def prepare(container: InputContainer, stream: VideoStream, threads: int = 0) -> None:
    """Make `stream` the only one that is read, decoded by `threads` threads (0: one a core)."""
    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all
    stream.codec_context.thread_type = ThreadType.AUTO
    stream.codec_context.thread_count = threads


def frame_rate(stream: VideoStream) -> Fraction:
    """Frames a second, as good as the container knows: never None, never zero."""
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate
    return Fraction(rate) if rate else Fraction(25)


def time_base(stream: VideoStream) -> Fraction:
    return Fraction(stream.time_base or Fraction(1, 90_000))


def carried(
    container: InputContainer, stream: VideoStream | None, on_break: Callable[[str], None]
) -> Iterator[Packet[Stream]]:
    """Packets that carry data, of one stream or of all that are not discarded; an empty one would
    tell a decoder to drain and take nothing more.

    `on_break` hears of what the demuxer trips over, in words, and reading goes on as long as that
    makes sense. Errors of the file object itself (a lost connection) come through.
    """
    failures = 0
    while failures < _MAX_DEMUX_ERRORS:
        try:
            streams = [] if stream is None else [stream]
            for packet in container.demux(*streams):
                failures = 0
                if packet.size and packet.stream.discard != Discard.all:
                    yield packet
            return
        except av.error.FFmpegError as error:
            failures += 1
            on_break(f"the container breaks off or is corrupt ({error.strerror})")


def seek(container: InputContainer, stream: VideoStream, target: int, base: Fraction) -> bool:
    """Go to a key frame at or before `target`, in ticks of `base`; whether there is a way."""
    if container.format.name.startswith("mov,mp4"):
        # FFmpeg compares decoding times, moved by a constant. Where times are rounded, it misses
        # a key frame that is aimed at exactly.
        target += round(1 / frame_rate(stream) / base / 2)
    try:
        container.seek(target, stream=stream)
    except (av.error.FFmpegError, OverflowError):
        return False
    return True


def packets(
    container: InputContainer, stream: VideoStream, damage: Damage
) -> Iterator[Packet[VideoStream]]:
    """The stream's packets that carry data. What the demuxer trips over is noted, not raised.

    A packet that the end of the file tears apart is left out: a decoder with frame threads loses
    the good frames before it.
    """
    torn: Packet[VideoStream] | None = None
    for packet in carried(container, stream, damage.note):
        if torn is not None:
            yield torn
        torn = cast("Packet[VideoStream]", packet) if packet.is_corrupt else None
        if torn is None:
            yield cast("Packet[VideoStream]", packet)
    if torn is not None:
        damage.tear(f"the file ends in the middle of the packet at {torn.pts}")


def decoded(
    container: InputContainer,
    stream: VideoStream,
    damage: Damage,
    on_packet: Callable[[Packet[VideoStream]], None] | None = None,
) -> Iterator[VideoFrame]:
    """All frames that the decoder puts out, in order, as they are."""
    for packet in packets(container, stream, damage):
        if on_packet is not None:
            on_packet(packet)
        try:
            yield from stream.decode(packet)
        except av.error.FFmpegError as error:
            at = None if packet.pts is None else packet.pts * time_base(stream)
            damage.note(f"a packet at {packet.pts} cannot be decoded ({error.strerror})", at)
    try:
        yield from stream.decode(None)
    except av.error.FFmpegError as error:
        damage.note(f"the last frames cannot be decoded ({error.strerror})")


def presented(
    container: InputContainer,
    stream: VideoStream,
    damage: Damage,
    on_packet: Callable[[Packet[VideoStream]], None] | None = None,
) -> Iterator[VideoFrame]:
    """As `decoded`, with a `pts` on every frame, in ticks of the stream, strictly increasing.

    Frames without a time get the next one. Where times jump back by a second and more (files
    joined end to end) what follows is moved on, else the frame is moved by the least that keeps
    the order; both are noted as damage.
    """
    base = time_base(stream)
    step = max(1, round(1 / frame_rate(stream) / base))
    guessed = guessed_times(container, stream)
    last: int | None = None
    moved = 0
    for frame in decoded(container, stream, damage, on_packet):
        pts = frame.pts if frame.pts is not None and not guessed else frame.dts
        if pts is None:
            pts = 0 if last is None else last + step
        else:
            pts += moved
        if last is not None and pts <= last:
            damage.note(f"presentation times do not increase at {pts}")
            if (last - pts) * base >= 1:
                damage.restarts += 1
                moved += last + step - pts
                pts = last + step
            else:
                pts = last + 1
        last = pts
        step = frame.duration or step
        frame.pts = pts
        frame.time_base = base
        yield frame


def guessed_times(container: InputContainer, stream: VideoStream) -> bool:
    """Whether presentation times are FFmpeg's guesses, which decode times beat.

    AVI has no presentation times, only the order of decoding at a constant rate. FFmpeg makes
    them up; for H.264 with B-frames they come out of order.
    """
    codec = stream.codec_context.codec.canonical_name
    return container.format.name == "avi" and codec in ("h264", "hevc")
