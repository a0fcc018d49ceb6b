"""NAL units in and out of packets: length prefixes, start codes, emulation prevention."""

from __future__ import annotations

import re
from collections.abc import Iterable

_START = re.compile(rb"\x00\x00\x01")
_ESCAPED = re.compile(rb"\x00\x00[\x00-\x03]")


class BrokenUnits(ValueError):
    """The packet does not divide into NAL units: it is corrupt."""


def split(data: bytes, width: int) -> list[bytes]:
    """The NAL units of a packet, without prefixes, none empty.

    `width` is how many bytes each length has (1 to 4); 0 for start codes (Annex B). Raises
    `BrokenUnits` where lengths do not add up, and where no unit is found.
    """
    units = _split_start_codes(data) if width == 0 else _split_lengths(data, width)
    if not units:
        raise BrokenUnits("no NAL unit")
    return units


def _split_lengths(data: bytes, width: int) -> list[bytes]:
    units: list[bytes] = []
    at, size = 0, len(data)
    while at < size:
        start = at + width
        at = start + int.from_bytes(data[at:start], "big")
        if at > size or start > size:
            raise BrokenUnits("a NAL unit reaches beyond its packet")
        if at > start:
            units.append(data[start:at])
    return units


def _split_start_codes(data: bytes) -> list[bytes]:
    starts = [match.end() for match in _START.finditer(data)]
    ends = [start - 3 for start in starts[1:]] + [len(data)]
    units = []
    for start, end in zip(starts, ends, strict=False):
        # Zeros before the next start code belong to it; a NAL unit never ends in one.
        unit = data[start:end].rstrip(b"\x00")
        if unit:
            units.append(unit)
    return units


def with_lengths(units: Iterable[bytes]) -> bytes:
    """A packet in which each unit follows its length in four bytes."""
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)


def with_start_codes(units: Iterable[bytes]) -> bytes:
    """A packet in Annex B form, each unit after a start code of four bytes."""
    return b"".join(b"\x00\x00\x00\x01" + unit for unit in units)


def unescaped(unit: bytes) -> bytes:
    """Without emulation prevention: the raw bytes of the syntax (RBSP, header bytes included)."""
    return unit.replace(b"\x00\x00\x03", b"\x00\x00")


def escaped(raw: bytes) -> bytes:
    """With emulation prevention; the inverse of `unescaped`."""
    pieces, at = [], 0
    while (match := _ESCAPED.search(raw, at)) is not None:
        pieces += [raw[at : match.start() + 2], b"\x03"]
        at = match.start() + 2
    unit = b"".join((*pieces, raw[at:]))
    # Only zero words that fill up a rate end like this.
    return unit + b"\x03" if unit.endswith(b"\x00\x00") else unit
