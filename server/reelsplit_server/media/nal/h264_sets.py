"""H.264 sequence and picture parameter sets: what they say, and a sequence set written anew."""

from __future__ import annotations

from dataclasses import dataclass

from reelsplit_server.media.nal.bits import BitReader, BitWriter, BrokenSyntax
from reelsplit_server.media.nal.h264_vui import Vui, read_vui, write_vui
from reelsplit_server.media.nal.units import escaped, unescaped

#: Profiles whose sets tell of chroma format, depth and scaling.
HIGH_PROFILES = frozenset({44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244})
#: Those among them that can be intra only.
_INTRA_PROFILES = frozenset({44, 86, 100, 110, 122, 244})
#: More than any parameter set has; an avcC record could not hold longer ones anyway.
_MOST_BYTES = 4096
_MOST_SIDE = 1 << 14
#: Macroblocks that the decoded picture buffer holds at each level (table A-1).
_BUFFER = {
    level: blocks
    for levels, blocks in (
        ((9, 10), 396),
        ((11,), 900),
        ((12, 13, 20), 2376),
        ((21,), 4752),
        ((22, 30), 8100),
        ((31,), 18000),
        ((32,), 20480),
        ((40, 41), 32768),
        ((42,), 34816),
        ((50,), 110400),
        ((51, 52), 184320),
        ((60, 61, 62), 696320),
    )
    for level in levels
}
_MOST_FRAMES = 16
_LEVEL_1B_FLAG = 0x10


@dataclass(frozen=True, slots=True, kw_only=True)
class Sps:
    """A sequence parameter set."""

    id: int
    profile: int
    constraints: int
    """The byte of constraint flags, set0 the highest bit."""
    level: int
    chroma: int
    """chroma_format_idc: 0 gray, 1 4:2:0, 2 4:2:2, 3 4:4:4."""
    separate_planes: bool
    depth_luma: int
    depth_chroma: int
    lossless: bool
    scaling: bool
    frame_num_bits: int
    poc_type: int
    poc_bits: int
    """Width of pic_order_cnt_lsb; 0 unless the type is 0."""
    poc_deltas: bool
    """Type 1: slices carry differences."""
    references: int
    gaps: bool
    gaps_at: int
    """The bit of gaps_in_frame_num_value_allowed_flag, counted from the unit's first bit, without
    emulation prevention."""
    width: int
    """In macroblocks."""
    map_units: int
    frames_only: bool
    adaptive_fields: bool
    direct_8x8: bool
    crop: tuple[int, int, int, int]
    """Left, right, top, bottom, in the standard's units."""
    vui: Vui | None

    @property
    def height(self) -> int:
        """Of a frame, in macroblocks."""
        return self.map_units * (1 if self.frames_only else 2)

    @property
    def planes(self) -> int:
        """ChromaArrayType: 0 where slices tell nothing of chroma."""
        return 0 if self.separate_planes else self.chroma

    @property
    def intra_only(self) -> bool:
        """Whether the profile forbids anything but intra pictures."""
        return self.profile == 44 or (
            self.profile in _INTRA_PROFILES and bool(self.constraints & _LEVEL_1B_FLAG)
        )

    @property
    def most_frames(self) -> int:
        """Frames in the decoded picture buffer: what is said, else what the level allows."""
        if self.vui is not None and self.vui.restriction is not None:
            return self.vui.restriction.buffering
        if self.intra_only:
            return 0
        level = 9 if self.is_level_1b else self.level
        allowed = _BUFFER.get(level, _BUFFER[62]) // (self.width * self.height)
        return max(self.references, min(allowed, _MOST_FRAMES))

    @property
    def is_level_1b(self) -> bool:
        """Level 1b, which the older profiles write as 1.1 and a flag."""
        older = self.profile in (66, 77, 88) and bool(self.constraints & _LEVEL_1B_FLAG)
        return self.level == 9 or (self.level == 11 and older)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pps:
    """The part of a picture parameter set that slice headers depend on."""

    id: int
    sps_id: int
    cabac: bool
    bottom_order: bool
    """Frames also carry delta_pic_order_cnt_bottom."""
    groups: bool
    """Flexible macroblock ordering."""
    references: tuple[int, int]
    """Default size of the two lists."""
    weighted: bool
    weighted_bipred: int
    quantiser: int
    deblocking: bool
    redundant: bool


