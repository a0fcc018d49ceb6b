"""Reading one stretch of a source: from a clean entry before it to the last frame inside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import chain
from typing import BinaryIO

import av.error
from av.codec.context import ThreadType
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Stream
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from reelsplit_server.media.container import open_source, video_stream
from reelsplit_server.media.decoding import STEPS_BACK, Damage, carried, guessed_times, seek
from reelsplit_server.media.decoding import frame_rate as rate_of
from reelsplit_server.media.holes import Holes
from reelsplit_server.media.others import Pending, unrepeated
from reelsplit_server.media.span import Span

#: How often an entry whose first frames do not decode is given up for an earlier one.
_MAX_DIRTY_ENTRIES = 4
#: Packets held for a decision, at most: more than any real group of pictures.
_MAX_HELD = 4096
#: Seconds beyond the end at which the other streams' late packets are no longer waited for.
_SKEW = 5


class Reader:
    """Frames of the span, and the other streams' packets around it, in the order of the file.

    Seeks are never trusted: after one, the first decoded frame must lie at or before the span's
    start, else the reader steps further back, at last to the beginning.
    """

    def __init__(
        self,
        file: BinaryIO,
        span: Span,
        *,
        threads: int,
        preroll: Fraction,
        wants: Callable[[Stream], bool],
        early: Sequence[Packet[Stream]] | None = None,
    ) -> None:
        """`preroll` is how many seconds of the other streams' packets are read ahead of the
        span; streams that `wants` refuses are not read at all. Where those packets are given as
        `early`, they come first, and no video is read for their sake."""
        self.span = span
        self.damage = Damage()
        self.beyond: int | None = None
        """Ticks: when the first frame after the span is shown, once that is known."""
        self.video_done = False
        self._file, self._threads, self._wants = file, threads, wants
        self._early, self._preroll = early or (), preroll if early is None else Fraction(0)
        self._open()

    def close(self) -> None:
        self.container.close()

    def is_past(self, span: Span) -> bool:
        """Whether no stream brings any more of a span that ends within the reader's own."""
        if span.high is None:
            return False
        ahead = 0 if self._latest is None else self._latest - span.high
        return ahead * span.time_base > _SKEW or self._pending.nothing_before(
            span.high * span.time_base
        )

    def events(self) -> Iterator[VideoFrame | Packet[Stream]]:
        """The span's frames, strictly increasing in pts; every packet of another stream."""
        others, frames, packets = self._enter()
        later = unrepeated(self._early)
        yield from self._early
        yield from filter(later, others)
        yield from self._kept(frames)
        for packet in packets:
            if packet.stream_index != self.video.index:
                if later(packet):
                    yield packet
            elif not self.video_done:
                yield from self._kept(self._decode(packet))
            if self.video_done and self.is_past(self.span):
                return
        if not self.video_done:
            yield from self._kept(self._decode(None))
            if self._holes.at_end(self.span.high):
                self._note("the file breaks off", self._last)
            self.video_done = True

    def _open(self) -> None:
        self.container: InputContainer = open_source(self._file)
        self.video: VideoStream = video_stream(self.container)
        for stream in self.container.streams:
            if stream.index != self.video.index and not self._wants(stream):
                stream.discard = Discard.all
        self._pending = Pending(self.container, self.video)
        context = self.video.codec_context
        context.thread_type = ThreadType.AUTO
        context.thread_count = self._threads
        self._step = max(1, round(1 / rate_of(self.video) / self.span.time_base))
        self._last: int | None = None
        self._latest: int | None = None
        """Ticks of the video's last packet."""
        self._moved = 0
        self._holes = Holes(self._file, self.video)
        self._entry = self.span.origin
        self._guessed = guessed_times(self.container, self.video)

    def _enter(self) -> tuple[list[Packet[Stream]], list[VideoFrame], Iterator[Packet[Stream]]]:
        ticks_a_second = 1 / self.span.time_base
        limit = self.span.low
        early = round(self._preroll * ticks_a_second)
        for _ in range(_MAX_DIRTY_ENTRIES):
            for step in STEPS_BACK:
                target = limit - early - round(step * ticks_a_second)
                if target <= self.span.origin:
                    break
                if not self._seek(target):
                    break
                entered = self._try(limit)
                if isinstance(entered, tuple):
                    return entered
                if entered is not None:
                    limit = entered - 1
                    break
            else:
                break
            if limit - early <= self.span.origin:
                break
        self.container.close()
        self._open()
        entered = self._try(limit)
        if isinstance(entered, tuple):
            return entered
        self.container.close()
        self._open()
        entered = self._try(None)
        assert isinstance(entered, tuple)
        return entered

    def _seek(self, target: int) -> bool:
        if not seek(self.container, self.video, target, self.span.time_base):
            return False
        self._last, self._moved = None, 0
        self._holes.rewind()
        return True

    def _try(
        self, limit: int | None
    ) -> tuple[list[Packet[Stream]], list[VideoFrame], Iterator[Packet[Stream]]] | int | None:
        """Read on to the last key frame at or before `limit` and decode from there.

        Answers what was read; or the pts of a key frame that turned out not to be a clean entry;
        or None where no key frame comes in time. Without a limit everything is decoded.
        """
        self.damage = Damage()
        others: list[Packet[Stream]] = []
        held: list[Packet[Stream]] = []
        entry: int | None = None
        packets = self._packets()
        for packet in packets:
            if packet.stream_index != self.video.index:
                others.append(packet)
                continue
            if limit is not None:
                time = packet.pts if packet.pts is not None else packet.dts
                if packet.is_keyframe and time is not None and time <= limit:
                    held, entry = [], time
                elif entry is None:
                    if time is not None and time > limit:
                        return None
                    continue
            held.append(packet)
            if limit is None or len(held) > _MAX_HELD or self._reaches_start(packet):
                break
        if limit is not None and entry is None:
            return None
        if entry is not None:
            self._entry = entry
        ready: list[VideoFrame] = []
        first: int | None = None
        left = len(held)
        for packet in chain(held, packets):
            left -= 1
            if packet.stream_index != self.video.index:
                others.append(packet)
                continue
            frames = self._decode(packet)
            if frames and first is None:
                first = frames[0].pts
            ready += [frame for frame in frames if (frame.pts or 0) >= self.span.low]
            if left <= 0 and first is not None:
                break
        if first is None:
            ready = self._decode(None)
            first = ready[0].pts if ready else None
            self.video_done = not ready
        if limit is not None and entry is not None and (first is None or first > self.span.low):
            self.video_done = False
            return entry
        return others, ready, packets

    def _reaches_start(self, packet: Packet[Stream]) -> bool:
        low = self.span.low
        return (packet.pts is not None and packet.pts >= low) or (
            packet.dts is not None and packet.dts >= low
        )

    def _packets(self) -> Iterator[Packet[Stream]]:
        for packet in carried(self.container, None, self.damage.note):
            is_video = packet.stream_index == self.video.index
            if is_video and self._holes.before(packet) and not self.video_done:
                self._note("a packet is empty", packet.dts)
            if is_video:
                self._latest = packet.dts if packet.dts is not None else packet.pts
            self._pending.saw(packet)
            yield packet

    def _decode(self, packet: Packet[Stream] | None) -> list[VideoFrame]:
        try:
            frames = self.video.codec_context.decode(packet)
        except av.error.FFmpegError as error:
            pts = None if packet is None else packet.pts
            # What is left out before the entry is never shown; what is broken after it may be
            # what frames of the span lean on.
            if pts is None or (pts >= self._entry and not self.span.ends_before(pts)):
                self._note(f"a packet cannot be decoded ({error.strerror})", pts)
            return []
        for frame in frames:
            self._time(frame)
            pts = frame.pts or 0
            if frame.is_corrupt and self._matters(frame, pts):
                self._note("a frame is decoded in part", pts)
        return frames

    def _matters(self, frame: VideoFrame, pts: int) -> bool:
        """Whether the frame is of the span, or of those that frames of the span may lean on."""
        if pts < self.span.low and frame.pict_type == PictureType.B:
            return False
        return pts >= self._entry and not self.span.ends_before(pts)

    def _note(self, detail: str, pts: int | None) -> None:
        self.damage.note(detail, None if pts is None else pts * self.span.time_base)

    def _time(self, frame: VideoFrame) -> None:
        """Give the frame a pts, larger than the last, as `decoding.presented` does."""
        pts = frame.pts if frame.pts is not None and not self._guessed else frame.dts
        last = self._last
        if pts is None:
            pts = self.span.origin if last is None else last + self._step
        else:
            pts += self._moved
        if last is not None and pts <= last:
            self._note(f"presentation times do not increase at {pts}", pts)
            if (last - pts) * self.span.time_base >= 1:
                self._moved += last + self._step - pts
                pts = last + self._step
            else:
                pts = last + 1
        self._last = pts
        frame.pts = pts
        frame.time_base = self.span.time_base

    def _kept(self, frames: list[VideoFrame]) -> Iterator[VideoFrame]:
        for frame in frames:
            if self.video_done and self.beyond is not None:
                return
            pts = frame.pts
            assert pts is not None
            if pts < self.span.low:
                continue
            if self.span.ends_before(pts):
                self.beyond = pts
                self.video_done = True
                return
            yield frame
