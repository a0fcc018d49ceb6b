"""H.264 slices made by hand: what x264 never writes, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import cast

import av
import pytest
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext

from reelsplit_server.media.nal.bits import BitWriter, BrokenSyntax
from reelsplit_server.media.nal.bitstream import AccessUnit, CannotJoin, Picture
from reelsplit_server.media.nal.h264 import H264Bitstream
from reelsplit_server.media.nal.h264_move import IDR_PIC_ID
from reelsplit_server.media.nal.h264_sei import messages, recovers, without
from reelsplit_server.media.nal.h264_sets import read_pps, read_sps
from reelsplit_server.media.nal.h264_slice import SliceHeader, read_slice
from reelsplit_server.media.nal.units import (
    BrokenUnits,
    escaped,
    unescaped,
    with_lengths,
    with_start_codes,
)

RECOVERY = escaped(bytes((6, 6, 1, 0xC0, 0x80)))
DATA = "1011" * 9


def sequence(
    *, number: int = 0, poc_type: int = 0, frames_only: bool = True, references: int = 4
) -> bytes:
    bits = BitWriter()
    for value in (0x67, 77, 0, 30):
        bits.u(8, value)
    bits.ue(number)
    bits.ue(0)  # frame numbers of 4 bits
    bits.ue(poc_type)
    if poc_type == 0:
        bits.ue(2)  # 6 bits
    elif poc_type == 1:
        bits.u(1, 1)
        for _ in range(3):
            bits.ue(0)
    bits.ue(references)
    bits.u(1, 0)
    bits.ue(9)
    bits.ue(7)
    bits.flag(frames_only)
    bits.u(1 if frames_only else 2, 1)
    bits.u(2, 0)
    bits.trailing()
    return escaped(bits.to_bytes())


def picture(
    *, number: int = 0, of: int = 0, cabac: bool = False, order: bool = False, groups: int = 0
) -> bytes:
    bits = BitWriter()
    bits.u(8, 0x68)
    bits.ue(number)
    bits.ue(of)
    bits.flag(cabac)
    bits.flag(order)
    bits.ue(groups)
    for _ in range(2):
        bits.ue(0)
    bits.u(3, 0)
    for value in (-4, 0, 0):
        bits.se(value)
    bits.u(3, 0)
    bits.trailing()
    return escaped(bits.to_bytes())


def coded(
    kind: str,
    frame_num: int,
    poc: int,
    *,
    idr: int | None = None,
    marking: Sequence[tuple[int, ...]] = (),
    field: bool | None = None,
    bottom: int | None = None,
    cabac: bool = False,
    reference: bool = True,
    changes: Sequence[tuple[int, int]] = (),
    pps: int = 0,
    poc_type: int = 0,
    drops_output: bool = False,
) -> bytes:
    """A slice of a whole picture; `field` is None where the set has frames only."""
    bits = BitWriter()
    bits.u(8, (0x60 if reference else 0) | (1 if idr is None else 5))
    bits.ue(0)
    bits.ue({"P": 5, "B": 6, "I": 7, "SP": 3}[kind])
    bits.ue(pps)
    bits.u(4, frame_num % 16)
    if field is not None:
        bits.flag(field)
        if field:
            bits.u(1, 0)
    if idr is not None:
        bits.ue(idr)
    if poc_type == 0:
        bits.u(6, poc % 64)
        if bottom is not None:
            bits.se(bottom)
    if kind == "B":
        bits.u(1, 1)
    if kind in ("P", "B", "SP"):
        bits.u(1, 0)
        bits.flag(bool(changes))
        for change in changes:
            for number in change:
                bits.ue(number)
        if changes:
            bits.ue(3)
        if kind == "B":
            bits.u(1, 0)
    if reference:
        if idr is not None:
            bits.flag(drops_output)
            bits.u(1, 0)
        else:
            bits.flag(bool(marking))
            for command in marking:
                for number in command:
                    bits.ue(number)
            if marking:
                bits.ue(0)
    if cabac and kind != "I":
        bits.ue(0)
    bits.se(3)
    if kind == "SP":
        bits.u(1, 0)
        bits.se(0)
    if cabac:
        bits.u(-bits.size % 8, (1 << -bits.size % 8) - 1)
    bits.u(len(DATA), int(DATA, 2))
    bits.trailing()
    return escaped(bits.to_bytes())


class Stream:
    """A `H264Bitstream` with sets made by hand, entered at a recovery point."""

    def __init__(self, sps: bytes, pps: bytes) -> None:
        self.sps, self.pps = read_sps(sps), read_pps(pps)
        self.bitstream = H264Bitstream(with_start_codes([sps, pps]))

    def read(self, *units: bytes) -> AccessUnit:
        return self.bitstream.read(with_start_codes(units))

    def enter(self, entry: bytes, *, drops: bool = False) -> SliceHeader:
        access = self.read(RECOVERY, entry)
        assert access.picture is Picture.RECOVERY
        self.bitstream.enter(access, drops_references=drops)
        return self.header(access)

    def header(self, access: AccessUnit) -> SliceHeader:
        (unit,) = (u for u in self.bitstream.copied(access) if u[0] & 31 in (1, 5))
        header = read_slice(unit, {self.pps.id: self.pps}, {self.sps.id: self.sps})
        raw = unescaped(unit)
        bits = f"{int.from_bytes(raw, 'big'):0{len(raw) * 8}b}"
        start = header.end + (-header.end % 8 if header.cabac else 0)
        assert set(bits[header.end : start]) <= {"1"}
        assert bits[start:].startswith(DATA + "1")
        return header

    def copy(self, unit: bytes) -> SliceHeader:
        return self.header(self.read(unit))


@pytest.mark.parametrize("cabac", [False, True])
def test_an_open_entry_becomes_idr_and_the_rest_counts_from_it(cabac: bool) -> None:
    stream = Stream(sequence(), picture(cabac=cabac))
    entry = stream.enter(coded("I", 13, 40, marking=[(1, 0)], cabac=cabac))
    assert (entry.nal_type, entry.idr_pic_id, entry.frame_num, entry.poc) == (5, IDR_PIC_ID, 0, 0)
    assert entry.quantiser == 25
    for step in range(1, 40):
        header = stream.copy(coded("P", 13 + step, 40 + 2 * step, cabac=cabac))
        assert (header.nal_type, header.frame_num, header.poc) == (1, step % 16, 2 * step % 64)
    later = stream.copy(coded("B", 13 + 40, 40 + 79, reference=False, cabac=cabac))
    assert (later.frame_num, later.poc) == (40 % 16, 79 % 64)
    untouched = coded("I", 0, 0, idr=1, cabac=cabac)
    assert stream.bitstream.copied(stream.read(untouched)) == [untouched]
    untouched = coded("P", 1, 2, cabac=cabac)
    assert stream.bitstream.copied(stream.read(untouched)) == [untouched]


def test_pictures_from_before_the_entry_are_not_forgotten_again() -> None:
    stream = Stream(sequence(), picture())
    stream.enter(coded("I", 15, 0))
    header = stream.copy(coded("P", 16, 2, marking=[(1, 1), (1, 0), (1, 9)]))
    assert [c.argument for c in header.commands] == [0]
    header = stream.copy(coded("P", 17, 4, marking=[(1, 2)]))
    assert header.commands == ()
    for step in range(3, 20):
        stream.copy(coded("P", 15 + step, 2 * step))
    header = stream.copy(coded("P", 35, 40, marking=[(1, 14), (4, 1)]))
    assert [c.operation for c in header.commands] == [1, 4]


@pytest.mark.parametrize("cabac", [False, True])
def test_an_idr_entry_lets_what_is_before_it_be_shown(cabac: bool) -> None:
    stream = Stream(sequence(), picture(cabac=cabac))
    key = coded("I", 0, 0, idr=2, drops_output=True, cabac=cabac)
    access = stream.read(key)
    stream.bitstream.enter(access, drops_references=False)
    assert stream.bitstream.copied(access) == [coded("I", 0, 0, idr=2, cabac=cabac)]
    assert stream.bitstream.copied(access) == [key]


def test_all_forgotten_is_as_good_as_idr() -> None:
    stream = Stream(sequence(), picture())
    stream.enter(coded("I", 5, 20))
    assert stream.copy(coded("P", 6, 22, marking=[(5,)])).frame_num == 1
    assert stream.copy(coded("P", 1, 2)).frame_num == 1
    again = Stream(sequence(), picture())
    again.enter(coded("I", 5, 20, marking=[(5,)]))
    assert again.copy(coded("P", 1, 2)).poc == 2


@pytest.mark.parametrize(("bottom", "poc", "later"), [(1, 0, 4), (-1, 1, 5)])
def test_the_earlier_field_of_the_entry_is_first(bottom: int, poc: int, later: int) -> None:
    stream = Stream(sequence(frames_only=False), picture(order=True))
    entry = stream.enter(coded("I", 5, 20, field=False, bottom=bottom))
    assert (entry.poc, entry.bottom_delta) == (poc, bottom)
    header = stream.copy(coded("P", 6, 24, field=False, bottom=bottom))
    assert (header.poc, header.bottom_delta) == (later, bottom)


@pytest.mark.parametrize(
    ("slices", "expected"),
    [
        ({"field": False, "bottom": 1}, "fake-interlaced"),
        ({"field": True, "top": True}, "tff"),
        ({"field": True, "top": False}, "bff"),
    ],
)
def test_the_encoder_has_the_sources_fields(slices: dict[str, bool], expected: str) -> None:
    top = slices.pop("top", True)
    stream = Stream(sequence(frames_only=False), picture(order=True))
    key = coded("I", 0, 0, idr=0, **slices)  # type: ignore[arg-type]
    if not top:
        key = _bottom(key)
    access = stream.read(key)
    stream.bitstream.enter(access, drops_references=False)
    assert f"{expected}=1" in stream.bitstream.encoding(20)["x264-params"].split(":")


def _bottom(unit: bytes) -> bytes:
    """The same slice of a field, but the bottom one: a bit after type, ids and frame number."""
    raw = bytearray(unescaped(unit))
    at = 8 + 1 + 7 + 1 + 4 + 1
    raw[at // 8] |= 0x80 >> at % 8
    return escaped(bytes(raw))


def test_pictures_in_the_order_of_decoding_have_no_order_of_their_own() -> None:
    stream = Stream(sequence(poc_type=2), picture())
    assert stream.enter(coded("I", 5, 0, poc_type=2)).frame_num == 0
    assert stream.copy(coded("P", 6, 0, poc_type=2)).frame_num == 1


@pytest.mark.parametrize(
    ("sps", "pps", "entry", "after", "why"),
    [
        ({"poc_type": 1}, {}, {"poc_type": 1}, None, "pattern"),
        ({}, {}, {"reference": False}, None, "lean"),
        ({"frames_only": False}, {}, {"field": True}, None, "fields"),
        ({"frames_only": False}, {}, {"field": False}, {"field": True}, "fields"),
        ({}, {}, {"marking": [(6, 0)]}, None, "long-term"),
        ({}, {}, {}, {"marking": [(3, 0, 0)]}, "long-term"),
        ({}, {}, {}, {"marking": [(2, 0)]}, "long-term"),
        ({}, {}, {}, {"changes": [(0, 1), (2, 0)]}, "long-term"),
        ({}, {}, {}, {"kind": "SP"}, "switching"),
    ],
)
def test_what_cannot_be_moved_is_refused(
    sps: dict[str, object],
    pps: dict[str, object],
    entry: dict[str, object],
    after: dict[str, object] | None,
    why: str,
) -> None:
    made: Callable[..., bytes] = coded
    stream = Stream(sequence(**sps), picture(**pps))  # type: ignore[arg-type]
    if after is None:
        with pytest.raises(CannotJoin, match=why):
            stream.enter(made("I", 3, 4, **entry))
    else:
        stream.enter(made("I", 3, 4, **entry))
        kind = after.pop("kind", "P")
        with pytest.raises(CannotJoin, match=why):
            stream.copy(made(kind, 4, 6, **after))


def test_what_no_decoder_takes_is_refused() -> None:
    with pytest.raises(CannotJoin, match="freely"):
        Stream(sequence(), picture(groups=1)).read(coded("I", 0, 0, idr=0))
    stream = Stream(sequence(), picture())
    with pytest.raises(CannotJoin, match="partitions"):
        stream.read(b"\x02\x88")
    with pytest.raises(BrokenUnits):
        stream.read(RECOVERY)
    with pytest.raises(BrokenSyntax):
        stream.read(coded("I", 0, 0, idr=0, pps=1))
    with pytest.raises(BrokenSyntax, match="marks"):
        stream.read(coded("P", 0, 0, marking=[(1, 0)] * 70))
    with pytest.raises(BrokenSyntax, match="changes"):
        stream.read(coded("P", 0, 0, changes=[(0, 0)] * 70))
    with pytest.raises(CannotJoin, match="entered"):
        stream.bitstream.enter(stream.read(coded("P", 1, 2)), drops_references=False)


def test_pictures_are_told_apart() -> None:
    stream = Stream(sequence(), picture())
    intra = coded("I", 1, 2)
    assert stream.read(coded("I", 0, 0, idr=0)).picture is Picture.IDR
    assert stream.read(intra).picture is Picture.OTHER
    assert stream.read(RECOVERY, intra).picture is Picture.RECOVERY
    assert stream.read(RECOVERY, intra, coded("P", 1, 2)).picture is Picture.OTHER
    # A recovery point two frames ahead, after another message.
    later = escaped(bytes((6, 5, 2, 9, 9, 6, 1, 0x60, 0x80)))
    assert stream.read(later, intra).picture is Picture.OTHER
    access = stream.read(b"\x09\xf0", coded("B", 2, 3, reference=False))
    assert (access.slice_type, access.is_reference, access.quantiser) == ("B", False, 25)
    assert len(access.units) == 2


def test_messages_survive_but_the_recovery_point() -> None:
    both = escaped(bytes((6, 255, 9, 3, 0, 0, 1, 6, 1, 0xC0, 1, 0, 0x80)))
    assert list(messages(both)) == [(264, b"\x00\x00\x01"), (6, b"\xc0"), (1, b"")]
    assert recovers(both)
    rest = without(both, (6,))
    assert rest is not None
    assert list(messages(rest)) == [(264, b"\x00\x00\x01"), (1, b"")]
    assert without(both, (7,)) is both
    assert without(RECOVERY, (6,)) is None
    for end in range(len(both)):
        assert len(list(messages(both[:end]))) <= 2
    stream = Stream(sequence(), picture())
    access = stream.read(both, coded("I", 3, 4))
    stream.bitstream.enter(access, drops_references=True)
    assert stream.bitstream.copied(access)[0] == rest
    assert read_sps(stream.bitstream.sets(of_encoder=False)[0]).gaps


def test_sets_and_other_layers_are_left_out() -> None:
    stream = Stream(sequence(), picture())
    slice_ = coded("I", 0, 0, idr=0)
    info = bytes((6, 5, 1, 1, 0x80))
    others = [bytes((kind, 1, 0x80)) for kind in (9, 13, 15, 10, 11, 12, 14, 20)]
    access = stream.read(*others[:1], sequence(), picture(), info, *others[1:3], slice_, *others)
    stream.bitstream.enter(access, drops_references=False)
    assert stream.bitstream.copied(access) == [info, slice_]


def test_sets_that_change_before_the_entry_are_replaced() -> None:
    stream = Stream(sequence(), picture())
    stream.read(coded("I", 0, 0, idr=0))
    changed = sequence(references=2)
    access = stream.read(changed, coded("I", 0, 0, idr=1))
    stream.bitstream.enter(access, drops_references=False)
    assert stream.bitstream.sets(of_encoder=False)[0] == changed


def test_sets_that_change_later_are_refused_when_they_are_used() -> None:
    key, plain = coded("I", 0, 0, idr=0), coded("P", 1, 2)
    same, other = sequence() + bytes(3), sequence(references=2)

    def entered() -> Stream:
        stream = Stream(sequence(), picture())
        access = stream.read(key)
        stream.read(same, plain)
        stream.bitstream.enter(access, drops_references=False)
        return stream

    stream = entered()
    stream.read(same, picture(), plain)
    with pytest.raises(CannotJoin, match="change"):
        stream.read(other, key)
    stream = entered()
    with pytest.raises(CannotJoin, match="change"):
        stream.read(picture(order=True), plain)
    # Further ones may come until the record is written.
    stream = entered()
    more = picture(number=1)
    stream.read(more, coded("P", 1, 2, pps=1))
    assert more in stream.bitstream.sets(of_encoder=False)
    stream.bitstream.extradata(annex_b=True)
    stream.read(picture(number=2), coded("P", 1, 2, pps=1))
    with pytest.raises(CannotJoin, match="change"):
        stream.read(coded("P", 1, 2, pps=2))
    # The entry was read, and what follows it already has others.
    stream = Stream(sequence(), picture())
    access = stream.read(key)
    stream.read(picture(order=True), coded("P", 1, 2, bottom=0))
    with pytest.raises(CannotJoin, match="change"):
        stream.bitstream.enter(access, drops_references=False)


@pytest.mark.parametrize("number", range(3))
def test_idr_pictures_beside_each_other_have_other_numbers(number: int) -> None:
    stream = Stream(sequence(), picture())
    own = stream.bitstream
    access = stream.read(coded("I", 0, 0, idr=number))
    own.enter(access, drops_references=False)
    key = _encoded(own)

    def encoded() -> int:
        (unit,) = own.encoded(key)
        sps, pps = own.sets(of_encoder=True)
        return read_slice(unit, {1: read_pps(pps)}, {1: read_sps(sps)}).idr_pic_id

    before = [encoded(), encoded()]
    own.copied(access)
    chain = [*before, number, encoded(), encoded()]
    assert all(one != other for one, other in pairwise(chain))


def _encoded(own: H264Bitstream) -> bytes:
    """One key frame of x264's."""
    encoder = cast(VideoCodecContext, av.CodecContext.create("libx264", "w"))
    encoder.width, encoder.height, encoder.pix_fmt = 160, 128, own.pixel_format
    encoder.flags |= Flags.global_header
    encoder.options = dict(own.encoding(20))
    frame = av.VideoFrame(160, 128, own.pixel_format)
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    (packet,) = [*encoder.encode(frame), *encoder.encode(None)]
    own.adopt(encoder.extradata or b"")
    return bytes(packet)


def test_no_set_no_model() -> None:
    empty = H264Bitstream(b"")
    with pytest.raises(BrokenSyntax):
        empty.encoding(20)
    with pytest.raises(BrokenSyntax):
        empty.extradata(annex_b=False)
    with pytest.raises(BrokenUnits):
        empty.read(with_lengths([coded("I", 0, 0, idr=0)])[4:])
    full = H264Bitstream(with_start_codes([*(sequence(number=n) for n in range(32)), picture()]))
    with pytest.raises(CannotJoin, match="number"):
        full.encoding(20)
    with pytest.raises(CannotJoin, match="many"):
        full.extradata(annex_b=False)
