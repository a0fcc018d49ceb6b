"""Boxes, of which MP4 and MOV files consist, and the numbers in them.

Sources are hostile: nothing is read beyond the end of its box, and no more than a table can hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

#: Two days at 24 frames a second. More is read packet by packet, which needs less memory.
MOST_SAMPLES = 4_194_304
#: Boxes looked at on one level.
_MOST_BOXES = 64

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Box:
    """One box of a file."""

    kind: bytes
    start: int
    """Where its content begins; `end` is where it ends: bytes from the start of the file."""
    end: int


class Odd(Exception):
    """Something that only the demuxer can make sense of."""


def count_at(head: bytes, at: int) -> int:
    """The number of entries of a table, which must have some."""
    count = number_at(head, at, 4)
    if not 0 < count <= MOST_SAMPLES:
        raise Odd
    return count


def scale_of(file: BinaryIO, box: Box) -> int:
    """Ticks a second, as ``mvhd`` and ``mdhd`` say."""
    head = body(file, box, 24)
    scale = number_at(head, 20 if head[:1] == b"\x01" else 12, 4)
    if not 0 < scale < 1 << 31:
        raise Odd
    return scale


def boxes_in(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """The boxes from `start` to `end`, bytes from the start of the file; raises `Odd` where one
    reaches beyond."""
    for _ in range(_MOST_BOXES):
        if start + 8 > end:
            return
        file.seek(start)
        head = _exactly(file, min(16, end - start))
        length, content = number_at(head, 0, 4), start + 8
        if length == 1:
            length, content = number_at(head, 8, 8), start + 16
        elif length == 0:
            length = end - start
        if start + length < content or start + length > end:
            raise Odd
        yield Box(head[4:8], content, start + length)
        start += length
    raise Odd


def inside_of(file: BinaryIO, box: Box) -> Iterator[Box]:
    """The boxes that a box consists of."""
    return boxes_in(file, box.start, box.end)


def only(boxes: Iterator[Box] | list[Box], kind: bytes) -> Box:
    """The first box of a kind; raises `Odd` where there is none."""
    for box in boxes:
        if box.kind == kind:
            return box
    raise Odd


def maybe(boxes: list[Box], kind: bytes) -> Box | None:
    """The first box of a kind, if there is one."""
    return next((box for box in boxes if box.kind == kind), None)


def body(file: BinaryIO, box: Box, length: int) -> bytes:
    """The first `length` bytes of a box's content."""
    if length > box.end - box.start:
        raise Odd
    file.seek(box.start)
    return _exactly(file, length)


def number_at(data: bytes, at: int, width: int) -> int:
    """A number of `width` bytes; raises `Odd` where `data` is too short."""
    if at + width > len(data):
        raise Odd
    return int.from_bytes(data[at : at + width], "big")


def numbers_of(file: BinaryIO, box: Box, skip: int, count: int, width: int) -> Ints:
    """`count` big-endian numbers of `width` bytes behind the first `skip` bytes of a box."""
    if skip + count * width > box.end - box.start:
        raise Odd
    file.seek(box.start + skip)
    data = _exactly(file, count * width)
    # Offsets of 8 bytes with the highest bit set come out negative, and are refused as such.
    numbers: Ints = np.frombuffer(data, dtype=f">{'i' if width == 8 else 'u'}{width}").astype(
        np.int64
    )
    return numbers


def _exactly(file: BinaryIO, length: int) -> bytes:
    data = file.read(length)
    while len(data) < length:
        more = file.read(length - len(data))
        if not more:
            raise Odd
        data += more
    return data
