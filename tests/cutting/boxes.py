"""What an MP4's own tables say: FFmpeg, when it reads one, adds key frames and rounds edits."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path


def sync_table(path: Path) -> set[int] | None:
    """The samples, from 1, that the video track lists; None where it has no table: all are."""
    for track in _tracks(path, b"vide"):
        for box in _deep(track, b"mdia", b"minf", b"stbl", b"stss"):
            (count,) = struct.unpack_from(">I", box, 4)
            return set(struct.unpack_from(f">{count}I", box, 8))
        return None
    raise ValueError(f"{path.name} has no video track")


def edited_sound(path: Path) -> Fraction:
    """Seconds that the edit list of the first audio track presents; those of the whole track
    where it has none."""
    data = path.read_bytes()
    for track in _tracks(path, b"soun"):
        for header in _deep(data, b"moov", b"mvhd"):
            clock = struct.unpack_from(">I", header, 20 if header[0] else 12)[0]
        for edits in _deep(track, b"edts", b"elst"):
            (count,) = struct.unpack_from(">I", edits, 4)
            entry = struct.Struct(">QqI" if edits[0] else ">IiI")
            shown = [entry.unpack_from(edits, 8 + entry.size * i) for i in range(count)]
            return Fraction(sum(length for length, media, _ in shown if media >= 0), clock)
        for header in _deep(track, b"mdia", b"mdhd"):
            ticks = struct.unpack_from(
                ">IQ" if header[0] else ">II", header, 20 if header[0] else 12
            )
            return Fraction(ticks[1], ticks[0])
    raise ValueError(f"{path.name} has no audio track")


def _tracks(path: Path, kind: bytes) -> Iterator[bytes]:
    """The bodies of the tracks with a handler of this kind."""
    for track in _deep(path.read_bytes(), b"moov", b"trak"):
        if any(box[8:12] == kind for box in _deep(track, b"mdia", b"hdlr")):
            yield track


def _deep(data: bytes, *names: bytes) -> Iterator[bytes]:
    """The bodies of all boxes below `data` that lie at this path."""
    for body in _inside(data, names[0]):
        if len(names) == 1:
            yield body
        else:
            yield from _deep(body, *names[1:])


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
