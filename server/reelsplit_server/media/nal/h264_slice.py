"""Headers of H.264 slices: read to their end, and written anew in front of the same data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reelsplit_server.media.nal.bits import BitReader, BitWriter, BrokenSyntax
from reelsplit_server.media.nal.bitstream import CannotJoin
from reelsplit_server.media.nal.h264_sets import Pps, Sps
from reelsplit_server.media.nal.units import escaped, unescaped

IDR = 5
_KINDS = ("P", "B", "I", "SP", "SI")
#: Nearly all headers end within the first; none is longer than the second.
_PREFIXES = (64, 4096)
_MOST_REFERENCES = 32
#: Commands in one list, of either kind: more than two fields of all references need.
_MOST_COMMANDS = 66


@dataclass(frozen=True, slots=True)
class Command:
    """A memory management control operation."""

    operation: int
    argument: int
    """The first one; 0 where there is none."""
    start: int
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceHeader:
    """A slice header. Places are bits from the unit's first, without emulation prevention."""

    nal_type: int
    is_reference: bool
    pps_id: int
    kind: str
    """``I``, ``P``, ``B``, ``SP`` or ``SI``."""
    cabac: bool
    is_field: bool
    bottom_first: bool | None
    """Whether the bottom field is the earlier one, or the field that this is; None where both
    are shown at once, or nothing is told."""
    frame_num: int
    frame_num_at: int
    idr_pic_id: int
    """0 unless the picture is IDR."""
    idr_at: tuple[int, int]
    """Where idr_pic_id begins (or would) and ends."""
    poc: int
    poc_at: int
    bottom_delta: int
    """How much later a frame's bottom field is shown, if the order of both is told."""
    marking_at: tuple[int, int]
    """Where the marking of references begins and ends; empty in other pictures."""
    commands: tuple[Command, ...]
    drops_output: bool
    """An IDR picture: what was not shown before it never will be."""
    long_term: bool
    """Whether it makes or uses long-term references."""
    quantiser: int
    end: int
    """Where the header ends."""


def read_slice(unit: bytes, sets: Mapping[int, Pps], sequences: Mapping[int, Sps]) -> SliceHeader:
    """The header of a slice (NAL unit type 1 or 5), given the sets it may name.

    Raises `BrokenSyntax`; `CannotJoin` where slices are ordered freely.
    """
    try:
        return _read(BitReader(unescaped(unit[: _PREFIXES[0]])), sets, sequences)
    except BrokenSyntax:
        if len(unit) <= _PREFIXES[0]:
            raise
    return _read(BitReader(unescaped(unit[: _PREFIXES[1]])), sets, sequences)


def slice_set(unit: bytes) -> int:
    """The id of the picture parameter set that a slice names. Raises `BrokenSyntax`."""
    bits = BitReader(unescaped(unit[:16]))
    bits.u(8)
    bits.ue()
    bits.ue()
    return bits.ue()


def _read(bits: BitReader, sets: Mapping[int, Pps], sequences: Mapping[int, Sps]) -> SliceHeader:
    first = bits.u(8)
    nal_type, ref_idc = first & 31, first >> 5 & 3
    bits.ue()
    kind = bits.ue()
    pps_id = bits.ue()
    pps = sets.get(pps_id)
    sps = None if pps is None else sequences.get(pps.sps_id)
    if kind > 9 or pps is None or sps is None:
        raise BrokenSyntax("a slice names a parameter set that is not there")
    if pps.groups:
        raise CannotJoin("the source orders its macroblocks freely")
    name = _KINDS[kind % 5]
    if sps.separate_planes:
        bits.u(2)
    frame_num_at = bits.position
    frame_num = bits.u(sps.frame_num_bits)
    is_field = not sps.frames_only and bits.flag()
    bottom_first = bits.flag() if is_field else None
    idr_at = bits.position
    idr_pic_id = bits.ue() if nal_type == IDR else 0
    idr_stop = poc_at = bits.position
    poc = bottom_delta = 0
    if sps.poc_type == 0:
        poc = bits.u(sps.poc_bits)
    if sps.poc_type == 0 or sps.poc_deltas:
        if sps.poc_type == 1:
            bits.se()
        if pps.bottom_order and not is_field:
            bottom_delta = bits.se()
            bottom_first = bottom_delta < 0 if bottom_delta else None
    if pps.redundant:
        bits.ue()
    counts = _read_counts(bits, name, pps)
    long_term = False
    for _ in counts:
        long_term |= _read_modifications(bits)
    if (pps.weighted and name in ("P", "SP")) or (pps.weighted_bipred == 1 and name == "B"):
        _skip_weights(bits, counts, sps.planes != 0)
    marking_at = bits.position
    commands: tuple[Command, ...] = ()
    drops_output = False
    if ref_idc:
        if nal_type == IDR:
            drops_output = bits.flag()
            long_term |= bits.flag()
        elif bits.flag():
            commands = tuple(_read_commands(bits))
    marking_stop = bits.position
    if pps.cabac and counts:
        bits.ue()
    quantiser = pps.quantiser + bits.se()
    if name in ("SP", "SI"):
        if name == "SP":
            bits.u(1)
        bits.se()
    if pps.deblocking and bits.ue() != 1:
        bits.se()
        bits.se()
    return SliceHeader(
        nal_type=nal_type,
        is_reference=ref_idc > 0,
        pps_id=pps_id,
        kind=name,
        cabac=pps.cabac,
        is_field=is_field,
        bottom_first=bottom_first,
        frame_num=frame_num,
        frame_num_at=frame_num_at,
        idr_pic_id=idr_pic_id,
        idr_at=(idr_at, idr_stop),
        poc=poc,
        poc_at=poc_at,
        bottom_delta=bottom_delta,
        marking_at=(marking_at, marking_stop),
        commands=commands,
        drops_output=drops_output,
        long_term=long_term or any(c.operation in (2, 3, 6) for c in commands),
        quantiser=quantiser,
        end=bits.position,
    )


