"""Options that make libx265 write pictures like a source's."""

from __future__ import annotations

from collections.abc import Mapping

from reelsplit_server.media.nal.bitstream import CannotJoin
from reelsplit_server.media.nal.hevc_sets import Sps

_CHROMA = ("gray", "yuv420p", "yuv422p", "yuv444p")
_DEPTHS = {8: "", 10: "10le", 12: "12le"}
#: Best first: 16 takes a third of the time of 8, and gives nothing away; 32 shows.
_SMALLEST_BLOCKS = (16, 32, 8)
_RGB = 0

#: How much finer than the P slices of the source around: for a picture about as good.
_FINER = 11
_PRESET = "superfast"


def pixel_format(sps: Sps) -> str:
    """The pixel format that decoders give, by FFmpeg's name. Raises `CannotJoin` where libx265
    cannot take it."""
    if sps.luma_depth != sps.chroma_depth and sps.chroma:
        raise CannotJoin("luma and chroma have different depths")
    if sps.luma_depth not in _DEPTHS or sps.separate_planes:
        raise CannotJoin("the encoder has no such pixel format")
    vui = sps.vui
    name = _CHROMA[sps.chroma]
    if vui is not None and sps.chroma == 3 and vui.matrix == _RGB:
        name = "gbrp"
    elif vui is not None and vui.full_range and sps.chroma == 1 and sps.luma_depth == 8:
        name = "yuvj420p"
    return name + _DEPTHS[sps.luma_depth]


def options(sps: Sps, quantiser: int) -> Mapping[str, str]:
    """By PyAV's `codec_context.options`, for pictures that stand among those of `sps`, whose P
    slices have `quantiser`. Raises `CannotJoin` where libx265 cannot write such pictures."""
    pixel_format(sps)
    if sps.vui is not None and sps.vui.fields:
        raise CannotJoin("its pictures are single fields")
    ordering = sps.ordering
    # libx265 keeps at least two pictures more than it reorders.
    reordered = min(ordering.reordered, 2, max(0, ordering.buffered - 2))
    references = max(1, min(3, ordering.buffered))
    chosen = {
        "keyint": "-1",
        "min-keyint": "1",
        "scenecut": "0",
        "open-gop": "0",
        "bframes": "3" if reordered else "0",
        "b-pyramid": str(int(reordered == 2)),
        "ref": str(references),
        "min-cu-size": str(_block(sps)),
        "repeat-headers": "0",
        "info": "0",
        "aud": "0",
        "hrd": "0",
        "log-level": "none",
        "pools": "none",
        "frame-threads": "1",
        "wpp": "0",
        "rc-lookahead": "10",
    }
    return {
        "preset": _PRESET,
        "crf": str(max(0, quantiser - _FINER)),
        "x265-params": ":".join(f"{name}={value}" for name, value in chosen.items()),
    }


def _block(sps: Sps) -> int:
    """The smallest coding block with which libx265, that fills the picture up to whole ones,
    comes to the source's coded size."""
    left, right, top, bottom = sps.crop
    across = 2 if sps.chroma in (1, 2) else 1
    down = 2 if sps.chroma == 1 else 1
    width = sps.width - (left + right) * across
    height = sps.height - (top + bottom) * down
    for block in _SMALLEST_BLOCKS:
        filled = (-(-width // block) * block, -(-height // block) * block)
        if not left and not top and filled == (sps.width, sps.height):
            return block
    raise CannotJoin("the encoder cannot crop the picture as the source does")
