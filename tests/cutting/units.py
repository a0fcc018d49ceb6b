"""A look at NAL units that owes nothing to the code under test."""

from __future__ import annotations

import re
from enum import Enum

Slices = tuple[bytes, ...]

_HEADER = 24
"""Bytes at the front of a slice in which its header may have been edited."""

_START = re.compile(rb"\x00\x00\x01")


class Kind(Enum):
    """Whether decoding can begin at a picture, and whether it is a true sync sample."""

    IDR = "idr"
    """Also HEVC's BLA."""
    OPEN = "open"
    """CRA, or H.264's intra picture with a recovery point."""
    OTHER = "other"


def split_units(data: bytes, length: int) -> list[bytes]:
    """NAL units of a packet with `length` bytes of length before each, or, 0, start codes."""
    units: list[bytes] = []
    if not length:
        marks = [match.span() for match in _START.finditer(data)]
        for index, (_, begin) in enumerate(marks):
            end = marks[index + 1][0] if index + 1 < len(marks) else len(data)
            units.append(data[begin:end].rstrip(b"\x00"))
        return [unit for unit in units if unit]
    at = 0
    while at + length <= len(data):
        size = int.from_bytes(data[at : at + length], "big")
        units.append(data[at + length : at + length + size].rstrip(b"\x00"))
        at += length + size
    return [unit for unit in units if unit]


def _type(codec: str, unit: bytes) -> int:
    return unit[0] & 31 if codec == "h264" else unit[0] >> 1 & 63


def slices_of(codec: str, units: list[bytes]) -> Slices:
    """The units that hold coded pictures."""
    high = range(1, 6) if codec == "h264" else range(32)
    return tuple(unit for unit in units if _type(codec, unit) in high)


def in_band_sets(codec: str, units: list[bytes]) -> bool:
    sets = (7, 8) if codec == "h264" else (32, 33, 34)
    return any(_type(codec, unit) in sets for unit in units)


def kind_of(codec: str, units: list[bytes]) -> Kind:
    types = [_type(codec, unit) for unit in units]
    if codec == "h264":
        if 5 in types:
            return Kind.IDR
        # SEI (6) with the payload type 6, a recovery point, as x264 writes it: first in its unit.
        if any(unit[0] & 31 == 6 and unit[1:2] == b"\x06" for unit in units):
            return Kind.OPEN
        return Kind.OTHER
    if any(16 <= kind <= 20 for kind in types):
        return Kind.IDR
    return Kind.OPEN if 21 in types else Kind.OTHER


def same_payload(one: Slices, other: Slices) -> bool:
    """Whether two pictures have the same slice data, byte for byte: all but what an edited slice
    header can reach."""
    if not one or len(one) != len(other):
        return False
    for a, b in zip(one, other, strict=True):
        keep = min(len(a), len(b)) - _HEADER
        if abs(len(a) - len(b)) > _HEADER or (keep > 0 and a[-keep:] != b[-keep:]):
            return False
    return True
