"""The two bytes that head every HEVC NAL unit."""

from __future__ import annotations

from reelsplit_server.media.nal.bits import BitReader, BrokenSyntax
from reelsplit_server.media.nal.units import escaped, unescaped

BLA_W_LP, BLA_N_LP, IDR_W_RADL, IDR_N_LP, CRA = 16, 18, 19, 20, 21
VPS, SPS, PPS, SEI = 32, 33, 34, 39
DELIMITER, END_OF_SEQUENCE, END_OF_STREAM, FILLER = 35, 36, 37, 38
DOLBY_VISION = (62, 63)

_HEADER = 16
#: no_output_of_prior_pics_flag in the third byte of a slice.
_DISCARDS = 0x40


def kind(unit: bytes) -> int:
    """nal_unit_type."""
    return unit[0] >> 1 & 0x3F


def layer(unit: bytes) -> int:
    """nuh_layer_id; `BrokenSyntax` where the header itself is cut off."""
    if len(unit) < 2:
        raise BrokenSyntax("a NAL unit ends in its header")
    return (unit[0] & 1) << 5 | unit[1] >> 3


def temporal(unit: bytes) -> int:
    """TemporalId; the header must be whole."""
    return max(0, (unit[1] & 7) - 1)


def is_slice(unit: bytes) -> bool:
    """Whether the unit belongs to a picture, by a type that is not reserved."""
    nal_type = kind(unit)
    return nal_type <= 9 or BLA_W_LP <= nal_type <= CRA


def is_random_access(nal_type: int) -> bool:
    """Whether slices of this type belong to an IRAP picture."""
    return 16 <= nal_type <= 23


def after_others(unit: bytes, nal_type: int) -> bytes:
    """The slice of an IRAP picture under another nal_unit_type, and with pictures before it shown
    in spite of it (no_output_of_prior_pics_flag 0)."""
    unit = bytes((unit[0] & 0x81 | nal_type << 1,)) + unit[1:]
    if len(unit) < 3 or not unit[2] & _DISCARDS:
        return unit
    raw = unescaped(unit)
    return escaped(raw[:2] + bytes((raw[2] & ~_DISCARDS,)) + raw[3:])


def reader(unit: bytes) -> BitReader:
    """The raw unit, read up to the end of its header."""
    bits = BitReader(unescaped(unit))
    bits.u(_HEADER)
    return bits
