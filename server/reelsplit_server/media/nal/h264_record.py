"""The record of H.264 parameter sets that MP4 and Matroska keep beside a stream (avcC)."""

from __future__ import annotations

from collections.abc import Sequence

from reelsplit_server.media.nal.bitstream import CannotJoin
from reelsplit_server.media.nal.h264_sets import Sps
from reelsplit_server.media.nal.units import BrokenUnits, split

#: Profiles whose record ends in chroma format and depth.
_WITH_TAIL = frozenset({100, 110, 122, 144, 244})


def read_record(extradata: bytes) -> tuple[int, list[bytes]]:
    """The width of lengths in packets, 0 for start codes, and the sets: from an avcC record, from
    units in Annex B form, or from nothing. Raises `BrokenUnits`."""
    if not extradata:
        return 0, []
    if extradata[0] != 1:
        return 0, split(extradata, 0)
    if len(extradata) < 7:
        raise BrokenUnits("the record of parameter sets ends too early")
    units: list[bytes] = []
    at = 5
    for mask in (0x1F, 0xFF):
        if at >= len(extradata):
            raise BrokenUnits("the record of parameter sets ends too early")
        count = extradata[at] & mask
        at += 1
        for _ in range(count):
            start = at + 2
            at = start + int.from_bytes(extradata[at:start], "big")
            if at > len(extradata) or start > len(extradata):
                raise BrokenUnits("the record of parameter sets ends too early")
            units.append(extradata[start:at])
    return 1 + (extradata[4] & 3), [unit for unit in units if unit]


def write_record(model: Sps, level: int, sps: Sequence[bytes], pps: Sequence[bytes]) -> bytes:
    """An avcC record with lengths of four bytes, for a stream of the profile of `model`.

    Raises `CannotJoin` where it cannot hold all the sets.
    """
    if len(sps) > 31 or len(pps) > 255:
        raise CannotJoin("the source has too many parameter sets")
    record = bytearray((1, model.profile, model.constraints, level, 0xFF))
    for count, units in ((0xE0 | len(sps), sps), (len(pps), pps)):
        record.append(count)
        for unit in units:
            record += len(unit).to_bytes(2, "big") + unit
    if model.profile in _WITH_TAIL:
        record += bytes(
            (0xFC | model.chroma, 0xF8 | model.depth_luma - 8, 0xF8 | model.depth_chroma - 8, 0)
        )
    return bytes(record)
