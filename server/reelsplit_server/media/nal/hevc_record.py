"""The hvcC record: HEVC parameter sets outside of the stream."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from reelsplit_server.media.nal.bits import BrokenSyntax
from reelsplit_server.media.nal.hevc_sets import Sps
from reelsplit_server.media.nal.hevc_units import PPS, SEI, SPS, VPS, kind
from reelsplit_server.media.nal.units import split

#: Order of the arrays, and of units in front of a picture.
KINDS = (VPS, SPS, PPS, SEI)

_HEAD = 22
_MOST_UNITS = 512
_COMPLETE = 0x80


@dataclass(frozen=True, slots=True)
class Record:
    """What a source keeps outside of its packets."""

    head: bytes
    """The record up to its arrays, 22 bytes; empty where the source has none of that form."""
    width: int
    """Bytes of each length in packets; 0 where packets have start codes."""
    units: tuple[bytes, ...]
    """Parameter sets and SEI."""


def read_record(extradata: bytes) -> Record:
    """Read hvcC or Annex B. Raises `BrokenSyntax`, or `BrokenUnits`, where it is neither."""
    if extradata[:3] in (b"", b"\x00\x00\x01", b"\x00\x00\x00"):
        return Record(b"", 0, tuple(split(extradata, 0)[:_MOST_UNITS]) if extradata else ())
    if len(extradata) < _HEAD + 1:
        raise BrokenSyntax("the stream's header is cut off")
    units: list[bytes] = []
    at = _HEAD + 1
    for _ in range(extradata[_HEAD]):
        count, at = int.from_bytes(extradata[at + 1 : at + 3], "big"), at + 3
        if at > len(extradata):
            raise BrokenSyntax("the stream's header is cut off")
        for _ in range(count):
            start = at + 2
            at = start + int.from_bytes(extradata[at:start], "big")
            if at > len(extradata) or start > len(extradata):
                raise BrokenSyntax("the stream's header is cut off")
            if len(units) == _MOST_UNITS:
                raise BrokenSyntax("the stream's header has too many parameter sets")
            if at > start:
                units.append(extradata[start:at])
    return Record(extradata[:_HEAD], (extradata[21] & 3) + 1, tuple(units))


def write_record(source: Record, sps: Sps, units: Iterable[bytes]) -> bytes:
    """An hvcC for packets with lengths of four bytes, that holds all of `units`."""
    head = _head(sps)
    if source.head and _claims(source.head) == _claims(head):
        head = source.head
    arrays: dict[int, list[bytes]] = {each: [] for each in KINDS}
    for unit in units:
        arrays[kind(unit)].append(unit)
    parts = [b"\x01", head[1:21], bytes((head[21] | 3,))]
    used = {each: those for each, those in arrays.items() if those}
    parts.append(bytes((len(used),)))
    for each, those in used.items():
        # Pictures may bring SEI of their own.
        flags = 0 if each == SEI else _COMPLETE
        parts += [bytes((flags | each,)), len(those).to_bytes(2, "big")]
        for unit in those:
            parts += [len(unit).to_bytes(2, "big"), unit]
    return b"".join(parts)


def _claims(head: bytes) -> tuple[bytes, int, int, int]:
    """Profile, chroma and depths."""
    return head[1:13], head[16] & 3, head[17] & 7, head[18] & 7


def _head(sps: Sps) -> bytes:
    return b"".join(
        (
            b"\x01",
            sps.profile,
            # No claim about segments and parallel decoding; reserved bits are ones.
            b"\xf0\x00\xfc",
            bytes((0xFC | sps.chroma, 0xF8 | sps.luma_depth - 8, 0xF8 | sps.chroma_depth - 8)),
            b"\x00\x00",
            bytes((sps.sub_layers << 3 | sps.nested << 2 | 3,)),
        )
    )
