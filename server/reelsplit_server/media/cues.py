"""A source's clock by its cues alone: key frames and the end, but no numbers of frames."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, field
from fractions import Fraction
from typing import BinaryIO

import av.error

from reelsplit_server.media.container import open_source, video_stream
from reelsplit_server.media.declared import missing_bytes
from reelsplit_server.media.decoding import Damage, packets, prepare, time_base
from reelsplit_server.media.ebml import Block, OddLayout
from reelsplit_server.media.errors import MediaError
from reelsplit_server.media.matroska import Matroska
from reelsplit_server.media.packet_view import trusted
from reelsplit_server.media.probe import first_frame

#: Packets from the end of the file of which one is shown last: no encoder puts more pictures
#: between two that they lean on.
_LAST_PACKETS = 18


@dataclass(slots=True, kw_only=True)
class SparseTimeline:
    """What the cues of a Matroska or WebM file tell, read on where that is not enough.

    Frames have no numbers here: to count them, all of the file would have to be read. Offsets
    are seconds from the first presented frame. The file must stay open as long as this is used.
    """

    time_base: Fraction
    """Seconds in a tick."""
    origin: int
    """Ticks: the presentation time of the first presented frame."""
    keys: list[int]
    """Ticks: key frames, rising; the first is `origin`."""
    bytes_of_index: int
    """Of the header before the first cluster, and of the cues."""
    _file: BinaryIO
    _layout: Matroska
    _track: int
    _last: tuple[int, int] | None = field(default=None, init=False)
    """The last frame's time and duration in ticks, once they were wanted."""

    @property
    def end(self) -> Fraction:
        """Seconds to the end of the last frame; reads the last packets of the file.

        Raises `MediaError` with ``SOURCE_UNREADABLE`` where nothing can be read there.
        """
        pts, duration = self._last_frame()
        return (pts + duration - self.origin) * self.time_base

    @property
    def known_end(self) -> Fraction | None:
        """As `end`, without reading: None as long as nothing has asked for it."""
        return None if self._last is None else self.end

    def holds(self, start: Fraction, end: Fraction) -> bool | None:
        """Whether a frame starts in [start, end), forgiving half a tick.

        None where only reading the stretch would tell: between two key frames.
        """
        low, high = self._tick(start), self._tick(end)
        if high <= low:
            return False
        at = bisect_left(self.keys, low)
        if at < len(self.keys):
            return True if self.keys[at] < high else None
        last = self._last_frame()[0]
        if low > last:
            return False
        return True if high > last else None

    def ends_before(self, offset: Fraction) -> bool:
        """Whether the source ends more than half a tick before `offset`."""
        if self._tick(offset) <= self.keys[-1]:
            return False
        return offset > self.end + self.time_base / 2

    def _tick(self, offset: Fraction) -> int:
        return self.origin + math.ceil(offset / self.time_base - Fraction(1, 2))

    def _last_frame(self) -> tuple[int, int]:
        if self._last is None:
            try:
                self._last = self._of_tail()
            except (OddLayout, MediaError, av.error.FFmpegError):
                self._last = self._of_last_group()
        return self._last

    def _of_tail(self) -> tuple[int, int]:
        layout = self._layout
        clusters = list(layout.clusters(layout.cues[self._track][-1].cluster))
        blocks: list[Block] = []
        for cluster in reversed(clusters):
            left = _LAST_PACKETS - len(blocks)
            found = layout.tail_of(cluster, track=self._track, since=None, least=left)
            blocks = [block for block in found if block.track == self._track] + blocks
            if len(blocks) >= _LAST_PACKETS:
                break
        return _last_of(layout.excerpt(blocks), None)

    def _of_last_group(self) -> tuple[int, int]:
        return _last_of(self._file, self.keys[-1])


def read_cues(file: BinaryIO, *, threads: int = 1) -> SparseTimeline | None:
    """Read the index and the first frame of a Matroska or WebM file.

    None for other files, and where there are no cues that can be believed: use
    `timeline.read_timeline` then. Raises what `open_source` and `video_stream` raise.
    """
    if missing_bytes(file):
        return None
    with open_source(file) as container:
        stream = video_stream(container)
        if not container.format.name.startswith("matroska") or not trusted(container, stream):
            return None
        base, index = time_base(stream), stream.index
        try:
            origin = first_frame(container, stream, threads=threads).pts
        except MediaError:
            return None
        kinds = {other.index: other.type for other in container.streams}
    try:
        layout = Matroska.read(file)
    except OddLayout:
        return None
    if index >= len(layout.streams) or kinds[index] != "video" or origin is None:
        return None
    track = layout.streams[index]
    cues = layout.cues.get(track, [])
    if not cues or not layout.plain[track] or base != Fraction(layout.scale, 10**9):
        return None
    keys = [origin, *(cue.time for cue in cues if cue.time > origin)]
    return SparseTimeline(
        time_base=base,
        origin=origin,
        keys=keys,
        bytes_of_index=layout.bytes_of_index,
        _file=file,
        _layout=layout,
        _track=track,
    )


def _last_of(file: BinaryIO, since: int | None) -> tuple[int, int]:
    """Time and duration of the packet shown last, in ticks; from the key frame at `since` on."""
    with open_source(file) as container:
        stream = video_stream(container)
        prepare(container, stream, 1)
        if since is not None:
            container.seek(since, stream=stream)
        seen = sorted(
            (packet.pts, packet.duration or 0)
            for packet in packets(container, stream, Damage())
            if packet.pts is not None
        )
    if not seen:
        raise MediaError(
            "SOURCE_UNREADABLE",
            "The last frames of the source cannot be read: it is corrupt at its end.",
            metadata={"detail": "no packet after the last cue"},
        )
    pts, duration = seen[-1]
    before = seen[-2][0] if len(seen) > 1 else pts
    return pts, duration or max(1, pts - before)
