"""The head of an HEVC slice, as far as cutting needs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from reelsplit_server.media.nal.bits import BitReader, BrokenSyntax
from reelsplit_server.media.nal.hevc_references import limited, read_references
from reelsplit_server.media.nal.hevc_sets import Pps, Sps
from reelsplit_server.media.nal.hevc_units import (
    IDR_N_LP,
    IDR_W_RADL,
    is_random_access,
    kind,
    reader,
)

#: Bytes in which the head of nearly every slice ends; and those in which every legal one does.
_USUAL, _LONGEST = 96, 2048
_SLICE_TYPES = "BPI"


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceHead:
    """What a slice says of itself."""

    first: bool
    """Whether the picture begins with it."""
    pps_id: int
    slice_type: str
    """``I``, ``P`` or ``B``; empty for a dependent slice segment."""
    quantiser: int | None
    """The luma quantiser; None where it is not asked for or cannot be read."""


def read_slice(
    unit: bytes, sets: Callable[[int], tuple[Pps, Sps]], *, quantiser: bool
) -> SliceHead:
    """Read the head of a slice segment of layer 0.

    `sets` answers the parameter sets for a PPS id, or raises. Raises `BrokenSyntax` where the
    slice ends in its head or breaks a limit.
    """
    try:
        return _read(unit[:_USUAL], sets, quantiser=quantiser)
    except BrokenSyntax:
        if len(unit) <= _USUAL and not quantiser:
            raise
    try:
        return _read(unit[:_LONGEST], sets, quantiser=quantiser)
    except BrokenSyntax:
        return _read(unit[:_LONGEST], sets, quantiser=False)


def _read(unit: bytes, sets: Callable[[int], tuple[Pps, Sps]], *, quantiser: bool) -> SliceHead:
    bits = reader(unit)
    nal_type = kind(unit)
    first = bits.flag()
    if is_random_access(nal_type):
        bits.flag()
    pps, sps = sets(limited(bits.ue(), 63))
    if not first:
        dependent = pps.dependent_slices and bits.flag()
        across, down = (-(-side // sps.largest_block) for side in (sps.width, sps.height))
        bits.u((across * down - 1).bit_length())
        if dependent:
            return SliceHead(first=False, pps_id=pps.id, slice_type="", quantiser=None)
    bits.u(pps.extra_bits)
    slice_type = _SLICE_TYPES[limited(bits.ue(), 2)]
    found = None
    if quantiser and pps.plain and sps.plain:
        found = pps.quantiser + _up_to_quantiser(bits, nal_type, slice_type, pps, sps)
        if not -6 * (sps.luma_depth - 8) <= found <= 51:
            raise BrokenSyntax(f"a slice has the quantiser {found}")
    return SliceHead(first=first, pps_id=pps.id, slice_type=slice_type, quantiser=found)


def _up_to_quantiser(bits: BitReader, nal_type: int, slice_type: str, pps: Pps, sps: Sps) -> int:
    """Read on to slice_qp_delta, and answer it."""
    if pps.output_flag:
        bits.flag()
    if sps.separate_planes:
        bits.u(2)
    has_chroma = sps.chroma != 0 and not sps.separate_planes
    leaned_on, temporal_mvp = 0, False
    if nal_type not in (IDR_W_RADL, IDR_N_LP):
        leaned_on = _references(bits, sps)
        temporal_mvp = sps.temporal_mvp and bits.flag()
    if sps.sao:
        bits.u(2 if has_chroma else 1)
    if slice_type != "I":
        _prediction(bits, slice_type, pps, leaned_on, temporal_mvp, has_chroma)
    return bits.se()


def _references(bits: BitReader, sps: Sps) -> int:
    """Which pictures are kept; answers how many of them the picture itself leans on."""
    bits.u(sps.order_bits)
    count = len(sps.references)
    if not bits.flag():
        used = read_references(bits, sps.references, in_slice=True).used
    else:
        index = bits.u((count - 1).bit_length()) if count > 1 else 0
        if index >= count:
            raise BrokenSyntax("a slice names reference pictures that its parameter set lacks")
        used = sps.references[index].used
    if sps.long_term:
        used += _long_term(bits, sps)
    return used


def _long_term(bits: BitReader, sps: Sps) -> int:
    known = len(sps.long_term_used)
    from_set = limited(bits.ue(), 32) if known else 0
    count = from_set + limited(bits.ue(), 32)
    used = 0
    for index in range(count):
        if index < from_set:
            which = bits.u((known - 1).bit_length()) if known > 1 else 0
            if which >= known:
                raise BrokenSyntax("a slice names a long-term picture that its set lacks")
            used += sps.long_term_used[which]
        else:
            bits.u(sps.order_bits)
            used += bits.flag()
        if bits.flag():
            bits.ue()
    return used


def _prediction(
    bits: BitReader,
    slice_type: str,
    pps: Pps,
    leaned_on: int,
    temporal_mvp: bool,
    has_chroma: bool,
) -> None:
    """What P and B slices say of their reference pictures."""
    lists = 2 if slice_type == "B" else 1
    active = list(pps.active[:lists])
    if bits.flag():
        active = [limited(bits.ue(), 14) + 1 for _ in range(lists)]
    if pps.list_changes and leaned_on > 1:
        for count in active:
            if bits.flag():
                bits.u(count * (leaned_on - 1).bit_length())
    if slice_type == "B":
        bits.flag()
    if pps.cabac_init:
        bits.flag()
    if temporal_mvp:
        from_second = slice_type == "B" and not bits.flag()
        if active[int(from_second)] > 1:
            bits.ue()
    if pps.weighted if slice_type == "P" else pps.weighted_both:
        bits.ue()
        if has_chroma:
            bits.se()
        for count in active:
            _weights(bits, count, has_chroma)
    bits.ue()


def _weights(bits: BitReader, count: int, has_chroma: bool) -> None:
    luma = bits.u(count)
    chroma = bits.u(count) if has_chroma else 0
    for _ in range(2 * luma.bit_count()):
        bits.se()
    # Interleaved with the luma ones, but all are the same kind of code.
    for _ in range(4 * chroma.bit_count()):
        bits.se()
