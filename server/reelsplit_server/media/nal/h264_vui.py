"""H.264 video usability information: the part of a sequence parameter set that is not decoding."""

from __future__ import annotations

from dataclasses import dataclass

from reelsplit_server.media.nal.bits import BitReader, BitWriter, BrokenSyntax

_EXTENDED_ASPECT = 255
_MOST_HRD = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Colour:
    """How samples are to be understood; numbers as in the standard (and in H.273)."""

    video_format: int = 5
    full_range: bool = False
    description: tuple[int, int, int] | None = None
    """Primaries, transfer, matrix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restriction:
    """What decoders may rely on."""

    over_boundaries: bool = True
    most_bytes: int = 0
    most_bits: int = 0
    log2_mv_horizontal: int = 15
    log2_mv_vertical: int = 15
    reordering: int
    """Pictures that may come before a picture in decoding order and are shown after it."""
    buffering: int
    """Frames that the decoded picture buffer must hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vui:
    """All of it but the hypothetical reference decoder's rates, which are read over."""

    aspect: tuple[int, int, int] | None = None
    """aspect_ratio_idc, and width and height of a sample where that is 255."""
    overscan: bool | None = None
    colour: Colour | None = None
    chroma_location: tuple[int, int] | None = None
    timing: tuple[int, int, bool] | None = None
    """num_units_in_tick, time_scale, fixed_frame_rate_flag."""
    restriction: Restriction | None = None


def read_vui(bits: BitReader) -> Vui:
    """The syntax vui_parameters(); raises `BrokenSyntax`."""
    aspect = None
    if bits.flag():
        idc = bits.u(8)
        aspect = (idc, bits.u(16), bits.u(16)) if idc == _EXTENDED_ASPECT else (idc, 0, 0)
    overscan = bits.flag() if bits.flag() else None
    colour = None
    if bits.flag():
        video_format, full_range = bits.u(3), bits.flag()
        description = (bits.u(8), bits.u(8), bits.u(8)) if bits.flag() else None
        colour = Colour(video_format=video_format, full_range=full_range, description=description)
    location = (bits.ue(), bits.ue()) if bits.flag() else None
    timing = (bits.u(32), bits.u(32), bits.flag()) if bits.flag() else None
    rates = 0
    for _ in range(2):
        if bits.flag():
            _skip_hrd(bits)
            rates += 1
    if rates:
        bits.u(1)  # low_delay_hrd_flag
    bits.u(1)  # pic_struct_present_flag
    restriction = _read_restriction(bits) if bits.flag() else None
    return Vui(
        aspect=aspect,
        overscan=overscan,
        colour=colour,
        chroma_location=location,
        timing=timing,
        restriction=restriction,
    )


def _skip_hrd(bits: BitReader) -> None:
    count = bits.ue() + 1
    if count > _MOST_HRD:
        raise BrokenSyntax("too many reference decoders in a sequence parameter set")
    bits.u(8)
    for _ in range(count):
        bits.ue()
        bits.ue()
        bits.u(1)
    bits.u(20)


def _read_restriction(bits: BitReader) -> Restriction:
    restriction = Restriction(
        over_boundaries=bits.flag(),
        most_bytes=bits.ue(),
        most_bits=bits.ue(),
        log2_mv_horizontal=bits.ue(),
        log2_mv_vertical=bits.ue(),
        reordering=bits.ue(),
        buffering=bits.ue(),
    )
    if restriction.reordering > restriction.buffering or restriction.buffering > 16:
        raise BrokenSyntax("a sequence parameter set has impossible limits")
    return restriction


def write_vui(bits: BitWriter, vui: Vui) -> None:
    """The inverse of `read_vui`, without reference decoder and picture structure messages."""
    bits.flag(vui.aspect is not None)
    if vui.aspect is not None:
        bits.u(8, vui.aspect[0])
        if vui.aspect[0] == _EXTENDED_ASPECT:
            bits.u(16, vui.aspect[1])
            bits.u(16, vui.aspect[2])
    bits.flag(vui.overscan is not None)
    if vui.overscan is not None:
        bits.flag(vui.overscan)
    bits.flag(vui.colour is not None)
    if vui.colour is not None:
        bits.u(3, vui.colour.video_format)
        bits.flag(vui.colour.full_range)
        bits.flag(vui.colour.description is not None)
        for number in vui.colour.description or ():
            bits.u(8, number)
    bits.flag(vui.chroma_location is not None)
    for number in vui.chroma_location or ():
        bits.ue(number)
    bits.flag(vui.timing is not None)
    if vui.timing is not None:
        bits.u(32, vui.timing[0])
        bits.u(32, vui.timing[1])
        bits.flag(vui.timing[2])
    bits.u(3, 0)  # neither of the reference decoders, no pic_struct
    bits.flag(vui.restriction is not None)
    if vui.restriction is not None:
        limits = vui.restriction
        bits.flag(limits.over_boundaries)
        for number in (
            limits.most_bytes,
            limits.most_bits,
            limits.log2_mv_horizontal,
            limits.log2_mv_vertical,
            limits.reordering,
            limits.buffering,
        ):
            bits.ue(number)
