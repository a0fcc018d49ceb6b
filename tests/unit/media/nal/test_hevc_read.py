"""HEVC packets taken apart: pictures, slices, parameter sets; broken and hostile ones too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cache
from itertools import pairwise

import av
import pytest
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext
from hypothesis import given, settings
from hypothesis import strategies as st

from reelsplit_server.media.nal.bits import BitReader, BitWriter, BrokenSyntax
from reelsplit_server.media.nal.bitstream import AccessUnit, CannotJoin, Picture
from reelsplit_server.media.nal.hevc import HevcBitstream
from reelsplit_server.media.nal.hevc_record import read_record
from reelsplit_server.media.nal.hevc_references import ReferenceSet, read_references
from reelsplit_server.media.nal.hevc_sets import read_pps, read_sps
from reelsplit_server.media.nal.hevc_slice import read_slice
from reelsplit_server.media.nal.hevc_splice import joined_slice
from reelsplit_server.media.nal.hevc_units import (
    BLA_N_LP,
    BLA_W_LP,
    CRA,
    END_OF_SEQUENCE,
    PPS,
    SPS,
    is_random_access,
    is_slice,
    kind,
    layer,
    reader,
)
from reelsplit_server.media.nal.units import (
    BrokenUnits,
    escaped,
    split,
    unescaped,
    with_start_codes,
)
from tests.clips import pictures

_BASE = "keyint=8:min-keyint=8:scenecut=0:log-level=error:pools=1:frame-threads=1:info=0"


@cache
def encode(
    params: str = "open-gop=1", options: tuple[tuple[str, str], ...] = ()
) -> tuple[bytes, list[bytes]]:
    """Extradata and packets, Annex B, in decoding order, of 24 frames with a GOP of 8."""
    context = av.CodecContext.create("libx265", "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt = 160, 96, "yuv420p"
    context.time_base, context.framerate = Fraction(1, 24), Fraction(24)
    context.flags |= Flags.global_header
    context.options = {"preset": "medium", "x265-params": f"{_BASE}:{params}", **dict(options)}
    packets = []
    for index, picture in enumerate(pictures(24, (160, 96))):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
        frame.pts = index
        packets += context.encode(frame)
    packets += context.encode(None)
    return context.extradata or b"", [bytes(packet) for packet in packets]


def read_all(extradata: bytes, packets: Sequence[bytes]) -> tuple[HevcBitstream, list[AccessUnit]]:
    bitstream = HevcBitstream(extradata)
    return bitstream, [bitstream.read(packet) for packet in packets]


def sps_of(extradata: bytes) -> bytes:
    return next(unit for unit in split(extradata, 0) if kind(unit) == SPS)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ("open-gop=0:bframes=3", {Picture.IDR: 3}),
        ("open-gop=0:bframes=3:radl=2", {Picture.IDR: 3, Picture.RADL: 4}),
        ("open-gop=1:bframes=3:b-adapt=0", {Picture.IDR: 1, Picture.CRA: 2, Picture.RASL: 6}),
    ],
)
def test_kinds_of_pictures(params: str, expected: dict[Picture, int]) -> None:
    _, accesses = read_all(*encode(params))
    found = [access.picture for access in accesses]
    assert {each: found.count(each) for each in expected} == expected
    assert len(found) == sum(expected.values()) + found.count(Picture.OTHER)
    assert {a.slice_type for a in accesses if a.picture.is_entry} == {"I"}


@pytest.mark.parametrize(
    "params",
    [
        "bframes=0",
        "bframes=3:b-adapt=0",
        "bframes=4:weightb=1:weightp=1:ref=5",
        "ctu=16:slices=3:sao=1:temporal-mvp=0",
        "ctu=16:wpp=1:ref=4:signhide=0",
        "temporal-layers=3:bframes=3:b-adapt=0",
        "hrd=1:vbv-maxrate=2000:vbv-bufsize=2000:aud=1:pic-struct=0",
        "scaling-list=default:lossless=0:cu-lossless=1:tskip=1:amp=1:rect=1",
        "range=full:colorprim=bt709:overscan=show:chromaloc=2:sar=3",
    ],
)
def test_quantiser_of_slices(params: str) -> None:
    extradata, packets = encode(params + ":aq-mode=0:cutree=0:ipratio=1:pbratio=1:qp=31")
    _, accesses = read_all(extradata, packets)
    assert {access.quantiser for access in accesses} == {31}
    assert {access.slice_type for access in accesses} <= set("IPB")
    assert [a.slice_type for a in accesses].count("I") == 3


def test_references() -> None:
    _, accesses = read_all(*encode("bframes=3:b-adapt=0:b-pyramid=1"))
    loose = [access for access in accesses if not access.is_reference]
    assert loose
    assert all(access.slice_type == "B" for access in loose)
    assert sum(a.slice_type == "B" and a.is_reference for a in accesses) >= 3


def test_reference_sets_predicted_from_others() -> None:
    """Examples worked by hand: a set seen from a picture 5 later, and one 3 earlier."""
    base = ReferenceSet(((-1, True), (-3, False)), ((2, True), (4, False)))
    later = BitWriter()
    later.flag(True)
    later.flag(True)  # the sign: less
    later.ue(4)
    for used in (True, False, True, False, True):
        later.flag(used)
        if not used:
            later.flag(True)
    later.trailing()
    assert read_references(BitReader(later.to_bytes()), [base], in_slice=False) == ReferenceSet(
        ((-1, False), (-3, True), (-5, True), (-6, True), (-8, False)), ()
    )
    earlier = BitWriter()
    earlier.flag(True)
    earlier.ue(0)  # the set before, by a slice
    earlier.flag(False)
    earlier.ue(2)
    flags = [(True, True), (True, True), (False, False), (True, True), (False, True)]
    for used, kept in flags:
        earlier.flag(used)
        if not used:
            earlier.flag(kept)
    earlier.trailing()
    assert read_references(BitReader(earlier.to_bytes()), [base], in_slice=True) == ReferenceSet(
        (), ((2, True), (3, False), (7, True))
    )


def test_long_term_pictures_and_weights_of_a_slice() -> None:
    """No encoder at hand writes them: a slice put together by the syntax."""
    extradata, _ = encode()
    sps = read_sps(sps_of(extradata))
    pps = read_pps(next(unit for unit in split(extradata, 0) if kind(unit) == PPS))
    sps = replace(sps, long_term=True, long_term_used=(True, False, True), temporal_mvp=True)
    pps = replace(pps, weighted_both=True, list_changes=True, cabac_init=True, output_flag=True)
    bits = BitWriter()
    bits.u(16, 1 << 9 | 1)
    bits.flag(True)
    bits.ue(pps.id)
    bits.u(pps.extra_bits, 0)
    bits.ue(0)  # B
    bits.flag(True)  # pic_output_flag
    bits.u(sps.order_bits, 5)
    bits.flag(False)
    if sps.references:
        bits.flag(False)
    bits.ue(1)
    bits.ue(0)
    bits.ue(0)
    bits.flag(True)  # one picture before, used
    bits.ue(1)  # one long-term picture of the set: the last, used
    bits.ue(1)  # and one of the slice's own
    bits.u(2, 2)
    bits.flag(False)
    bits.u(sps.order_bits, 9)
    bits.flag(True)
    bits.flag(True)
    bits.ue(3)
    bits.flag(True)  # temporal motion vectors
    bits.u(2, 3)  # SAO
    bits.flag(True)
    bits.ue(1)
    bits.ue(0)  # two and one reference pictures
    bits.flag(True)
    bits.u(4, 0b0110)  # list 0 of three pictures: two bits each
    bits.flag(False)
    bits.flag(False)
    bits.flag(True)
    bits.flag(True)
    bits.ue(1)  # collocated: list 0, picture 1
    bits.ue(6)
    bits.se(-1)
    bits.u(2, 0b01)
    bits.u(2, 0b10)
    for value in (3, -4, 1, 2, 3, 4):
        bits.se(value)
    bits.u(1, 1)
    bits.u(1, 0)
    bits.se(7)
    bits.se(-7)
    bits.ue(2)
    bits.se(-3)
    bits.trailing()
    head = read_slice(escaped(bits.to_bytes()), lambda _: (pps, sps), quantiser=True)
    assert (head.slice_type, head.quantiser) == ("B", pps.quantiser - 3)


@pytest.mark.parametrize("params", ["bframes=3:b-adapt=0", "slices=2:open-gop=0:ref=1"])
def test_slices_under_another_id(params: str) -> None:
    """Only the id changes, and the data behind the header move by a whole byte."""
    extradata, packets = encode(params)
    kinds = {kind(unit): unit for unit in split(extradata, 0)}
    sps, pps = read_sps(kinds[SPS]), read_pps(kinds[PPS])
    for unit in (unit for packet in packets for unit in split(packet, 0) if is_slice(unit)):
        moved = joined_slice(unit, 22)
        was, now = reader(unit), reader(moved)
        begin = 2 if is_random_access(kind(unit)) else 1
        assert was.u(begin) == now.u(begin)
        assert (was.ue(), now.ue()) == (0, 22)
        rest = was.size - was.position
        assert now.size - now.position == rest
        assert was.u(rest) == now.u(rest)
        head = read_slice(unit, {0: (pps, sps)}.__getitem__, quantiser=True)
        assert read_slice(moved, {22: (pps, sps)}.__getitem__, quantiser=True) == head


def test_a_moved_slice_holds_no_start_code() -> None:
    assert joined_slice(b"\x02\x01\xc0\x00\x01\x80", 15) == b"\x02\x01\x84\x00\x00\x03\x01\x80"
    with pytest.raises(BrokenSyntax):
        joined_slice(b"\x02\x01\xa0\x00\x01\x80", 15)


def test_sets_in_packets_may_change_before_copying_begins() -> None:
    extradata, packets = encode("bframes=0")
    other, _ = encode("bframes=0:ref=5:ctu=16")
    bitstream = HevcBitstream(other)
    first = bitstream.read(extradata + packets[0])
    bitstream.enter(first, drops_references=False)
    assert sps_of(with_start_codes(bitstream.sets(of_encoder=False))) == sps_of(extradata)
    with pytest.raises(CannotJoin, match="parameter sets change"):
        bitstream.read(other + packets[1])
    repeated = bitstream.read(extradata + packets[8])
    assert all(is_slice(unit) for unit in bitstream.copied(repeated))


def test_an_entry_read_with_sets_that_were_replaced_is_refused() -> None:
    extradata, packets = encode("bframes=0")
    other, others = encode("bframes=0:ref=5:ctu=16")
    bitstream = HevcBitstream(extradata)
    first = bitstream.read(packets[0])
    second = bitstream.read(other + others[8])
    with pytest.raises(CannotJoin, match="where copying begins"):
        bitstream.enter(first, drops_references=False)
    bitstream.enter(second, drops_references=False)


def test_sets_that_come_after_the_header_are_refused() -> None:
    extradata, packets = encode("bframes=0")
    other, _ = encode("bframes=0:ref=5:ctu=16")
    bitstream = HevcBitstream(extradata)
    bitstream.extradata(annex_b=False)
    with pytest.raises(CannotJoin, match="parameter sets change"):
        bitstream.read(other + packets[0])


def test_a_size_that_changes_in_the_segment_is_refused() -> None:
    extradata, packets = encode("bframes=0")
    bitstream = HevcBitstream(extradata)
    bitstream.enter(bitstream.read(packets[0]), drops_references=False)
    unit = sps_of(extradata)
    sps = read_sps(unit)
    bits, out = reader(unit), BitWriter()
    bits.position = 0
    out.bits(bits, 16 + 8 + 96)
    assert (bits.ue(), bits.ue(), bits.ue(), bits.ue()) == (sps.id, 1, 160, 96)
    for value in (3, 1, 168, 96):
        out.ue(value)
    # The rest stays: it does not end on a byte now, which nobody asks.
    out.bits(bits, bits.size - bits.position)
    out.trailing()
    pps = BitWriter()
    pps.u(16, PPS << 9 | 1)
    pps.ue(5)
    pps.ue(3)
    old = reader(next(unit for unit in split(extradata, 0) if kind(unit) == PPS))
    assert (old.ue(), old.ue()) == (0, sps.id)
    pps.bits(old, old.size - old.position)
    pps.trailing()
    # The same picture, but for the PPS that it names: 5 has five bits, 0 has one.
    raw = unescaped(split(packets[1], 0)[0])
    moved = BitWriter()
    source = BitReader(raw)
    moved.bits(source, 17)
    assert source.ue() == 0
    moved.ue(5)
    moved.bits(source, source.size - source.position)
    moved.trailing()
    units = [escaped(each.to_bytes()) for each in (out, pps, moved)]
    with pytest.raises(CannotJoin, match="size of its pictures"):
        bitstream.read(with_start_codes(units))


def test_cra_becomes_bla_at_the_entry_and_after_the_end_of_a_sequence() -> None:
    bitstream, accesses = read_all(*encode("open-gop=1:bframes=3:b-adapt=0"))
    entry, later = (access for access in accesses if access.picture is Picture.CRA)
    bitstream.enter(entry, drops_references=True)
    assert [kind(unit) for unit in bitstream.copied(entry) if is_slice(unit)] == [BLA_N_LP]
    assert [kind(unit) for unit in bitstream.copied(later) if is_slice(unit)] == [CRA]
    end = bytes((END_OF_SEQUENCE << 1, 1))
    before = bitstream.read(with_start_codes([end, *later.units]))
    assert [kind(unit) for unit in bitstream.copied(before) if is_slice(unit)] == [BLA_W_LP]
    assert [kind(unit) for unit in bitstream.copied(later) if is_slice(unit)] == [CRA]
    plain = next(access for access in accesses if access.picture is Picture.OTHER)
    behind = bitstream.read(with_start_codes([*plain.units, end]))
    assert [kind(unit) for unit in bitstream.copied(behind)] == [kind(plain.units[0])]
    assert [kind(unit) for unit in bitstream.copied(later) if is_slice(unit)] == [BLA_W_LP]


@pytest.mark.parametrize("params", ["open-gop=1:bframes=3:b-adapt=0", "slices=2:bframes=0"])
def test_pictures_before_the_entry_are_shown(params: str) -> None:
    """An entry that discards what is waiting for output, as its source may have it."""
    extradata, packets = encode(params)
    bitstream = HevcBitstream(extradata)
    kept = bitstream.read(packets[0])
    marked = [bytes((*unit[:2], unit[2] | 0x40, *unit[3:])) for unit in kept.units]
    assert [unit[2] & 0x40 for unit in kept.units] == [0] * len(marked)
    entry = bitstream.read(with_start_codes(marked))
    bitstream.enter(entry, drops_references=False)
    assert bitstream.copied(entry) == kept.units


def test_only_a_key_frame_is_an_entry() -> None:
    bitstream, accesses = read_all(*encode())
    with pytest.raises(CannotJoin, match="middle of a GOP"):
        bitstream.enter(accesses[1], drops_references=False)


@pytest.mark.parametrize(
    ("unit", "why"),
    [(b"\x7c\x01\x19\x08", "Dolby Vision"), (b"\x03\x09\x80\x12", "second layer")],
)
def test_what_only_copying_keeps(unit: bytes, why: str) -> None:
    extradata, packets = encode()
    bitstream = HevcBitstream(extradata)
    assert not bitstream.has_dolby_vision
    bitstream.encoding(30)
    access = bitstream.read(packets[0] + with_start_codes([unit]))
    assert bitstream.has_dolby_vision
    with pytest.raises(CannotJoin, match=why):
        bitstream.encoding(30)
    bitstream.enter(access, drops_references=False)
    assert bitstream.copied(access)[-1] == unit


def test_packets_that_hold_no_picture_or_two() -> None:
    extradata, packets = encode("bframes=0")
    bitstream = HevcBitstream(extradata)
    for data in (b"", b"\x00\x00\x01\x4e\x01\x05\x00\x80", packets[0] + packets[1], extradata):
        with pytest.raises(BrokenUnits):
            bitstream.read(data)
    with pytest.raises(BrokenSyntax, match="missing"):
        HevcBitstream(b"").read(packets[1])
    with pytest.raises(CannotJoin, match="no parameter sets"):
        _ = HevcBitstream(b"").pixel_format


def test_headers_that_break_off() -> None:
    extradata, _ = encode()
    bitstream = HevcBitstream(extradata)
    whole = bitstream.extradata(annex_b=False)
    assert [*read_record(whole).units] == sorted(split(extradata, 0), key=kind)
    for size in range(3, len(whole)):
        with pytest.raises((BrokenSyntax, BrokenUnits)):
            HevcBitstream(whole[:size])
    many = whole[:22] + b"\x01\x27\xff\xff" + b"\x00\x01\x4e" * 0xFFFF
    with pytest.raises(BrokenSyntax, match="too many"):
        HevcBitstream(many)
    with pytest.raises(BrokenSyntax, match="too large"):
        HevcBitstream(b"\x00\x00\x01" + sps_of(extradata) + b"\x55" * 20_000)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["open-gop=1:bframes=3:b-adapt=0", "ctu=16:slices=3:sao=1", "hrd=1"]),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=6),
    st.booleans(),
)
def test_broken_bytes_end_in_a_named_error(
    params: str, changes: list[tuple[float, int]], record: bool
) -> None:
    """Heads are hit far more often than slice data, which is never looked at."""
    extradata, packets = encode(params)
    if record:
        extradata = HevcBitstream(extradata).extradata(annex_b=False)
    heads = [len(extradata), *(len(extradata) + 40 * (at + 1) for at in range(len(packets)))]
    pool = bytearray(extradata)
    for packet in packets:
        pool += packet[:40].ljust(40, b"\x11")
    for place, value in changes:
        pool[int(place * (len(pool) - 1))] = value
    broken = [bytes(pool[a:b]) for a, b in pairwise([0, *heads])]
    try:
        bitstream = HevcBitstream(broken[0])
        _ = bitstream.pixel_format
        if record:
            bitstream.extradata(annex_b=True)
        bitstream.encoding(26)
    except (BrokenSyntax, BrokenUnits, CannotJoin):
        return
    entered = False
    for head, packet in zip(broken[1:], packets, strict=True):
        data = head + packet[40:]
        if record:
            data = b"".join(len(u).to_bytes(4, "big") + u for u in _loose(data))
        try:
            access = bitstream.read(data)
            if not entered and access.picture.is_entry:
                bitstream.enter(access, drops_references=True)
                entered = True
            if entered:
                assert all(
                    layer(unit) or is_slice(unit) or kind(unit) > 38
                    for unit in bitstream.copied(access)
                )
        except (BrokenSyntax, BrokenUnits, CannotJoin):
            continue


def _loose(data: bytes) -> list[bytes]:
    try:
        return split(data, 0)
    except BrokenUnits:
        return []
