"""HEVC spliced end to end: encoded head, copied middle, encoded tail, read back by decoders."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
from av.sidedata.sidedata import Type
from av.video.frame import PictureType
from av.video.stream import VideoStream
from numpy.typing import NDArray

from reelsplit_server.media.nal.bitstream import CannotJoin, Picture
from reelsplit_server.media.nal.hevc_record import read_record
from reelsplit_server.media.nal.hevc_sei import messages
from reelsplit_server.media.nal.hevc_sets import read_sps
from reelsplit_server.media.nal.hevc_units import (
    BLA_N_LP,
    PPS,
    SEI,
    SPS,
    VPS,
    after_others,
    is_slice,
    kind,
)
from reelsplit_server.media.nal.units import split
from tests.clips import make_clip, read_number
from tests.media import real
from tests.unit.media.nal.hevc_joint import Joint, splice

_Luma = NDArray[np.float32]

START, END = 9, 36
_MASTERING = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"


def _x265(text: str, gop: int = 14) -> Mapping[str, str]:
    common = f"keyint={gop}:min-keyint={gop}:scenecut=0:log-level=error:pools=1:frame-threads=1"
    return {"x265-params": f"{common}:{text}"}


@dataclass(frozen=True)
class Source:
    params: str
    entry: Picture
    pixel_format: str = "yuv420p"

    def make(self, path: Path) -> None:
        make_clip(
            path,
            codec="libx265",
            frames=42,
            gop=14,
            bframes=3,
            pixel_format=self.pixel_format,
            options=_x265(self.params),
        )


SOURCES = {
    "closed": Source("bframes=3:b-adapt=0:open-gop=0", Picture.IDR),
    "no B": Source("bframes=0:open-gop=0:ref=1", Picture.IDR),
    "RADL": Source("bframes=3:b-adapt=0:open-gop=0:radl=2", Picture.IDR),
    "open": Source("bframes=3:b-adapt=0:open-gop=1", Picture.CRA),
    "open, 6 B": Source("bframes=6:b-adapt=0:open-gop=1:rc-lookahead=12", Picture.CRA),
    "small blocks, slices": Source("bframes=2:ctu=16:open-gop=1:ref=5:slices=2", Picture.CRA),
    "large blocks": Source("bframes=2:ctu=64:min-cu-size=32:ref=1:open-gop=1", Picture.CRA),
    "field info": Source(
        "bframes=2:open-gop=0:pic-struct=3:hrd=1:vbv-maxrate=3000:vbv-bufsize=3000", Picture.IDR
    ),
    "temporal layers": Source("bframes=3:b-adapt=0:open-gop=1:temporal-layers=3", Picture.CRA),
    "HDR10": Source(
        "bframes=3:open-gop=1:hdr10=1:repeat-headers=1:colorprim=bt2020:transfer=smpte2084"
        f":colormatrix=bt2020nc:master-display={_MASTERING}:max-cll=1000,400",
        Picture.CRA,
        "yuv420p10le",
    ),
    "full range": Source("bframes=3:open-gop=0", Picture.IDR, "yuvj420p"),
    "12 bit": Source("bframes=3:open-gop=0", Picture.IDR, "yuv420p12le"),
    "4:2:2": Source("bframes=3:open-gop=1", Picture.CRA, "yuv422p10le"),
    "4:4:4": Source("bframes=3:open-gop=0", Picture.IDR, "yuv444p"),
    "gray": Source("bframes=3:open-gop=0", Picture.IDR, "gray"),
    "RGB": Source("bframes=3:open-gop=0", Picture.IDR, "gbrp"),
}
CASES = [
    *((name, ".mp4") for name in SOURCES),
    *((name, suffix) for name in ("open", "RADL", "HDR10") for suffix in (".mkv", ".ts")),
]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("hevc")

    @cache
    def made(name: str) -> Path:
        path = folder / f"{name}.mp4"
        SOURCES[name].make(path)
        return path

    return made


@pytest.mark.parametrize(("name", "suffix"), CASES)
def test_every_frame_is_there_once(
    clip: Callable[[str], Path], tmp_path: Path, name: str, suffix: str
) -> None:
    out = tmp_path / f"out{suffix}"
    joint = splice(clip(name), out, START, END)
    assert joint.entry is SOURCES[name].entry
    assert (joint.head, len(joint.copied) + joint.tail) == (5, 22)
    assert len(joint.copied) >= 19
    assert _numbers(out) == list(range(START, END))
    assert _complaints(out) == ""
    _check_copied(joint, out, suffix)


def test_parts_of_one_frame(clip: Callable[[str], Path], tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    joint = splice(clip("closed"), out, 13, 16)
    assert (joint.head, joint.entry) == (1, Picture.IDR)
    assert joint.tail == 1
    assert _numbers(out) == [13, 14, 15]
    assert _complaints(out) == ""


def _numbers(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.options = {"err_detect": "explode"}
        return [read_number(frame) for frame in container.decode(video=0)]


def _complaints(path: Path) -> str:
    """What the command `ffmpeg`, an older release, says when it decodes the file."""
    command = shutil.which("ffmpeg")
    if command is None:
        pytest.skip("no ffmpeg command")
    strict = ["-v", "warning", "-xerror", "-err_detect", "explode+crccheck+bitstream+buffer"]
    done = subprocess.run(
        [command, *strict, "-i", str(path), "-f", "null", "-"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr


def _check_copied(joint: Joint, out: Path, suffix: str) -> None:
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        extradata = stream.codec_context.extradata or b""
        packets = [bytes(packet) for packet in container.demux(stream) if packet.size]
        if suffix == ".mp4":
            assert stream.codec_context.codec_tag == "hvc1"
    record = read_record(extradata)
    units = [split(data, record.width) for data in packets]
    copied = units[joint.head : joint.head + len(joint.copied)]
    for index, (was, now) in enumerate(zip(joint.copied, copied, strict=True)):
        slices = [unit for unit in was.units if is_slice(unit)]
        if index == 0 and was.picture is Picture.CRA:
            slices = [after_others(unit, BLA_N_LP) for unit in slices]
        assert [unit for unit in now if is_slice(unit)] == slices
    if suffix != ".ts":
        assert record.width == 4
        expected = joint.bitstream.extradata(annex_b=False)
        assert read_record(expected).units == record.units
        if suffix == ".mp4":
            assert extradata == expected
        assert not any(kind(unit) in (VPS, SPS, PPS) for each in units for unit in each)
        kinds = [kind(unit) for unit in record.units]
        assert all(kinds.count(each) == 2 for each in (VPS, SPS, PPS))


def test_display_metadata_holds_for_encoded_and_copied_frames(
    clip: Callable[[str], Path], tmp_path: Path
) -> None:
    for suffix in (".mp4", ".ts"):
        out = tmp_path / f"out{suffix}"
        splice(clip("HDR10"), out, START, END)
        with av.open(str(out)) as container:
            for frame in container.decode(video=0):
                kinds = {data.type for data in frame.side_data}
                assert {Type.MASTERING_DISPLAY_METADATA, Type.CONTENT_LIGHT_LEVEL} <= kinds
                assert (frame.color_primaries, frame.color_trc, frame.colorspace) == (9, 16, 9)


def test_how_fields_are_shown_holds_for_encoded_and_copied_frames(
    clip: Callable[[str], Path], tmp_path: Path
) -> None:
    out = tmp_path / "out.mp4"
    joint = splice(clip("field info"), out, START, END)
    assert joint.head
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        sets = read_record(stream.codec_context.extradata or b"").units
        packets = [split(bytes(packet), 4) for packet in container.demux(stream) if packet.size]
    assert [vui.scan for vui in (read_sps(u).vui for u in sets if kind(u) == SPS) if vui] == [
        True,
        True,
    ]
    for units in packets:
        told = [message for unit in units if kind(unit) == SEI for message in messages(unit)]
        assert [payload[0] >> 4 for number, payload in told if number == 1] == [3]


@pytest.mark.parametrize("name", ["traits/bbb_hevc_hdr10.mp4", "traits/bbb_hevc_opengop.mkv"])
def test_real_footage(tmp_path: Path, name: str) -> None:
    source, out = real(name), tmp_path / "out.mkv"
    joint = splice(source, out, 88, 140)
    was, now = _decoded(source)[88:140], _decoded(out)
    assert len(now) == 52
    middle = slice(joint.head, joint.head + len(joint.copied))
    assert len(joint.copied) > 20
    for index, (expected, got) in enumerate(zip(was, now, strict=True)):
        if middle.start <= index < middle.stop:
            assert np.array_equal(expected, got), index
        else:
            assert np.mean((expected - got) ** 2) / expected.max() ** 2 < 10**-3.8, index
    assert _complaints(out) == _complaints(source)


def _decoded(path: Path) -> list[_Luma]:
    with av.open(str(path)) as container:
        return [_luma(frame) for frame in container.decode(video=0)]


def _luma(frame: av.VideoFrame) -> _Luma:
    return frame.reformat(format="gray16le").to_ndarray().astype(np.float32)


def test_encoded_frames_are_about_as_good_as_their_source(tmp_path: Path) -> None:
    """Luma PSNR against the pictures before any coding: about 1 dB less than the source's."""
    source, out = tmp_path / "in.mkv", tmp_path / "out.mkv"
    with av.open(str(real("traits/bbb_hevc_opengop.mkv"))) as container:
        frames = [frame.reformat(320, 180) for frame in islice(container.decode(video=0), 32)]
    with av.open(str(source), "w") as container:
        stream = container.add_stream("libx265", rate=24, options=dict(_x265("", gop=16)))
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        for index, frame in enumerate(frames):
            frame.pts, frame.time_base = index, Fraction(1, 24)
            frame.pict_type = PictureType.NONE
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    joint = splice(source, out, 2, 32)
    assert joint.head == 14
    best = [_luma(frame) for frame in frames[2:16]]
    loss = _psnr(best, _decoded(source)[2:16]) - _psnr(best, _decoded(out)[:14])
    assert 0 < loss < 1.7


def _psnr(best: list[_Luma], other: list[_Luma]) -> float:
    errors = [np.mean((a - b) ** 2) for a, b in zip(best, other, strict=True)]
    return float(np.mean([10 * np.log10(float(0xFFFF) ** 2 / error) for error in errors]))


def test_field_pictures_are_not_encoded(tmp_path: Path) -> None:
    path = tmp_path / "in.mp4"
    make_clip(path, codec="libx265", frames=28, options=_x265("interlace=tff"))
    with pytest.raises(CannotJoin, match="fields"):
        splice(path, tmp_path / "out.mp4", START, 20)
