"""Pieces of one object that are at hand: in memory within a bound, and in a file that units of a
job share."""

from __future__ import annotations

import json
import os
import secrets
import struct
import threading
import zlib
from bisect import bisect_right, insort
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from reelsplit_server.storage.grants import Pin

_MAGIC = b"reelsplit extents 1\n"
_HEAD = struct.Struct("<II")
_MOST_INDEX = 2**20


@dataclass(frozen=True, slots=True)
class Extent:
    """The bytes of an object from ``start`` on; ``stop`` is behind the last of them."""

    start: int
    stop: int
    data: memoryview


class Extents:
    """Extents that do not overlap, the longest unused given up first where they are together
    larger than ``most`` bytes. For several threads; ``arrived`` is notified of each new one."""

    def __init__(self, most: int) -> None:
        self.arrived = threading.Condition()
        self._most = most
        self._held: OrderedDict[int, Extent] = OrderedDict()
        self._starts: list[int] = []
        self._size = 0
        self._pinned: set[int] = set()
        self._pinned_size = 0

    def at(self, position: int) -> Extent | None:
        """The extent around a position, which counts as used."""
        with self.arrived:
            extent = self._around(position)
            if extent is not None:
                self._held.move_to_end(extent.start)
            return extent

    def stop_at(self, position: int) -> int | None:
        """Where the extent around a position stops."""
        with self.arrived:
            extent = self._around(position)
            return None if extent is None else extent.stop

    def start_after(self, position: int) -> int | None:
        """Where the first extent behind a position starts."""
        with self.arrived:
            place = bisect_right(self._starts, position)
            return self._starts[place] if place < len(self._starts) else None

    def add(self, extent: Extent) -> None:
        """Take a new extent in; it must not overlap another one."""
        with self.arrived:
            self._held[extent.start] = extent
            insort(self._starts, extent.start)
            self._size += extent.stop - extent.start
            self._shrink()
            self.arrived.notify_all()

    def pin(self, extent: Extent, most: int) -> None:
        """Hold an extent until `release`, unless more than ``most`` bytes are held then."""
        with self.arrived:
            size = extent.stop - extent.start
            fits = self._pinned_size + size <= most
            if fits and extent.start in self._held and extent.start not in self._pinned:
                self._pinned.add(extent.start)
                self._pinned_size += size
                self._size -= size

    def pinned(self) -> list[Extent]:
        """What is held, in order."""
        with self.arrived:
            return [self._held[start] for start in sorted(self._pinned)]

    def release(self) -> None:
        """Hold nothing more than the bound allows."""
        with self.arrived:
            self._size += self._pinned_size
            self._pinned.clear()
            self._pinned_size = 0
            self._shrink()

    def _around(self, position: int) -> Extent | None:
        place = bisect_right(self._starts, position) - 1
        if place < 0:
            return None
        extent = self._held[self._starts[place]]
        return extent if position < extent.stop else None

    def _shrink(self) -> None:
        if self._size <= self._most:
            return
        for start in [start for start in self._held if start not in self._pinned]:
            extent = self._held.pop(start)
            del self._starts[bisect_right(self._starts, start) - 1]
            self._size -= extent.stop - extent.start
            if self._size <= self._most:
                return


class SharedExtents:
    """Extents in a file, read when they are asked for. What is damaged is not there."""

    def __init__(self, file: int, index: dict[int, tuple[int, int, int]]) -> None:
        """``index`` leads from a start to a length, a checksum and the place in the file."""
        self._file = file
        self._index = index
        self._starts = sorted(index)

    @classmethod
    def load(cls, path: Path, pin: Pin) -> SharedExtents | None:
        """Open what `save` wrote for the same state of an object; None where there is none."""
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return None
        try:
            return cls(file, _read_index(file, pin))
        except (OSError, ValueError, TypeError, KeyError, RecursionError, struct.error):
            os.close(file)
            return None

    @staticmethod
    def save(path: Path, pin: Pin, extents: Iterable[Extent]) -> None:
        """Write extents to a file, in one step; raises OSError."""
        extents = list(extents)
        index = json.dumps(
            {
                "pin": pin.text,
                "extents": [
                    [each.start, each.stop - each.start, zlib.crc32(each.data)] for each in extents
                ],
            }
        ).encode()
        scratch = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
        try:
            with scratch.open("xb") as file:
                file.write(_MAGIC + _HEAD.pack(len(index), zlib.crc32(index)) + index)
                for each in extents:
                    file.write(each.data)
            scratch.replace(path)
        except BaseException:
            with suppress(OSError):
                scratch.unlink()
            raise

    def at(self, position: int) -> Extent | None:
        """The extent around a position."""
        start = self._start_at(position)
        if start is None:
            return None
        length, checksum, place = self._index[start]
        try:
            data = os.pread(self._file, length, place)
        except OSError:
            data = b""
        if len(data) == length and zlib.crc32(data) == checksum:
            return Extent(start, start + length, memoryview(data))
        del self._index[start]
        self._starts.remove(start)
        return None

    def stop_at(self, position: int) -> int | None:
        """Where the extent around a position stops."""
        start = self._start_at(position)
        return None if start is None else start + self._index[start][0]

    def start_after(self, position: int) -> int | None:
        """Where the first extent behind a position starts."""
        place = bisect_right(self._starts, position)
        return self._starts[place] if place < len(self._starts) else None

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _start_at(self, position: int) -> int | None:
        place = bisect_right(self._starts, position) - 1
        if place < 0:
            return None
        start = self._starts[place]
        return start if position < start + self._index[start][0] else None


def _read_index(file: int, pin: Pin) -> dict[int, tuple[int, int, int]]:
    """The index of a file that `SharedExtents.save` wrote; ValueError and others where it is
    damaged, or for another state of the object."""
    head = os.pread(file, len(_MAGIC) + _HEAD.size, 0)
    if not head.startswith(_MAGIC):
        raise ValueError("no file of extents")
    size, checksum = _HEAD.unpack(head[len(_MAGIC) :])
    if size > _MOST_INDEX:
        raise ValueError("too large an index")
    text = os.pread(file, size, len(head))
    if zlib.crc32(text) != checksum:
        raise ValueError("a damaged index")
    told = json.loads(text)
    if Pin.of(told["pin"]) != pin:
        raise ValueError("extents of another object")
    index: dict[int, tuple[int, int, int]] = {}
    place, behind = len(head) + size, 0
    for start, length, crc in told["extents"]:
        if not (behind <= start and length > 0 and start + length <= pin.size):
            raise ValueError("extents in disorder")
        index[start] = (length, crc, place)
        place += length
        behind = start + length
    return index
