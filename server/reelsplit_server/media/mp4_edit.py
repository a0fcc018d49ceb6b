"""How long a finished MP4 or MOV is presented, and ending it earlier, which FFmpeg's muxer cannot:
its edit lists always run to the last frame. Only numbers in the index are changed, in place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from reelsplit_server.media.errors import MediaError
from reelsplit_server.media.mp4_boxes import (
    Box,
    Odd,
    body,
    boxes_in,
    inside_of,
    maybe,
    number_at,
    only,
    scale_of,
)
from reelsplit_server.media.output import writing

#: FFmpeg writes one or two edits a track.
_MOST_EDITS = 16


@dataclass(frozen=True, slots=True)
class _Field:
    """A number in the file."""

    position: int
    """Bytes from the start of the file; `width` is how many it has."""
    width: int
    value: int


def hide_after(path: Path, end: Fraction) -> None:
    """Let the file's presentation stop `end` seconds after time 0: what is shown from then on
    stays in the file, but hidden.

    The file is a finished one, not fragmented, as FFmpeg writes it. `end` is when the first
    hidden frame would be shown; it is rounded down to the clock of the movie, so that no reader
    shows that frame, whatever it rounds; the last frame to show must begin a millisecond before.
    The video is never made longer, and other tracks are left as they are. Raises `MediaError`:
    ``CONTAINER_REFUSED`` where the index is not as expected or nothing would be left of the
    video, ``DISK_FULL``. A file that was changed halfway (a crash) is still a valid one.
    """
    with writing(), path.open("r+b") as file:
        try:
            fields = list(_changes(file, end))
        except Odd as error:
            raise _refused() from error
        for field in fields:
            file.seek(field.position)
            file.write(field.value.to_bytes(field.width, "big"))


def lengths(file: BinaryIO) -> tuple[Fraction, Fraction]:
    """How long the file says that it is as a whole, and that its first video track is presented,
    in seconds; the file's position is not kept. Raises `MediaError` as `hide_after`."""
    try:
        moov = _moov(file)
        inside = list(inside_of(file, moov))
        header = only(inside, b"mvhd")
        scale = scale_of(file, header)
        for trak in inside:
            if trak.kind == b"trak" and _is_video(file, parts := list(inside_of(file, trak))):
                shown = _field(file, only(parts, b"tkhd"), narrow=20, wide=28).value
                whole = _field(file, header, narrow=16, wide=24).value
                return Fraction(whole, scale), Fraction(shown, scale)
        raise Odd
    except Odd as error:
        raise _refused() from error


def _refused() -> MediaError:
    return MediaError(
        "CONTAINER_REFUSED",
        "The index of the written file is not as expected: its end cannot be found or moved.",
    )


def _moov(file: BinaryIO) -> Box:
    return only(boxes_in(file, 0, file.seek(0, os.SEEK_END)), b"moov")


def _changes(file: BinaryIO, end: Fraction) -> Iterator[_Field]:
    """What has to be written where; raises `Odd`. The movie's own duration comes last."""
    inside = list(inside_of(file, _moov(file)))
    if maybe(inside, b"mvex") is not None:
        raise Odd
    header = only(inside, b"mvhd")
    stop = int(end * scale_of(file, header))
    longest = 0
    found = False
    for trak in inside:
        if trak.kind != b"trak":
            continue
        parts = list(inside_of(file, trak))
        whole = _field(file, only(parts, b"tkhd"), narrow=20, wide=28)
        length = whole.value
        if _is_video(file, parts):
            found = True
            length, last = _shortened(file, parts, stop)
            yield last
            yield _Field(whole.position, whole.width, length)
        longest = max(longest, length)
    if not found:
        raise Odd
    whole = _field(file, header, narrow=16, wide=24)
    yield _Field(whole.position, whole.width, longest)


def _shortened(file: BinaryIO, parts: list[Box], stop: int) -> tuple[int, _Field]:
    """How long a track is then, in ticks of the movie, and what its last edit's duration becomes,
    for it to end at `stop` at the latest. FFmpeg writes an edit list for every video."""
    holder = only(parts, b"edts")
    *before, last = _edits(file, only(inside_of(file, holder), b"elst"))
    waits = sum(edit.value for edit in before)
    length = min(stop - waits, last.value)
    if length <= 0:
        raise Odd
    return waits + length, _Field(last.position, last.width, length)


def _edits(file: BinaryIO, box: Box) -> list[_Field]:
    """The durations in an edit list, at least one."""
    head = body(file, box, 8)
    width = 8 if head[:1] == b"\x01" else 4
    entry = 2 * width + 4
    count = number_at(head, 4, 4)
    if not 0 < count <= _MOST_EDITS:
        raise Odd
    data = body(file, box, 8 + count * entry)
    return [
        _Field(box.start + at, width, number_at(data, at, width))
        for at in range(8, 8 + count * entry, entry)
    ]


def _field(file: BinaryIO, box: Box, *, narrow: int, wide: int) -> _Field:
    """A number of 4 bytes at `narrow`, or in version 1 of a box of 8 bytes at `wide`."""
    head = body(file, box, 1)
    at, width = (wide, 8) if head == b"\x01" else (narrow, 4)
    return _Field(box.start + at, width, number_at(body(file, box, at + width), at, width))


def _is_video(file: BinaryIO, parts: list[Box]) -> bool:
    handler = only(inside_of(file, only(parts, b"mdia")), b"hdlr")
    return body(file, handler, 12)[8:] == b"vide"
