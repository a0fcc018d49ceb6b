"""The layout of a Matroska or WebM file: its tracks, its cues, and single blocks picked out.

FFmpeg enters such a file only at a cue, and so reads a whole group of pictures for the little
sound before it. What is picked out here is put behind the file's own track headers, as a small
file in memory, so that FFmpeg still reads the packets.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import BinaryIO

from reelsplit_server.media.ebml import (
    GROUP,
    SIMPLE_BLOCK,
    Block,
    OddLayout,
    alone,
    block_of,
    element_of,
    elements,
    unsigned,
    vint,
)

_EBML, _SEGMENT = 0x1A45DFA3, 0x18538067
_SEEK_HEAD, _SEEK, _SEEK_ID, _SEEK_POSITION = 0x114D9B74, 0x4DBB, 0x53AB, 0x53AC
_INFO, _TIMESTAMP_SCALE = 0x1549A966, 0x2AD7B1
_TRACKS, _TRACK, _NUMBER, _TYPE, _CODEC = 0x1654AE6B, 0xAE, 0xD7, 0x83, 0x86
_TRACK_SCALE, _CODEC_DELAY = 0x23314F, 0x56AA
_CUES, _CUE, _CUE_TIME, _CUE_PLACE = 0x1C53BB6B, 0xBB, 0xB3, 0xB7
_CUE_TRACK, _CUE_CLUSTER, _CUE_RELATIVE = 0xF7, 0xF1, 0xF0
_CLUSTER, _TIMESTAMP = 0x1F43B675, 0xE7
_IN_CLUSTERS = frozenset((SIMPLE_BLOCK, GROUP, _TIMESTAMP, 0xA7, 0xAB, 0xEC, 0xBF))

#: 1.0 as floating point numbers of either width.
_ONES = (b"\x3f\x80\x00\x00", b"\x3f\xf0\x00\x00\x00\x00\x00\x00")
#: The kinds of track that FFmpeg makes a stream of: video, audio, subtitles, metadata.
_STREAMS = (1, 2, 17, 33)
_MOST_ELEMENTS = 4096
_MOST_HEADER = 16 << 20
_MOST_CUES = 8 << 20
#: Bytes that are read of a file at most: headers, cues and what is picked out.
_MOST_READ = 96 << 20
#: Bytes of a cluster's end that are looked at first, and at most.
_TAIL, _MOST_TAIL = 128 << 10, 8 << 20
#: Elements that must follow one another up to a cluster's end before they are taken for real.
_LEAST_CHAIN = 4


@dataclass(frozen=True, slots=True)
class Cue:
    """One entry of the index."""

    time: int
    """Ticks."""
    cluster: int
    """Bytes from the start of the file."""
    relative: int | None
    """Bytes from the start of the cluster's content to the block, where the file says so."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where a cluster's content lies: bytes from the start of the file."""

    position: int
    start: int
    end: int


@dataclass(slots=True)
class Matroska:
    """What the header and the cues of a file say."""

    file: BinaryIO
    scale: int = 1_000_000
    """Nanoseconds in a tick."""
    streams: list[int] = field(default_factory=list)
    """Track numbers, in the order of FFmpeg's streams."""
    cues: dict[int, list[Cue]] = field(default_factory=dict)
    """By track number, in order of time."""
    plain: dict[int, bool] = field(default_factory=dict)
    """By track number: its blocks' times are its packets' times as they are."""
    bytes_of_index: int = 0
    """Of the header before the first cluster, and of the cues."""
    _head: bytes = b""
    _end: int = 0
    _read_bytes: int = 0

    @classmethod
    def read(cls, file: BinaryIO) -> Matroska:
        """Read header and cues; the file's position is not kept. Raises `OddLayout`."""
        found = cls(file)
        found._read()
        return found

    def clusters(self, position: int) -> Iterator[Cluster]:
        """The clusters from the one at `position` on, a few bytes read of each."""
        for element, start, end in self._level(position, self._end):
            if element == _CLUSTER:
                yield Cluster(position, start, end)
            position = end

    def head_of(self, cluster: Cluster, *, until: int, time: int) -> list[Block]:
        """A cluster's blocks up to the key frame of the track with the number `until` that is
        shown at `time`, in ticks, or later; it is left out."""
        blocks: list[Block] = []
        base = 0
        for element, start, end in self._level(cluster.start, cluster.end):
            if element == _TIMESTAMP:
                base = unsigned(self._bytes(start, end))
            elif element in (SIMPLE_BLOCK, GROUP):
                block = self._whole(element, start, end, base)
                if block.track == until and block.key and block.time >= time:
                    return blocks
                blocks.append(block)
        raise OddLayout

    def at(self, cue: Cue) -> Block:
        """The block that a cue with a relative position leads to."""
        for cluster in self.clusters(cue.cluster):
            if cue.relative is None or cluster.position != cue.cluster:
                break
            time = self._time_of(cluster)
            for element, start, end in self._level(cluster.start + cue.relative, cluster.end):
                block = self._whole(element, start, end, time)
                if block.time == cue.time:
                    return block
                break
            break
        raise OddLayout

    def tail_of(
        self, cluster: Cluster, *, track: int, since: int | None, least: int
    ) -> list[Block]:
        """A cluster's last blocks: all from `since` ticks on (None: any), and at least `least`
        of the track, where the cluster has so many.

        The blocks are found from behind: a run of elements that ends where the cluster ends.
        """
        time = self._time_of(cluster)
        size = cluster.end - cluster.start
        length = min(_TAIL, size)
        while True:
            data = self._bytes(cluster.end - length, cluster.end)
            blocks = self._chain(data, time) if length < size else self._run(data, 0, time, set())
            if blocks is not None:
                ours = [block for block in blocks if block.track == track]
                early = since is None or any(block.time < since for block in blocks)
                if length == size or (early and len(ours) >= least):
                    return blocks
            if length == size or length >= _MOST_TAIL:
                raise OddLayout
            length = min(length * 3 // 2, size)

    def excerpt(self, blocks: Sequence[Block]) -> BytesIO:
        """A small file of these blocks alone, with this one's tracks."""
        made = bytearray(self._head)
        for block in blocks:
            # Each in a cluster of its own: its time in the block is only 16 bits wide.
            own = alone(block)
            stamp = element_of(_TIMESTAMP, max(0, block.time).to_bytes(8, "big"))
            made += element_of(_CLUSTER, stamp + own)
        return BytesIO(bytes(made))

    def _read(self) -> None:
        size = self.file.seek(0, os.SEEK_END)
        top = self._level(0, size)
        element, start, end = next(top, (0, 0, 0))
        if element != _EBML or end > _MOST_HEADER:
            raise OddLayout
        head = self._bytes(0, end)
        element, base, self._end = next(top, (0, 0, 0))
        if element != _SEGMENT:
            raise OddLayout
        parts: list[bytes] = []
        cues: tuple[int, int] | None = None
        seeks: dict[int, int] = {}
        first = None
        position = base
        for element, start, end in self._level(base, self._end):
            if element == _CLUSTER:
                first = position
                break
            if element == _CUES:
                cues = start, end
            elif element in (_SEEK_HEAD, _INFO, _TRACKS):
                if end - start > _MOST_HEADER:
                    raise OddLayout
                data = self._bytes(start, end)
                if element == _SEEK_HEAD:
                    seeks |= _seeks(data)
                else:
                    parts.append(element_of(element, data))
                    self._info(data) if element == _INFO else self._tracks(data)
            position = end
        if first is None or not self.streams:
            raise OddLayout
        if cues is None:
            element, start, end = next(
                self._level(base + seeks.get(_CUES, 0), self._end), (0, 0, 0)
            )
            if element != _CUES:
                raise OddLayout
            cues = start, end
        if cues[1] - cues[0] > _MOST_CUES:
            raise OddLayout
        self._cues(self._bytes(*cues), base)
        self.bytes_of_index = first + cues[1] - cues[0] * (cues[0] > first)
        # A segment without a size: whatever follows belongs to it.
        self._head = head + b"\x18\x53\x80\x67\x01" + b"\xff" * 7 + b"".join(parts)

    def _info(self, data: bytes) -> None:
        for element, start, end in elements(data):
            if element == _TIMESTAMP_SCALE:
                self.scale = unsigned(data[start:end])
        if not self.scale:
            raise OddLayout

    def _tracks(self, data: bytes) -> None:
        for element, start, end in elements(data):
            if element != _TRACK:
                continue
            entry = data[start:end]
            parts = {part: entry[begin:stop] for part, begin, stop in elements(entry)}
            number = unsigned(parts.get(_NUMBER, b""))
            if unsigned(parts.get(_TYPE, b"")) in _STREAMS and parts.get(_CODEC):
                self.streams.append(number)
            # Times that are scaled or delayed are not those of FFmpeg's packets.
            delayed = unsigned(parts.get(_CODEC_DELAY, b""))
            self.plain[number] = not delayed and parts.get(_TRACK_SCALE, _ONES[0]) in _ONES

    def _cues(self, data: bytes, base: int) -> None:
        for element, start, end in elements(data):
            if element != _CUE:
                continue
            time = 0
            for part, begin, stop in elements(data[start:end]):
                value = data[start + begin : start + stop]
                if part == _CUE_TIME:
                    time = unsigned(value)
                elif part == _CUE_PLACE:
                    place = {e: unsigned(value[b:s]) for e, b, s in elements(value)}
                    cue = Cue(time, base + place.get(_CUE_CLUSTER, 0), place.get(_CUE_RELATIVE))
                    if not base <= cue.cluster < self._end:
                        raise OddLayout
                    self.cues.setdefault(place.get(_CUE_TRACK, 0), []).append(cue)
        for found in self.cues.values():
            found.sort(key=lambda cue: cue.time)

    def _time_of(self, cluster: Cluster) -> int:
        for element, start, end in self._level(cluster.start, cluster.end):
            if element == _TIMESTAMP:
                return unsigned(self._bytes(start, end))
            if element in (SIMPLE_BLOCK, GROUP):
                break
        raise OddLayout

    def _whole(self, element: int, start: int, end: int, time: int) -> Block:
        if element not in (SIMPLE_BLOCK, GROUP) or end - start > _MOST_TAIL:
            raise OddLayout
        data = self._bytes(start, end)
        return block_of(element, data, time, element_of(element, data))

    def _chain(self, data: bytes, time: int) -> list[Block] | None:
        """The longest run of elements that fills `data` up to its end."""
        failed: set[int] = set()
        for at, byte in enumerate(data):
            if byte in (SIMPLE_BLOCK, GROUP) and at not in failed:
                blocks = self._run(data, at, time, failed)
                if blocks is not None and len(blocks) > _LEAST_CHAIN:
                    # The first one may be a chance likeness within another's data.
                    return blocks[1:]
        return None

    def _run(self, data: bytes, at: int, time: int, failed: set[int]) -> list[Block] | None:
        """The blocks of a run from `at` on; None, and its places in `failed`, if it is none."""
        blocks: list[Block] = []
        places = [at]
        try:
            for element, start, end in elements(data, at):
                if element not in _IN_CLUSTERS or places[-1] in failed:
                    raise OddLayout
                places.append(end)
                if element in (SIMPLE_BLOCK, GROUP):
                    body = data[start:end]
                    block = block_of(element, body, time, element_of(element, body))
                    if block.track not in self.plain:
                        raise OddLayout
                    blocks.append(block)
        except OddLayout:
            failed.update(places)
            return None
        return blocks

    def _level(self, position: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Elements from `position` to `end`: id, start and end of the content."""
        for _ in range(_MOST_ELEMENTS):
            if position >= end:
                return
            head = self._bytes(position, min(end, position + 12))
            element, width = vint(head, 0, keep=True)
            size, more = vint(head, width)
            start = position + width + more
            position = start + size
            if position > end:
                raise OddLayout
            yield element, start, position
        raise OddLayout

    def _bytes(self, start: int, end: int) -> bytes:
        self._read_bytes += end - start
        if self._read_bytes > _MOST_READ:
            raise OddLayout
        self.file.seek(start)
        data = self.file.read(end - start)
        while len(data) < end - start:
            more = self.file.read(end - start - len(data))
            if not more:
                raise OddLayout
            data += more
        return data


def _seeks(data: bytes) -> dict[int, int]:
    found: dict[int, int] = {}
    for element, start, end in elements(data):
        if element == _SEEK:
            entry = data[start:end]
            parts = {part: unsigned(entry[begin:stop]) for part, begin, stop in elements(entry)}
            found[parts.get(_SEEK_ID, 0)] = parts.get(_SEEK_POSITION, 0)
    return found
