"""How a packet's picture is coded, from the first bytes of it."""

from __future__ import annotations

from reelsplit_server.media.nal.bits import BitReader, BrokenSyntax
from reelsplit_server.media.nal.units import BrokenUnits, split, unescaped

#: More than any slice header takes up to its type.
_HEAD = 24
_H264_SLICE, _H264_IDR = 1, 5
_HEVC_SLICES, _HEVC_IRAP = range(32), range(16, 24)
_H264_INTRA, _HEVC_INTRA = (2, 4), (2,)


def is_intra(codec: str, data: bytes, width: int) -> bool | None:
    """Whether the picture leans on no other, as its first slice says; None where that is not
    told. `width`: bytes in the length before each NAL unit, 0 for start codes."""
    if codec not in ("h264", "hevc"):
        return None
    try:
        for unit in split(data, width):
            bits = BitReader(unescaped(unit[:_HEAD]))
            if codec == "h264" and unit[0] & 31 in (_H264_SLICE, _H264_IDR):
                bits.u(8)
                bits.ue()
                return bits.ue() % 5 in _H264_INTRA
            kind = unit[0] >> 1 & 63
            if codec == "hevc" and kind in _HEVC_SLICES:
                bits.u(17)
                if kind in _HEVC_IRAP:
                    bits.u(1)
                bits.ue()
                return bits.ue() in _HEVC_INTRA
    except (BrokenSyntax, BrokenUnits):
        return None
    return None