def _read_counts(bits: BitReader, name: str, pps: Pps) -> tuple[int, ...]:
    """The sizes of the reference lists that the slice has: none, one or two."""
    if name == "B":
        bits.u(1)
    lists = {"P": 1, "SP": 1, "B": 2}.get(name, 0)
    counts = pps.references[:lists]
    if lists and bits.flag():
        counts = tuple(1 + bits.ue() for _ in range(lists))
    if max(counts, default=0) > _MOST_REFERENCES:
        raise BrokenSyntax("a slice has too many references")
    return counts


def _read_modifications(bits: BitReader) -> bool:
    """Read over one list's changes; whether one of them names a long-term reference."""
    long_term = False
    if bits.flag():
        for _ in range(_MOST_COMMANDS):
            operation = bits.ue()
            if operation == 3:
                return long_term
            if operation > 3:
                break
            long_term |= operation == 2
            bits.ue()
        raise BrokenSyntax("a slice changes its references without end")
    return long_term


def _skip_weights(bits: BitReader, counts: Iterable[int], chroma: bool) -> None:
    bits.ue()
    if chroma:
        bits.ue()
    for count in counts:
        for _ in range(count):
            if bits.flag():
                bits.se()
                bits.se()
            if chroma and bits.flag():
                for _ in range(4):
                    bits.se()


def _read_commands(bits: BitReader) -> Iterable[Command]:
    for _ in range(_MOST_COMMANDS):
        start = bits.position
        operation = bits.ue()
        if operation == 0:
            return
        if operation > 6:
            break
        argument = bits.ue() if operation != 5 else 0
        if operation == 3:
            bits.ue()
        yield Command(operation, argument, start, bits.position)
    raise BrokenSyntax("a slice marks its references without end")


@dataclass(frozen=True, slots=True)
class Edit:
    """Bits of a header, from `start` to before `stop`, that others take the place of."""

    start: int
    stop: int
    bits: BitWriter


def edited(unit: bytes, header: SliceHeader, first: int, edits: Iterable[Edit]) -> bytes:
    """The slice with `first` as its first byte and its header edited; the data stay the same.

    `edits` come in order and do not overlap. Raises `BrokenSyntax` where the data do not begin
    as they must.
    """
    raw = unescaped(unit)
    head = BitReader(raw[: (header.end + 7) // 8])
    head.u(8)
    new = BitWriter()
    new.u(8, first)
    for edit in edits:
        new.bits(head, edit.start - head.position)
        new.append(edit.bits)
        head.u(edit.stop - edit.start)
    new.bits(head, header.end - head.position)
    if header.cabac:
        # The data begin at a whole byte, after ones.
        left = -header.end % 8
        if head.u(left) != (1 << left) - 1:
            raise BrokenSyntax("a slice header does not end where it should")
        left = -new.size % 8
        new.u(left, (1 << left) - 1)
        return escaped(new.to_bytes() + raw[(header.end + 7) // 8 :])
    data = BitReader(raw[header.end // 8 :].rstrip(b"\x00"))
    data.u(header.end % 8)
    new.bits(data, data.size - data.position)
    new.u(-new.size % 8, 0)
    return escaped(new.to_bytes().rstrip(b"\x00"))
