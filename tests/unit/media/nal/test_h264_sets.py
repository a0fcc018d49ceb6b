"""H.264 parameter sets: read, written, changed by one bit; records of them."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import av
import pytest
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext

from reelsplit_server.media.nal.bits import BitWriter, BrokenSyntax
from reelsplit_server.media.nal.bitstream import CannotJoin
from reelsplit_server.media.nal.h264_encoding import encoder_options, joined, pixel_format
from reelsplit_server.media.nal.h264_record import read_record, write_record
from reelsplit_server.media.nal.h264_sets import read_pps, read_sps, with_gaps, write_sps
from reelsplit_server.media.nal.h264_vui import Colour, Restriction, Vui
from reelsplit_server.media.nal.units import BrokenUnits, with_start_codes


def sets(parameters: str = "", pixels: str = "yuv420p", **options: str) -> tuple[bytes, bytes]:
    """x264's own sets of 354x270 pictures."""
    encoder = cast(VideoCodecContext, av.CodecContext.create("libx264", "w"))
    encoder.width, encoder.height, encoder.pix_fmt = 354, 270, pixels
    encoder.flags |= Flags.global_header
    encoder.options = {"x264-params": parameters, **options}
    encoder.open()
    _, units = read_record(encoder.extradata or b"")
    sps, pps = (next(u for u in units if u[0] & 31 == kind) for kind in (7, 8))
    return sps, pps


def test_what_x264_says_is_read() -> None:
    unit, picture = sets(
        "ref=5:bframes=2:b-pyramid=none:sps-id=3:nal-hrd=cbr",
        b="1M",
        maxrate="1M",
        bufsize="1M",
        level="4.1",
    )
    sps, pps = read_sps(unit), read_pps(picture)
    assert (sps.id, sps.profile, sps.level, sps.references) == (3, 100, 41, 5)
    assert (sps.width, sps.height, sps.crop, sps.frames_only) == (23, 17, (0, 7, 0, 1), True)
    assert (sps.chroma, sps.depth_luma, sps.depth_chroma, sps.gaps) == (1, 8, 8, False)
    assert sps.vui is not None
    assert sps.vui.restriction is not None
    assert (sps.vui.restriction.reordering, sps.vui.restriction.buffering) == (1, 5)
    assert (pps.id, pps.sps_id, pps.cabac, pps.deblocking) == (3, 3, True, True)
    assert (pps.groups, pps.redundant, pps.bottom_order) == (False, False, False)


def test_fields_and_scaling_and_depth_are_read() -> None:
    sps = read_sps(sets("tff=1:weightp=0", "yuv444p10le")[0])
    assert (sps.frames_only, sps.adaptive_fields, sps.height, sps.crop) == (
        False,
        True,
        18,
        (0, 14, 0, 9),
    )
    assert (sps.chroma, sps.planes, sps.depth_luma, sps.scaling) == (3, 3, 10, False)


def test_scaling_lists_are_read_over() -> None:
    bits = BitWriter()
    for number in (0x67, 100, 0, 30):
        bits.u(8, number)
    for code in (0, 1, 0, 0):  # id, chroma, depths
        bits.ue(code)
    bits.u(2, 1)  # no lossless coding, but scaling
    bits.u(1, 1)
    bits.se(-8)  # the default list
    bits.u(1, 1)
    for _ in range(16):
        bits.se(1)
    bits.u(4, 0)
    bits.u(1, 1)
    for change in (*(0,) * 10, -8):  # eleven numbers, the last one for all that follow
        bits.se(change)
    bits.u(1, 0)
    for code in (0, 2, 1):  # frame numbers, order, references
        bits.ue(code)
    bits.u(1, 0)
    bits.ue(9)
    bits.ue(4)
    bits.u(4, 0b1100)
    bits.trailing()
    sps = read_sps(bits.to_bytes())
    assert (sps.scaling, sps.poc_type, sps.references) == (True, 2, 1)
    assert (sps.width, sps.height, sps.frames_only, sps.direct_8x8) == (10, 5, True, True)
    with pytest.raises(ValueError, match="not written"):
        write_sps(sps)


