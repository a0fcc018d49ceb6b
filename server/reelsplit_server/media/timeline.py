"""When each presented frame of a source is shown: the one clock that all parts share."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO

import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from reelsplit_server.media.container import open_source, video_stream
from reelsplit_server.media.declared import missing_bytes
from reelsplit_server.media.decoding import (
    Damage,
    frame_rate,
    prepare,
    presented,
    time_base,
)
from reelsplit_server.media.errors import MediaError
from reelsplit_server.media.mp4_index import read_mp4_index
from reelsplit_server.media.packet_view import PacketView, counts_packets, trusted
from reelsplit_server.media.probe import SourceFacts, codec_name, no_frame, probe


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Timeline:
    """The presentation times of all presented frames, frame 0 being t = 0."""

    time_base: Fraction
    """Seconds in a tick."""
    pts: NDArray[np.int64]
    """Shape (frames,): ticks, strictly increasing, read-only, as in the source's packets."""
    last_duration: int
    """Ticks that the last frame is shown for."""
    truncated: bool = False
    """The file ends before its own header says, or in the middle of a packet."""
    damaged: bool = False
    """Something could not be read or decoded; what could is in the timeline."""
    detail: str | None = None
    """What is truncated or damaged, in words."""
    restarts: bool = False
    """The source's clock starts over in the middle. `pts` goes on, unlike the packets' own times,
    which lead to several places: no seek finds a frame for sure."""

    @property
    def frame_count(self) -> int:
        return len(self.pts)

    @property
    def end(self) -> Fraction:
        """Seconds from the start of frame 0 to the end of the last frame."""
        return self.offset(self.frame_count - 1) + self.last_duration * self.time_base

    def offset(self, frame: int) -> Fraction:
        """Seconds from frame 0 to the start of `frame`; `frame_count` itself gives `end`."""
        if frame == self.frame_count:
            return self.end
        if not 0 <= frame < self.frame_count:
            raise IndexError(f"frame {frame} of {self.frame_count}")
        return int(self.pts[frame] - self.pts[0]) * self.time_base

    def first_at(self, offset: Fraction) -> int:
        """The first frame that starts at `offset` seconds or later, forgiving half a tick.

        `frame_count` where there is none.
        """
        # pts >= x for whole pts is pts >= ceil(x): exact, without a fraction for each frame.
        least = -((-offset / self.time_base + Fraction(1, 2)) // 1)
        return int(np.searchsorted(self.pts, int(self.pts[0]) + least, side="left"))

    def span(self, start: Fraction, end: Fraction) -> range:
        """The frames that start in [start, end), seconds."""
        first = self.first_at(start)
        return range(first, max(first, self.first_at(end)))

    def holds(self, start: Fraction, end: Fraction) -> bool:
        """Whether a frame starts in [start, end), seconds; `SparseTimeline` may not know."""
        return bool(self.span(start, end))

    def ends_before(self, offset: Fraction) -> bool:
        """Whether the source ends more than half a tick before `offset`, seconds."""
        return offset > self.end + self.time_base / 2


def read_timeline(
    file: BinaryIO,
    on_progress: Callable[[Fraction], None] | None = None,
    *,
    threads: int = 0,
    prefer_index: bool = False,
    facts: SourceFacts | None = None,
) -> Timeline:
    """Find the time of every presented frame, in one pass over the video's packets.

    Where packets cannot be trusted to tell what comes out of the decoder, everything is decoded
    instead, with `threads` threads (0: one a core). `on_progress` gets the share done, from 0
    to 1, never falling. Damage does not raise as long as one frame can be decoded.

    With `prefer_index` the index of an MP4 or MOV is believed where it tells all, and only that
    and the first frame are read; with the `facts` that a probe found, only the index. What is
    given up: media data that is corrupt is not seen, so `damaged` stays False, and frames that
    it costs are in the timeline all the same.

    Raises `MediaError` with ``SOURCE_UNREADABLE``, ``SOURCE_FORMAT_REFUSED`` or
    ``SOURCE_NO_VIDEO``.
    """
    progress = _Progress(file, on_progress)
    missing = missing_bytes(file)
    found = _by_index(file, facts) if prefer_index and not missing else None
    if found is None and not missing:
        with open_source(file) as container:
            stream = video_stream(container)
            if trusted(container, stream):
                prepare(container, stream, 1)
                seen = PacketView(stream).read(container, progress.at_packet)
                if seen is not None:
                    pts, duration = seen
                    base = time_base(stream)
                    found = Timeline(
                        time_base=base,
                        pts=_frozen(pts),
                        last_duration=duration or _step(pts, stream, base),
                    )
    if found is None:
        with open_source(file) as container:
            stream = video_stream(container)
            if codec_name(stream) is None:
                raise no_frame(stream, Damage())
            prepare(container, stream, threads)
            found = _by_decoding(container, stream, progress, missing)
    progress.finish()
    return found


def _by_index(file: BinaryIO, facts: SourceFacts | None) -> Timeline | None:
    """What the index of the file tells; None where it does not tell all."""
    if facts is None:
        try:
            facts = probe(file)
        except MediaError:
            return None
    video = facts.video
    if facts.container not in ("mp4", "mov") or not counts_packets(video.codec):
        return None
    # The two fields of a frame may be two samples.
    if video.interlaced:
        return None
    index = read_mp4_index(file, video.track)
    if index is None or index.time_base != video.time_base:
        return None
    shown = np.flatnonzero(index.shown)
    last = shown[np.argmax(index.pts[shown])]
    pts = np.sort(index.pts[shown])
    # Pictures that lean on a GOP before the file's first never come out.
    pts = pts[np.searchsorted(pts, video.start_pts) :]
    if not len(pts) or pts[0] != video.start_pts or np.any(np.diff(pts) <= 0):
        return None
    return Timeline(
        time_base=video.time_base,
        pts=_frozen(pts),
        last_duration=int(index.durations[last]) or _gap(pts, video.frame_rate, video.time_base),
    )


def _by_decoding(
    container: InputContainer, stream: VideoStream, progress: _Progress, missing: int
) -> Timeline:
    damage = Damage()
    times = array("q")
    last_duration = 0

    def on_packet(packet: Packet[VideoStream]) -> None:
        if packet.is_corrupt:
            damage.note(f"the packet at {packet.pts} is incomplete")
        progress.at_packet(packet)

    for frame in presented(container, stream, damage, on_packet):
        assert frame.pts is not None
        times.append(frame.pts)
        last_duration = frame.duration or 0
    if not times:
        raise no_frame(stream, damage)
    base = time_base(stream)
    pts = np.array(times, dtype=np.int64)
    detail = damage.detail
    if missing:
        detail = f"the file lacks its last {missing} bytes" + (f"; {detail}" if detail else "")
    return Timeline(
        time_base=base,
        pts=_frozen(pts),
        last_duration=last_duration or _step(pts, stream, base),
        truncated=bool(missing) or damage.torn,
        damaged=bool(damage.count),
        detail=detail,
        restarts=bool(damage.restarts),
    )


def _step(pts: NDArray[np.int64], stream: VideoStream, base: Fraction) -> int:
    return _gap(pts, frame_rate(stream), base)


def _gap(pts: NDArray[np.int64], rate: Fraction | None, base: Fraction) -> int:
    """A duration for a last frame that has none: the gap before it, else the nominal one."""
    if len(pts) > 1:
        return int(pts[-1] - pts[-2])
    return max(1, round(1 / (rate or 25) / base))


def _frozen(pts: NDArray[np.int64]) -> NDArray[np.int64]:
    pts.flags.writeable = False
    return pts


class _Progress:
    """Tells how much of the file is behind, by the place of the packets in it."""

    def __init__(self, file: BinaryIO, report: Callable[[Fraction], None] | None) -> None:
        self._report = report
        self._size = max(1, file.seek(0, os.SEEK_END))
        self._done = Fraction(0)

    def at_packet(self, packet: Packet[VideoStream]) -> None:
        if self._report is None or packet.pos is None or packet.pos < 0:
            return
        # In hundredths: callers need no more, and a call costs.
        done = Fraction(min(99, packet.pos * 100 // self._size), 100)
        if done > self._done:
            self._done = done
            self._report(done)

    def finish(self) -> None:
        if self._report is not None:
            self._report(Fraction(1))
