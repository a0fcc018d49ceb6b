"""How long a file says that it is: the way to see that its end is missing."""

from __future__ import annotations

import os
from typing import BinaryIO

_SEGMENT = b"\x18\x53\x80\x67"
_MP4_FIRST = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp", b"pnot"}
#: Top-level boxes looked at; a fragmented film has thousands, and its end tells nothing new.
_MAX_BOXES = 64


def missing_bytes(file: BinaryIO) -> int:
    """Bytes that MP4, MOV, Matroska or AVI headers promise beyond the end of the file.

    0 where nothing is missing or the format does not say. The file's position is kept.
    """
    position = file.tell()
    try:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        head = file.read(64)
        if head[4:8] in _MP4_FIRST:
            end = _mp4_end(file, size)
        elif head[:4] == b"\x1a\x45\xdf\xa3":
            end = _matroska_end(head)
        elif head[:4] == b"RIFF":
            end = 8 + int.from_bytes(head[4:8], "little")
        else:
            end = 0
        return max(0, end - size)
    finally:
        file.seek(position)


def _mp4_end(file: BinaryIO, size: int) -> int:
    offset = 0
    for _ in range(_MAX_BOXES):
        file.seek(offset)
        header = file.read(16)
        if len(header) < 8:
            break
        length = int.from_bytes(header[:4], "big")
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        if length < 8:  # 0: up to the end of the file
            break
        offset += length
        if offset >= size:
            break
    return offset


def _matroska_end(head: bytes) -> int:
    at = head.find(_SEGMENT)
    if at < 0 or at + 4 >= len(head):
        return 0
    first = head[at + 4]
    width = 9 - first.bit_length()
    field = head[at + 4 : at + 4 + width]
    if first == 0 or len(field) < width:
        return 0
    length = int.from_bytes(field, "big") & ((1 << 7 * width) - 1)
    if length == (1 << 7 * width) - 1:  # unknown: a live recording
        return 0
    return at + 4 + width + length
