"""Putting an encoder's HEVC pictures into another stream: ids, and what the sets say of it."""

from __future__ import annotations

from dataclasses import dataclass

from reelsplit_server.media.nal.bits import BitReader, BitWriter, BrokenSyntax
from reelsplit_server.media.nal.bitstream import CannotJoin
from reelsplit_server.media.nal.hevc_sets import (
    Ordering,
    Sps,
    read_ordering,
    read_sps,
    skip_profile,
)
from reelsplit_server.media.nal.hevc_units import is_random_access, kind, reader
from reelsplit_server.media.nal.units import escaped, unescaped

#: PPS ids whose code is 9 bits long. An encoder's 0 takes one bit: each slice header grows by a
#: whole byte, and the data behind it, aligned to bytes, can stay as it is.
LONG_IDS = range(15, 31)

_MAIN, _MAIN_10, _EXTENDED, _SCREEN = 1, 2, 4, 9
#: The profiles, by general_profile_idc, whose pictures are legal in a stream of the key's.
_WITHIN = {
    _MAIN: (_MAIN,),
    _MAIN_10: (_MAIN, _MAIN_10),
    _EXTENDED: (_MAIN, _MAIN_10, _EXTENDED),
    _SCREEN: (_MAIN, _MAIN_10, _EXTENDED),
}
#: sps_max_dec_pic_buffering_minus1 that a decoder of any level has room for.
_ALWAYS_BUFFERED = 5


@dataclass(frozen=True, slots=True)
class Ids:
    """What the encoder's sets are to be called."""

    vps: int
    sps: int
    pps: int


def joint_ordering(encoder: Sps, source: Sps) -> Ordering:
    """What the encoder's sets are to say of buffering: the source's values where they hold for
    the encoder's pictures too. Raises `CannotJoin` where the sets do not match."""
    if encoder.picture != source.picture:
        raise CannotJoin("the encoder's pictures differ from the source's in size or format")
    if encoder.profile[0] & 0x1F not in _WITHIN.get(source.profile[0] & 0x1F, ()):
        raise CannotJoin("the encoder's profile is not within the source's")
    if encoder.sub_layers > 1:
        raise CannotJoin("the encoder made temporal layers")
    if source.vui_bits is None or encoder.vui_bits is None:
        raise CannotJoin("its parameter sets are only half understood")
    if source.intra_only:
        raise CannotJoin("its profile allows for nothing but key frames")
    ours, theirs = encoder.ordering, source.ordering
    if ours.reordered > theirs.reordered or ours.buffered > max(theirs.buffered, _ALWAYS_BUFFERED):
        raise CannotJoin("the encoder's pictures would have to be held longer than the source's")
    latency = 0
    if theirs.latency and ours.latency:
        latency = max(
            ours.reordered + ours.latency - theirs.reordered,
            theirs.latency,
        )
    return Ordering(
        buffered=max(ours.buffered, theirs.buffered),
        reordered=theirs.reordered,
        latency=latency,
    )


def joined_vps(unit: bytes, ids: Ids, source: Sps, ordering: Ordering) -> bytes:
    """The encoder's VPS under its new id, with the source's profile and `ordering`."""
    bits, out = reader(unit), _begun(unit)
    bits.u(4)
    out.u(4, ids.vps)
    out.bits(bits, 8)
    out.bits(bits, 20)
    _profile(bits, out, source)
    read_ordering(bits, 1)
    _order(out, ordering)
    return _ended(unit, bits, out)


def joined_sps(
    unit: bytes, ids: Ids, source_unit: bytes, ordering: Ordering, *, scan: bool
) -> bytes:
    """The encoder's SPS under its new id, with the source's profile and VUI, and `ordering`.
    `scan`: its pictures say how their fields are to be shown."""
    encoder, source = read_sps(unit), read_sps(source_unit)
    assert encoder.vui_bits is not None
    bits, out = reader(unit), _begun(unit)
    bits.u(4)
    out.u(4, ids.vps)
    out.bits(bits, 4)
    _profile(bits, out, source)
    bits.ue()
    out.ue(ids.sps)
    out.bits(bits, encoder.ordering_bits[0] - bits.position)
    _order(out, ordering)
    bits.position = encoder.ordering_bits[1]
    out.bits(bits, encoder.vui_bits[0] - bits.position)
    _vui(out, source_unit, source, scan)
    bits.position = encoder.vui_bits[1]
    return _ended(unit, bits, out)


def joined_pps(unit: bytes, ids: Ids) -> bytes:
    """The encoder's PPS under its new id."""
    bits, out = reader(unit), _begun(unit)
    bits.ue()
    bits.ue()
    out.ue(ids.pps)
    out.ue(ids.sps)
    return _ended(unit, bits, out)


def joined_slice(unit: bytes, pps_id: int) -> bytes:
    """A slice segment that names PPS 0, naming one of `LONG_IDS` instead."""
    raw = unescaped(unit)
    flags = 2 if is_random_access(kind(unit)) else 1
    if len(raw) < 4 or not raw[2] >> 7 - flags & 1:
        raise BrokenSyntax("the encoder's slice is not as expected")
    begin = raw[2] >> 8 - flags
    if flags == 2:
        begin &= 2  # no_output_of_prior_pics_flag: the pictures before are to be shown
    rest = 7 - flags
    grown = (begin << 9 | pps_id + 1) << rest | raw[2] & (1 << rest) - 1
    return escaped(raw[:2] + grown.to_bytes(2, "big") + raw[3:])


def _begun(unit: bytes) -> BitWriter:
    out = BitWriter()
    out.u(16, int.from_bytes(unit[:2], "big"))
    return out


def _profile(bits: BitReader, out: BitWriter, source: Sps) -> None:
    skip_profile(bits, 1)
    out.u(len(source.profile) * 8, int.from_bytes(source.profile, "big"))


def _order(out: BitWriter, ordering: Ordering) -> None:
    out.flag(True)
    out.ue(ordering.buffered)
    out.ue(ordering.reordered)
    out.ue(ordering.latency)


def _vui(out: BitWriter, source_unit: bytes, source: Sps, scan: bool) -> None:
    """The source's VUI, but for what the encoder's pictures would have to keep to: buffers'
    rates, restrictions."""
    vui = source.vui
    if vui is None:
        out.flag(False)
        return
    assert source.vui_bits is not None
    bits = reader(source_unit)
    bits.position = source.vui_bits[0]
    out.bits(bits, vui.fields_bit - bits.position)
    bits.u(2)
    out.flag(False)
    out.flag(scan)
    out.bits(bits, vui.times_end - bits.position)
    if vui.has_times:
        out.flag(False)
    out.flag(False)


def _ended(unit: bytes, bits: BitReader, out: BitWriter) -> bytes:
    """What is left of `unit` behind what is written."""
    raw = unescaped(unit).rstrip(b"\x00")
    stop = len(raw) * 8 - (raw[-1] & -raw[-1]).bit_length()
    out.bits(bits, max(0, stop - bits.position))
    out.trailing()
    return escaped(out.to_bytes())
