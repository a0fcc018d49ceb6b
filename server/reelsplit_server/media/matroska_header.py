"""Changing what the header of a finished Matroska or WebM file says of tracks that were written
with a mark in place of their codec delay. FFmpeg's muxer writes every field at a fixed width, so
only numbers are changed, in place."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from reelsplit_server.media.ebml import OddLayout, elements, unsigned, vint
from reelsplit_server.media.errors import MediaError
from reelsplit_server.media.output import writing

INFO, TRACKS, CLUSTER, SEGMENT = 0x1549A966, 0x1654AE6B, 0x1F43B675, 0x18538067
ENTRY, DELAY, PRIVATE = 0xAE, 0x56AA, 0x63A2
OPUS_HEAD = b"OpusHead"
_TAGS, _TAG, _TARGETS, _SIMPLE = 0x1254C367, 0x7373, 0x63C0, 0x67C8
_TRACK_UID, _TAG_UID, _NAME, _TEXT, _CRC = 0x73C5, 0x63C5, 0x45A3, 0x4487, 0xBF
_SCALE, _DURATION = 0x2AD7B1, 0x4489
#: Elements looked at before the first cluster, and bytes of each that is read, at most.
_MOST_ELEMENTS, _MOST_BYTES = 64, 1 << 24
_OPUS_RATE = 48_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """What one track's header is to say."""

    delay: Fraction
    """Seconds of its sound that are left out at the beginning; less than four."""
    end: Fraction
    """Seconds after time 0 at which it ends."""


def set_delays(path: Path, mark: Fraction, delays: Sequence[Delay]) -> None:
    """Put `delays` in place of the marks (seconds), in the order of the tracks.

    How long the file is, and each of these tracks, is said anew too: the muxer counted what is
    left out. Raises `MediaError` with ``CONTAINER_REFUSED`` where the header is not as expected.
    """
    with writing(), path.open("r+b") as file:
        try:
            header = _Header(file)
            header.set_delays(mark, delays)
        except OddLayout as error:
            raise MediaError(
                "CONTAINER_REFUSED",
                "The start of the sound could not be hidden: "
                "the header of the written file is not as expected.",
            ) from error
        header.write(file)


class _Header:
    """The elements that lie before the first cluster, with their positions in the file."""

    def __init__(self, file: BinaryIO) -> None:
        self._parts: dict[int, tuple[int, bytearray]] = {}
        at = 0
        for _ in range(_MOST_ELEMENTS):
            file.seek(at)
            head = file.read(12)
            element, width = vint(head, 0, keep=True)
            if element == CLUSTER:
                break
            size, more = vint(head, width)
            at += width + more
            if element in (INFO, TRACKS, _TAGS) and size <= _MOST_BYTES:
                file.seek(at)
                self._parts[element] = at, bytearray(file.read(size))
            if element != SEGMENT:
                at += size
            if len(self._parts) == 3:
                break

    def set_delays(self, mark: Fraction, delays: Sequence[Delay]) -> None:
        tracks = self._part(TRACKS)
        marked = list(_marked(bytes(tracks), round(mark * 10**9)))
        if len(marked) != len(delays):
            raise OddLayout
        ends: dict[bytes, Fraction] = {}
        for place, asked in zip(marked, delays, strict=True):
            nanoseconds = round(asked.delay * 10**9)
            tracks[place.delay : place.delay + 4] = nanoseconds.to_bytes(4, "big")
            ends[place.uid] = asked.end
            if place.skip is not None:
                # Decoders of Opus refuse a file that says it in two ways.
                samples = round(asked.delay * _OPUS_RATE)
                tracks[place.skip : place.skip + 2] = samples.to_bytes(2, "little")
        self._set_durations(ends)

    def write(self, file: BinaryIO) -> None:
        for start, content in self._parts.values():
            for element, low, high in elements(bytes(content)):
                if element == _CRC and high - low == 4:
                    content[low:high] = zlib.crc32(content[high:]).to_bytes(4, "little")
                break
            file.seek(start)
            file.write(content)

    def _part(self, element: int) -> bytearray:
        if element not in self._parts:
            raise OddLayout
        return self._parts[element][1]

    def _set_durations(self, ends: dict[bytes, Fraction]) -> None:
        """`ends`: seconds, by a track's unique number. All tracks have a tag that says theirs;
        the longest one is the file's."""
        tags = self._part(_TAGS)
        longest = Fraction(0)
        for uid, low, high in _durations(bytes(tags)):
            if uid in ends:
                text = _written(ends[uid]).ljust(high - low, b"\0")
                if len(text) == high - low:
                    tags[low:high] = text
                longest = max(longest, ends[uid])
            else:
                longest = max(longest, _read(bytes(tags[low:high])))
        info = self._part(INFO)
        inside = {element: (low, high) for element, low, high in elements(bytes(info))}
        low, high = inside.get(_DURATION, (0, 0))
        if high - low == 8 and _SCALE in inside and longest > 0:
            scale = unsigned(bytes(info[slice(*inside[_SCALE])])) or 10**6
            info[low:high] = struct.pack(">d", float(round(longest * 10**9 / scale)))


@dataclass(frozen=True, slots=True)
class _Marked:
    """A track with a mark: positions in the tracks' element."""

    uid: bytes
    delay: int
    skip: int | None
    """Of Opus' own word for the delay."""


def _marked(content: bytes, mark: int) -> Iterator[_Marked]:
    for entry, start, end in elements(content):
        if entry != ENTRY:
            continue
        uid, delay, skip = b"", None, None
        for element, low, high in elements(content[start:end]):
            value = content[start + low : start + high]
            if element == _TRACK_UID:
                uid = value
            elif element == DELAY and len(value) == 4 and unsigned(value) == mark:
                delay = start + low
            elif element == PRIVATE and value.startswith(OPUS_HEAD) and len(value) >= 12:
                skip = start + low + 10
        if delay is not None:
            yield _Marked(uid, delay, skip)


def _durations(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """A track's unique number, and from where to where the text of its duration lies."""
    for tag, start, end in elements(content):
        if tag != _TAG:
            continue
        uid = b""
        for element, low, high in elements(content[start:end]):
            inside = content[start + low : start + high]
            parts = (
                {each: (first, last) for each, first, last in elements(inside)}
                if (element in (_TARGETS, _SIMPLE))
                else {}
            )
            if _TAG_UID in parts:
                uid = inside[slice(*parts[_TAG_UID])]
            if _TEXT in parts and _NAME in parts:
                first, last = parts[_TEXT]
                if inside[slice(*parts[_NAME])] == b"DURATION" and uid:
                    yield uid, start + low + first, start + low + last


def _written(seconds: Fraction) -> bytes:
    whole = max(0, round(seconds * 10**9))
    rest, nanoseconds = divmod(whole, 10**9)
    minutes, second = divmod(rest, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02d}:{minute:02d}:{second:02d}.{nanoseconds:09d}".encode()


def _read(text: bytes) -> Fraction:
    """Seconds."""
    parts = text.rstrip(b"\0").split(b":")
    try:
        hour, minute, second = (Fraction(part.decode()) for part in parts)
    except ValueError as error:
        raise OddLayout from error
    return hour * 3600 + minute * 60 + second