@pytest.mark.parametrize(
    ("parameters", "pixels", "options"),
    [
        ("bframes=3", "yuv420p", {}),
        ("bframes=0", "yuv420p", {"profile": "baseline"}),
        ("bff=1:weightp=0:sar=4/3:colorprim=bt709:overscan=crop", "yuv422p", {}),
        ("chromaloc=1:videoformat=pal", "yuv444p10le", {}),
    ],
)
def test_a_set_is_written_as_x264_writes_it(
    parameters: str, pixels: str, options: dict[str, str]
) -> None:
    unit = sets(parameters, pixels, **options)[0]
    sps = read_sps(unit)
    again = write_sps(sps)
    assert read_sps(again) == sps
    # x264 always sets aside a bit for messages about fields.
    assert len(again) == len(unit)


def test_gaps_are_allowed_by_one_bit() -> None:
    unit = sets()[0]
    changed = with_gaps(unit)
    assert read_sps(changed) == replace(read_sps(unit), gaps=True)
    assert with_gaps(changed) == changed
    assert sum((a ^ b).bit_count() for a, b in zip(unit, changed, strict=True)) == 1


def test_silence_about_the_buffer_means_what_the_level_allows() -> None:
    small = replace(read_sps(sets("ref=1:bframes=0", level="3.0")[0]), vui=None)
    assert small.most_frames == 16
    large = replace(small, width=45, map_units=36)
    assert large.most_frames == 5
    assert replace(large, references=9).most_frames == 9
    older = replace(small, profile=66, level=11, constraints=0x10)
    assert older.is_level_1b
    assert older.most_frames == 1
    assert not replace(older, constraints=0).is_level_1b
    assert replace(small, profile=110, constraints=0x10).most_frames == 0


def test_every_cut_of_a_set_is_refused_or_read() -> None:
    unit, picture = sets("nal-hrd=vbr", b="1M", maxrate="2M", bufsize="1M")
    for end in range(len(unit) - 1):
        with pytest.raises(BrokenSyntax):
            read_sps(unit[:end])
    for end in range(3):
        with pytest.raises(BrokenSyntax):
            read_pps(picture[:end])
    with pytest.raises(BrokenSyntax, match="long"):
        read_sps(unit + b"\x80" * 5000)


def test_numbers_out_of_range_are_refused() -> None:
    def start(profile: int = 66) -> BitWriter:
        bits = BitWriter()
        for number in (0x67, profile, 0, 30):
            bits.u(8, number)
        return bits

    for codes in ((32,), (0, 13), (0, 0, 3), (0, 0, 0, 13), (0, 0, 0, 0, 17), (0, 0, 1)):
        bits = start()
        for code in codes:
            bits.ue(code)
        bits.trailing()
        with pytest.raises(BrokenSyntax):
            read_sps(bits.to_bytes())
    bits = start(100)
    bits.ue(0)
    bits.ue(4)
    bits.u(64, (1 << 64) - 1)
    bits.trailing()
    with pytest.raises(BrokenSyntax):
        read_sps(bits.to_bytes())


def test_a_record_holds_what_is_put_in() -> None:
    unit, picture = sets(pixels="yuv422p10le")
    sps = read_sps(unit)
    record = write_record(sps, 51, [unit, unit], [picture])
    assert read_record(record) == (4, [unit, unit, picture])
    assert record[:5] == bytes((1, 122, sps.constraints, 51, 0xFF))
    assert record[-4:] == bytes((0xFE, 0xFA, 0xFA, 0))
    assert read_record(with_start_codes([unit, picture])) == (0, [unit, picture])
    assert read_record(b"") == (0, [])
    for end in range(1, len(record) - 4):
        with pytest.raises(BrokenUnits):
            read_record(record[:end])
    with pytest.raises(CannotJoin):
        write_record(sps, 30, [unit] * 32, [picture])


