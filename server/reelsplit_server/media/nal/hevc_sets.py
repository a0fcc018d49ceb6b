"""HEVC parameter sets: what of an SPS or a PPS is needed to read slices and to match encoders."""

from __future__ import annotations

from dataclasses import dataclass

from reelsplit_server.media.nal.bits import BitReader, BrokenSyntax
from reelsplit_server.media.nal.hevc_references import (
    MOST_PICTURES,
    ReferenceSet,
    limited,
    read_references,
)
from reelsplit_server.media.nal.hevc_units import SPS, VPS, kind, reader
from reelsplit_server.media.nal.hevc_vui import Vui, skip_scaling_lists, skip_vui

_PROFILE = 88
_PROFILE_AND_LEVEL = 96
_LARGEST_SIDE = 1 << 16
#: general_profile_idc from which on further flags limit a profile.
_EXTENDED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordering:
    """What decoders need to know beforehand, for the highest sub-layer, as coded."""

    buffered: int
    """sps_max_dec_pic_buffering_minus1"""
    reordered: int
    """sps_max_num_reorder_pics"""
    latency: int
    """sps_max_latency_increase_plus1"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sps:
    """A sequence parameter set."""

    id: int
    vps_id: int
    sub_layers: int
    nested: bool
    profile: bytes
    """general_profile_space to general_level_idc: 12 bytes, as in an hvcC."""
    chroma: int
    separate_planes: bool
    width: int
    """Coded, in luma samples; `crop` is left, right, top, bottom, in chroma units."""
    height: int
    crop: tuple[int, int, int, int]
    luma_depth: int
    chroma_depth: int
    order_bits: int
    ordering: Ordering
    smallest_block: int
    """Luma samples, as `largest_block`."""
    largest_block: int
    sao: bool
    references: tuple[ReferenceSet, ...]
    long_term: bool
    long_term_used: tuple[bool, ...]
    temporal_mvp: bool
    vui: Vui | None
    """None where absent or unreadable."""
    vui_bits: tuple[int, int] | None
    """Where, in bits of the raw unit, vui_parameters_present_flag and
    sps_extension_present_flag stand; None where what is between cannot be read."""
    plain: bool
    """Whether no extension changes the slice headers."""
    ordering_bits: tuple[int, int]
    """Where, in bits of the raw unit, the ordering stands: begin, end."""

    @property
    def intra_only(self) -> bool:
        """Whether the profile has no pictures but key frames, or a single one."""
        return self.profile[0] & 0x1F >= _EXTENDED and self.profile[6] & 0x30 != 0

    @property
    def picture(self) -> tuple[object, ...]:
        """What has to be the same in two sets whose pictures follow each other."""
        return (
            (self.chroma, self.separate_planes, self.luma_depth, self.chroma_depth),
            (self.width, self.height, self.crop),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pps:
    """A picture parameter set, as far as slice headers need it."""

    id: int
    sps_id: int
    dependent_slices: bool
    output_flag: bool
    extra_bits: int
    cabac_init: bool
    active: tuple[int, int]
    """Default numbers of reference pictures, list 0 and list 1."""
    quantiser: int
    weighted: bool
    weighted_both: bool
    list_changes: bool
    plain: bool
    """Whether no extension changes the slice headers."""


def set_id(unit: bytes) -> int:
    """The id of a VPS, an SPS or a PPS. Raises `BrokenSyntax` where it is out of range."""
    bits = reader(unit[:512])
    if kind(unit) == VPS:
        return bits.u(4)
    if kind(unit) == SPS:
        bits.u(4)
        sub_layers = bits.u(3) + 1
        bits.flag()
        skip_profile(bits, sub_layers)
        return limited(bits.ue(), 15)
    return limited(bits.ue(), 63)


def skip_profile(bits: BitReader, sub_layers: int) -> bytes:
    """Read a profile_tier_level; answers its general part, 12 bytes."""
    general = bits.u(_PROFILE_AND_LEVEL).to_bytes(12, "big")
    present = [(bits.flag(), bits.flag()) for _ in range(sub_layers - 1)]
    if sub_layers > 1:
        bits.u(2 * (9 - sub_layers))
    for profile, level in present:
        bits.u(_PROFILE * profile + 8 * level)
    return general


def read_ordering(bits: BitReader, sub_layers: int) -> Ordering:
    """The ordering information of all sub-layers; answers that of the highest."""
    each = bits.flag()
    for _ in range(sub_layers if each else 1):
        ordering = Ordering(
            buffered=limited(bits.ue(), MOST_PICTURES - 1),
            reordered=limited(bits.ue(), MOST_PICTURES - 1),
            latency=bits.ue(),
        )
    return ordering


def read_sps(unit: bytes) -> Sps:
    """Parse an SPS of layer 0. Raises `BrokenSyntax`."""
    bits = reader(unit)
    vps_id = bits.u(4)
    sub_layers = limited(bits.u(3), 6) + 1
    nested = bits.flag()
    profile = skip_profile(bits, sub_layers)
    identity = limited(bits.ue(), 15)
    chroma = limited(bits.ue(), 3)
    separate_planes = chroma == 3 and bits.flag()
    width, height = (limited(bits.ue(), _LARGEST_SIDE) for _ in range(2))
    crop = (0, 0, 0, 0)
    if bits.flag():
        crop = (bits.ue(), bits.ue(), bits.ue(), bits.ue())
    luma_depth, chroma_depth = (limited(bits.ue(), 8) + 8 for _ in range(2))
    order_bits = limited(bits.ue(), 12) + 4
    ordering_begin = bits.position
    ordering = read_ordering(bits, sub_layers)
    ordering_end = bits.position
    smallest = limited(bits.ue(), 3) + 3
    largest = limited(smallest + bits.ue(), 6)
    for _ in range(4):
        bits.ue()
    if bits.flag() and bits.flag():
        skip_scaling_lists(bits)
    bits.flag()
    sao = bits.flag()
    if bits.flag():
        bits.u(8)
        bits.ue()
        bits.ue()
        bits.flag()
    references: list[ReferenceSet] = []
    count = limited(bits.ue(), 64)
    for _ in range(count):
        references.append(read_references(bits, references, in_slice=False))
    long_term = bits.flag()
    long_term_used: list[bool] = []
    for _ in range(limited(bits.ue(), 32) if long_term else 0):
        bits.u(order_bits)
        long_term_used.append(bits.flag())
    temporal_mvp = bits.flag()
    bits.flag()
    vui_begin = bits.position
    vui, vui_end, plain = _read_end(bits, sub_layers)
    if not width or not height:
        raise BrokenSyntax("a parameter set says that the picture is empty")
    return Sps(
        id=identity,
        vps_id=vps_id,
        sub_layers=sub_layers,
        nested=nested,
        profile=profile,
        chroma=chroma,
        separate_planes=separate_planes,
        width=width,
        height=height,
        crop=crop,
        luma_depth=luma_depth,
        chroma_depth=chroma_depth,
        order_bits=order_bits,
        ordering=ordering,
        smallest_block=1 << smallest,
        largest_block=1 << largest,
        sao=sao,
        references=tuple(references),
        long_term=long_term,
        long_term_used=tuple(long_term_used),
        temporal_mvp=temporal_mvp,
        vui=vui,
        vui_bits=(vui_begin, vui_end) if vui_end is not None else None,
        plain=plain,
        ordering_bits=(ordering_begin, ordering_end),
    )


def _read_end(bits: BitReader, sub_layers: int) -> tuple[Vui | None, int | None, bool]:
    """The VUI, its end, and whether extensions leave slice headers as they are. Some writers get
    the VUI wrong, and decoders put up with it."""
    try:
        vui = skip_vui(bits, sub_layers) if bits.flag() else None
        end = bits.position
        # Only the first flag, for range extensions, changes nothing in slice headers.
        return vui, end, not bits.flag() or bits.u(8) & 0x7F == 0
    except BrokenSyntax:
        return None, None, False


def read_pps(unit: bytes) -> Pps:
    """Parse a PPS of layer 0. Raises `BrokenSyntax`."""
    bits = reader(unit)
    identity, sps_id = limited(bits.ue(), 63), limited(bits.ue(), 15)
    dependent_slices, output_flag = bits.flag(), bits.flag()
    extra_bits = bits.u(3)
    bits.flag()
    cabac_init = bits.flag()
    active = (limited(bits.ue(), 14) + 1, limited(bits.ue(), 14) + 1)
    quantiser = 26 + bits.se()
    bits.u(2)
    if bits.flag():
        bits.ue()
    bits.se()
    bits.se()
    bits.flag()
    weighted, weighted_both = bits.flag(), bits.flag()
    bits.flag()
    tiles = bits.flag()
    bits.flag()
    if tiles:
        columns, rows = limited(bits.ue(), 255), limited(bits.ue(), 255)
        if not bits.flag():
            for _ in range(columns + rows):
                bits.ue()
        bits.flag()
    bits.flag()
    if bits.flag():
        bits.flag()
        if not bits.flag():
            bits.se()
            bits.se()
    if bits.flag():
        skip_scaling_lists(bits)
    list_changes = bits.flag()
    bits.ue()
    bits.flag()
    return Pps(
        id=identity,
        sps_id=sps_id,
        dependent_slices=dependent_slices,
        output_flag=output_flag,
        extra_bits=extra_bits,
        cabac_init=cabac_init,
        active=active,
        quantiser=quantiser,
        weighted=weighted,
        weighted_both=weighted_both,
        list_changes=list_changes,
        plain=not bits.flag() or bits.u(8) & 0x7F == 0,
    )
