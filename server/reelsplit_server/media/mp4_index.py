"""The sample tables of an MP4 or MOV: every frame's time, place and size, without media data.

Sources are hostile. A table is read only as far as its box reaches, and counts that claim more
than the boxes and the file can hold are refused before anything is made from them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from reelsplit_server.media.mp4_boxes import (
    Box,
    Ints,
    Odd,
    body,
    boxes_in,
    count_at,
    inside_of,
    maybe,
    number_at,
    numbers_of,
    only,
    scale_of,
)

#: No real offset between decoding and showing is larger, in ticks; FFmpeg ignores such tables.
_MOST_SHIFT = 1 << 28


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mp4Index:
    """One video track's samples in decoding order; all arrays are of shape (samples,).

    Times are as FFmpeg's demuxer gives them: behind the edit list, the first shown sample at the
    end of the list's empty part.
    """

    time_base: Fraction
    """Seconds in a tick."""
    pts: Ints
    """Ticks: when each is shown."""
    durations: Ints
    """Ticks up to the next sample in decoding order, as the table says."""
    positions: Ints
    """Bytes from the start of the file."""
    sizes: Ints
    """Bytes, never 0."""
    keys: NDArray[np.bool_]
    """Whether the file calls it a sync sample; those of open GOPs may be left out."""
    shown: NDArray[np.bool_]
    """False for what the edit list hides."""
    bytes_of_index: int
    """Of the whole ``moov`` box."""


def read_mp4_index(file: BinaryIO, track: int) -> Mp4Index | None:
    """Read the tables of the track with this id; the file's position is not kept.

    None where the tables do not tell all: fragments, several edits, several sample descriptions,
    compressed headers, tables that are missing, lie or point beyond the file, too many samples.
    """
    try:
        return _read(file, track)
    except Odd:
        return None


def _read(file: BinaryIO, track: int) -> Mp4Index:
    size = file.seek(0, os.SEEK_END)
    moov = only(boxes_in(file, 0, size), b"moov")
    inside = list(boxes_in(file, moov.start, moov.end))
    if any(box.kind in (b"mvex", b"cmov") for box in inside):
        raise Odd
    movie_scale = scale_of(file, only(inside, b"mvhd"))
    for trak in inside:
        if trak.kind == b"trak":
            parts = list(boxes_in(file, trak.start, trak.end))
            header = body(file, only(parts, b"tkhd"), 32)
            if number_at(header, 20 if header[:1] == b"\x01" else 12, 4) == track:
                return _track(file, parts, movie_scale, moov, size)
    raise Odd


def _track(
    file: BinaryIO, parts: list[Box], movie_scale: int, moov: Box, file_size: int
) -> Mp4Index:
    media = list(inside_of(file, only(parts, b"mdia")))
    scale = scale_of(file, only(media, b"mdhd"))
    table = list(inside_of(file, only(inside_of(file, only(media, b"minf")), b"stbl")))
    if number_at(body(file, only(table, b"stsd"), 8), 4, 4) != 1:
        raise Odd
    sizes = _sizes(file, table, file_size)
    count = len(sizes)
    positions = _positions(file, table, sizes, file_size)
    durations = _run_lengths(file, only(table, b"stts"), count)
    if durations.max() >= 1 << 31:
        raise Odd
    # Decoding times begin at 0, and each sample's table entry leads to the next.
    times = np.cumsum(durations) - durations
    shift = maybe(table, b"ctts")
    if shift is not None:
        shifts = _run_lengths(file, shift, count).astype(np.uint32).view(np.int32)
        if np.abs(shifts.astype(np.int64)).max() > _MOST_SHIFT:
            raise Odd
        times = times + shifts
    pts, shown = _edited(file, parts, times, movie_scale, scale)
    return Mp4Index(
        time_base=Fraction(1, scale),
        pts=pts,
        durations=durations,
        positions=positions,
        sizes=sizes,
        keys=_keys(file, table, count),
        shown=shown,
        bytes_of_index=moov.end - moov.start + 8,
    )


def _edited(
    file: BinaryIO, parts: list[Box], times: Ints, movie_scale: int, scale: int
) -> tuple[Ints, NDArray[np.bool_]]:
    """The times behind the edit list, and which samples it shows."""
    holder = maybe(parts, b"edts")
    box = None if holder is None else maybe(list(inside_of(file, holder)), b"elst")
    everything = np.ones(len(times), dtype=np.bool_)
    if box is None:
        return times, everything
    head = body(file, box, 8)
    wide = head[:1] == b"\x01"
    entry = 20 if wide else 12
    count = number_at(head, 4, 4)
    if count == 0:
        return times, everything
    if count > 2:
        raise Odd
    data = body(file, box, 8 + entry * count)
    edits = []
    for at in range(8, 8 + entry * count, entry):
        field = 8 if wide else 4
        media_time = int.from_bytes(data[at + field : at + 2 * field], "big", signed=True)
        if number_at(data, at + 2 * field, 4) != 0x10000:
            raise Odd
        edits.append((number_at(data, at, field), media_time))
    empty = 0
    if edits[0][1] == -1:
        empty = _rescaled(edits.pop(0)[0], scale, movie_scale)
    if len(edits) != 1:
        raise Odd
    length, begin = edits[0]
    length = _rescaled(length, scale, movie_scale)
    if length <= 0 or not 0 <= begin < 1 << 60 or max(length, empty) >= 1 << 60:
        raise Odd
    shown = (times >= begin) & (times < begin + length)
    if not shown.any():
        raise Odd
    # As FFmpeg does: the first shown sample is at 0, even if the edit begins between two.
    return times - int(times[shown].min()) + empty, shown


def _sizes(file: BinaryIO, table: list[Box], file_size: int) -> Ints:
    box = maybe(table, b"stsz")
    if box is not None:
        head = body(file, box, 12)
        each, count = number_at(head, 4, 4), count_at(head, 8)
        if each:
            if each * count > file_size:
                raise Odd
            return np.full(count, each, dtype=np.int64)
        sizes = numbers_of(file, box, 12, count, 4)
    else:
        box = only(table, b"stz2")
        head = body(file, box, 12)
        bits, count = head[7], count_at(head, 8)
        if bits == 4:
            halves = numbers_of(file, box, 12, (count + 1) // 2, 1)
            sizes = np.stack((halves >> 4, halves & 15), axis=1).reshape(-1)[:count]
        elif bits in (8, 16):
            sizes = numbers_of(file, box, 12, count, bits // 8)
        else:
            raise Odd
    # An empty sample is no packet.
    if sizes.min() <= 0 or int(sizes.sum()) > file_size:
        raise Odd
    return sizes


def _positions(file: BinaryIO, table: list[Box], sizes: Ints, file_size: int) -> Ints:
    samples = len(sizes)
    box, width = maybe(table, b"stco"), 4
    if box is None:
        box, width = only(table, b"co64"), 8
    chunks = numbers_of(file, box, 8, count_at(body(file, box, 8), 4), width)
    box = only(table, b"stsc")
    runs = numbers_of(file, box, 8, 3 * count_at(body(file, box, 8), 4), 4).reshape(-1, 3)
    firsts, per_chunk = runs[:, 0], runs[:, 1]
    lengths = np.diff(np.append(firsts, len(chunks) + 1))
    if (
        firsts[0] != 1
        or lengths.min() <= 0
        or per_chunk.min() <= 0
        or per_chunk.max() > samples
        or np.any(runs[:, 2] != 1)
        or int((lengths * per_chunk).sum()) != samples
    ):
        raise Odd
    counts = np.repeat(per_chunk, lengths)
    before = np.cumsum(sizes) - sizes
    starts = np.cumsum(counts) - counts
    positions: Ints = before + np.repeat(chunks - before[starts], counts)
    if chunks.min() < 0 or chunks.max() > file_size or (positions + sizes).max() > file_size:
        raise Odd
    return positions


def _keys(file: BinaryIO, table: list[Box], count: int) -> NDArray[np.bool_]:
    """Without a table, every sample is a sync sample."""
    boxes = [box for box in table if box.kind in (b"stss", b"stps")]
    keys = np.zeros(count, dtype=np.bool_)
    if not any(box.kind == b"stss" for box in boxes):
        return ~keys
    for box in boxes:
        entries = number_at(body(file, box, 8), 4, 4)
        if entries > count:
            raise Odd
        numbers = numbers_of(file, box, 8, entries, 4)
        if entries and (numbers.min() < 1 or numbers.max() > count):
            raise Odd
        keys[numbers - 1] = True
    return keys


def _run_lengths(file: BinaryIO, box: Box, samples: int) -> Ints:
    """A table of (samples in a row, value), spread out to one value a sample."""
    runs = numbers_of(file, box, 8, 2 * count_at(body(file, box, 8), 4), 4).reshape(-1, 2)
    if runs[:, 0].max() > samples or int(runs[:, 0].sum()) != samples:
        raise Odd
    return np.repeat(runs[:, 1], runs[:, 0])


def _rescaled(ticks: int, scale: int, other: int) -> int:
    """Ticks of another clock on ours, rounded as FFmpeg does: halves away from zero."""
    return (2 * ticks * scale + other) // (2 * other)