def test_the_encoder_keeps_to_what_the_source_promises() -> None:
    source = read_sps(sets("ref=4:bframes=3", level="1.3")[0])
    assert source.vui is not None

    def parameters(**changes: object) -> dict[str, str]:
        options = encoder_options(
            replace(source, **changes),  # type: ignore[arg-type]
            set_id=5,
            quantiser=30,
            reordering=2,
            top_field_first=True,
        )
        pairs = (pair.split("=") for pair in options["x264-params"].split(":"))
        return {**options, **dict(pairs)}  # type: ignore[arg-type]

    usual = parameters()
    assert usual["profile"] == "high"
    assert (usual["bframes"], usual["b-pyramid"], usual["dpb-size"]) == ("3", "normal", "4")
    assert (usual["qp"], usual["level"], usual["sps-id"]) == ("26", "1.3", "5")
    assert parameters(depth_luma=10, depth_chroma=10)["qp"] == "38"
    assert parameters(references=3)["b-pyramid"] == "none"
    assert parameters(references=1)["bframes"] == "0"
    assert parameters(references=0)["keyint"] == "1"
    assert parameters(constraints=0x0C)["bframes"] == "0"
    assert parameters(constraints=0x40)["profile"] == "main"
    assert parameters(profile=77, constraints=0xC0)["profile"] == "baseline"
    assert parameters(profile=66, constraints=0)["bframes"] == "0"
    assert parameters(profile=66, level=11, constraints=0x10)["level"] == "1b"
    assert "level" not in parameters(level=0)
    assert parameters(profile=110, constraints=0x10)["keyint"] == "1"
    assert "tff" not in usual
    assert parameters(frames_only=False)["tff"] == "1"
    limits = replace(source.vui, restriction=Restriction(reordering=0, buffering=2))
    assert parameters(vui=limits)["dpb-size"] == "2"


def test_the_encoders_set_takes_over_the_sources_words() -> None:
    encoder = read_sps(sets("ref=3:bframes=2:b-pyramid=none:sps-id=4", level="3.0")[0])
    source = replace(encoder, id=0, level=40, references=5, frame_num_bits=9, vui=None)
    joint = read_sps(joined(encoder, source, reordering=2))
    assert (joint.id, joint.level, joint.references) == (4, 40, 3)
    assert joint.frame_num_bits == encoder.frame_num_bits
    assert joint.vui is not None
    assert joint.vui.timing is None
    # The source says nothing: what it may mean, and what is known of it.
    assert joint.most_frames == source.most_frames == 16
    assert joint.vui.restriction is not None
    assert joint.vui.restriction.reordering == 2
    unknown = read_sps(joined(encoder, source, reordering=None))
    assert unknown.vui is not None
    assert unknown.vui.restriction is not None
    assert unknown.vui.restriction.reordering == 16
    for changes in ({"level": 10, "width": 99}, {"references": 2}, {"chroma": 2}, {"profile": 66}):
        with pytest.raises(CannotJoin):
            joined(encoder, replace(source, **changes), reordering=2)
    told = Vui(restriction=Restriction(reordering=0, buffering=5))
    with pytest.raises(CannotJoin, match="reorders"):
        joined(encoder, replace(source, vui=told), reordering=2)
    with pytest.raises(CannotJoin, match="expected"):
        joined(replace(encoder, vui=None), source, reordering=2)


@pytest.mark.parametrize(
    "changes",
    [
        {"depth_luma": 9, "depth_chroma": 9},
        {"depth_luma": 10},
        {"chroma": 3, "separate_planes": True},
        {"chroma": 3, "vui": Vui(colour=Colour(description=(1, 1, 0)))},
        {"profile": 88},
        {"profile": 66, "frames_only": False},
    ],
)
def test_what_x264_cannot_make_is_refused(changes: dict[str, object]) -> None:
    source = replace(read_sps(sets()[0]), **changes)  # type: ignore[arg-type]
    with pytest.raises(CannotJoin):
        encoder_options(source, set_id=1, quantiser=20, reordering=0, top_field_first=None)


def test_formats_have_ffmpegs_names() -> None:
    for name in ("gray", "gray10le", "yuv420p", "yuv422p", "yuv444p", "yuv420p10le"):
        assert pixel_format(read_sps(sets(pixels=name)[0])) == name
