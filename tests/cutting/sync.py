"""The sync sample table of an MP4, as it stands in the file: FFmpeg adds key frames of its own."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path


def sync_table(path: Path) -> set[int] | None:
    """The samples, from 1, that the video track lists; None where it has no table: all are."""
    data = path.read_bytes()
    for moov in _inside(data, b"moov"):
        for track in _inside(moov, b"trak"):
            for media in _inside(track, b"mdia"):
                if not any(box[8:12] == b"vide" for box in _inside(media, b"hdlr")):
                    continue
                for information in _inside(media, b"minf"):
                    for table in _inside(information, b"stbl"):
                        for box in _inside(table, b"stss"):
                            (count,) = struct.unpack_from(">I", box, 4)
                            return set(struct.unpack_from(f">{count}I", box, 8))
                        return None
    raise ValueError(f"{path.name} has no video track")


def _inside(data: bytes, kind: bytes) -> Iterator[bytes]:
    """The bodies of all boxes of a kind, of those that stand one after the other in `data`."""
    at = 0
    while at + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        header = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, at + 8)
            header = 16
        elif size == 0:
            size = len(data) - at
        if size < header:
            return
        if name == kind:
            yield data[at + header : at + size]
        at += size