def read_sps(unit: bytes) -> Sps:
    """A sequence parameter set (NAL unit type 7). Raises `BrokenSyntax`."""
    bits = _reader(unit)
    bits.u(8)
    profile, constraints, level = bits.u(8), bits.u(8), bits.u(8)
    set_id = _at_most(bits.ue(), 31)
    chroma, separate, luma, chroma_depth, lossless, scaling = 1, False, 8, 8, False, False
    if profile in HIGH_PROFILES:
        chroma = _at_most(bits.ue(), 3)
        separate = chroma == 3 and bits.flag()
        luma, chroma_depth = 8 + _at_most(bits.ue(), 6), 8 + _at_most(bits.ue(), 6)
        lossless, scaling = bits.flag(), bits.flag()
        if scaling:
            for index in range(8 if chroma != 3 else 12):
                if bits.flag():
                    _skip_scaling(bits, 16 if index < 6 else 64)
    frame_num_bits = 4 + _at_most(bits.ue(), 12)
    poc_type = _at_most(bits.ue(), 2)
    poc_bits = 4 + _at_most(bits.ue(), 12) if poc_type == 0 else 0
    poc_deltas = False
    if poc_type == 1:
        poc_deltas = not bits.flag()
        bits.se()
        bits.se()
        for _ in range(_at_most(bits.ue(), 255)):
            bits.se()
    references = _at_most(bits.ue(), _MOST_FRAMES)
    gaps_at = bits.position
    gaps = bits.flag()
    width, map_units = 1 + _at_most(bits.ue(), _MOST_SIDE), 1 + _at_most(bits.ue(), _MOST_SIDE)
    frames_only = bits.flag()
    adaptive = not frames_only and bits.flag()
    direct = bits.flag()
    crop = (bits.ue(), bits.ue(), bits.ue(), bits.ue()) if bits.flag() else (0, 0, 0, 0)
    return Sps(
        id=set_id,
        profile=profile,
        constraints=constraints,
        level=level,
        chroma=chroma,
        separate_planes=separate,
        depth_luma=luma,
        depth_chroma=chroma_depth,
        lossless=lossless,
        scaling=scaling,
        frame_num_bits=frame_num_bits,
        poc_type=poc_type,
        poc_bits=poc_bits,
        poc_deltas=poc_deltas,
        references=references,
        gaps=gaps,
        gaps_at=gaps_at,
        width=width,
        map_units=map_units,
        frames_only=frames_only,
        adaptive_fields=adaptive,
        direct_8x8=direct,
        crop=crop,
        vui=read_vui(bits) if bits.flag() else None,
    )


def write_sps(sps: Sps) -> bytes:
    """The unit of a set without scaling lists and with a picture order type of 0 or 2."""
    if sps.scaling or sps.poc_type == 1:
        raise ValueError("such a set is not written")
    bits = BitWriter()
    for number in (0x67, sps.profile, sps.constraints, sps.level):
        bits.u(8, number)
    bits.ue(sps.id)
    if sps.profile in HIGH_PROFILES:
        bits.ue(sps.chroma)
        if sps.chroma == 3:
            bits.flag(sps.separate_planes)
        bits.ue(sps.depth_luma - 8)
        bits.ue(sps.depth_chroma - 8)
        bits.flag(sps.lossless)
        bits.flag(False)
    bits.ue(sps.frame_num_bits - 4)
    bits.ue(sps.poc_type)
    if sps.poc_type == 0:
        bits.ue(sps.poc_bits - 4)
    bits.ue(sps.references)
    bits.flag(sps.gaps)
    bits.ue(sps.width - 1)
    bits.ue(sps.map_units - 1)
    bits.flag(sps.frames_only)
    if not sps.frames_only:
        bits.flag(sps.adaptive_fields)
    bits.flag(sps.direct_8x8)
    bits.flag(any(sps.crop))
    if any(sps.crop):
        for side in sps.crop:
            bits.ue(side)
    bits.flag(sps.vui is not None)
    if sps.vui is not None:
        write_vui(bits, sps.vui)
    bits.trailing()
    return escaped(bits.to_bytes())


def with_gaps(unit: bytes) -> bytes:
    """The same sequence parameter set, but numbers of frames may be missing."""
    raw = bytearray(unescaped(unit))
    at = read_sps(unit).gaps_at
    raw[at // 8] |= 0x80 >> at % 8
    return escaped(bytes(raw))


def read_pps(unit: bytes) -> Pps:
    """A picture parameter set (NAL unit type 8), as far as `Pps` tells. Raises `BrokenSyntax`."""
    bits = _reader(unit)
    bits.u(8)
    set_id, sps_id = _at_most(bits.ue(), 255), _at_most(bits.ue(), 31)
    cabac, bottom_order = bits.flag(), bits.flag()
    if bits.ue():
        # What follows depends on the kind of groups; nothing that uses such a set is edited.
        return Pps(
            id=set_id,
            sps_id=sps_id,
            cabac=cabac,
            bottom_order=bottom_order,
            groups=True,
            references=(1, 1),
            weighted=False,
            weighted_bipred=0,
            quantiser=26,
            deblocking=False,
            redundant=False,
        )
    references = (1 + _at_most(bits.ue(), 31), 1 + _at_most(bits.ue(), 31))
    weighted, bipred = bits.flag(), bits.u(2)
    quantiser = 26 + bits.se()
    bits.se()
    bits.se()
    deblocking = bits.flag()
    bits.u(1)
    return Pps(
        id=set_id,
        sps_id=sps_id,
        cabac=cabac,
        bottom_order=bottom_order,
        groups=False,
        references=references,
        weighted=weighted,
        weighted_bipred=bipred,
        quantiser=quantiser,
        deblocking=deblocking,
        redundant=bits.flag(),
    )


def _reader(unit: bytes) -> BitReader:
    if len(unit) > _MOST_BYTES:
        raise BrokenSyntax("a parameter set is too long")
    return BitReader(unescaped(unit))


def _at_most(number: int, most: int) -> int:
    if number > most:
        raise BrokenSyntax("a parameter set is corrupt")
    return number


def _skip_scaling(bits: BitReader, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.se()) % 256
        last = following or last
