"""H.264 copied from the middle, with encoded frames on both sides: exact, and the same data."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import pytest

from reelsplit_server.media.nal.bitstream import CannotJoin, Picture
from reelsplit_server.media.nal.h264 import H264Bitstream
from reelsplit_server.media.nal.h264_record import read_record
from reelsplit_server.media.nal.h264_sets import read_pps, read_sps
from reelsplit_server.media.nal.h264_slice import read_slice
from reelsplit_server.media.nal.units import unescaped
from tests.clips import make_clip
from tests.unit.media.nal.h264_splice import Source, Splice, load, splice, strictly_decoded

FRAMES = 48


@dataclass(frozen=True, kw_only=True)
class Case:
    bframes: int = 3
    gop: int = 12
    open_gop: bool = True
    suffix: str = ".mp4"
    format: str | None = None
    profile: str | None = None
    fields: str | None = None
    """``tff`` or ``bff``."""
    x264: Mapping[str, Any] = field(default_factory=dict)

    def make(self, path: Path) -> None:
        parameters = {
            "keyint": self.gop,
            "min-keyint": self.gop,
            "scenecut": 0,
            "open-gop": int(self.open_gop),
            "bframes": self.bframes,
            "b-adapt": 0,
            **self.x264,
        }
        if self.fields:
            parameters |= {self.fields: 1, "weightp": 0}
        options = {"x264-params": ":".join(f"{k}={v}" for k, v in parameters.items())}
        if self.profile:
            options["profile"] = self.profile
        make_clip(
            path,
            frames=FRAMES,
            size=(160, 96),
            gop=self.gop,
            bframes=self.bframes,
            pixel_format=self.format,
            options=options,
        )


CASES = {
    "closed": Case(open_gop=False),
    "closed, no B": Case(open_gop=False, bframes=0, suffix=".mkv"),
    "baseline": Case(open_gop=False, bframes=0, profile="baseline"),
    "main": Case(open_gop=False, bframes=2, profile="main", suffix=".ts"),
    "one reference": Case(open_gop=False, bframes=0, x264={"ref": 1}),
    "open": Case(suffix=".ts"),
    "open, no pyramid": Case(x264={"b-pyramid": "none"}),
    "open, strict pyramid": Case(x264={"b-pyramid": "strict", "ref": 2}, suffix=".mkv"),
    "open, references dropped": Case(bframes=8, gop=18, x264={"ref": 5}),
    "open, 16 references": Case(bframes=7, gop=16, x264={"ref": 16}),
    "open, CAVLC, slices": Case(x264={"cabac": 0, "slices": 3, "weightp": 2, "weightb": 1}),
    "open, lookahead weights": Case(bframes=2, x264={"weightp": 2, "direct": "temporal"}),
    "4:2:2": Case(format="yuv422p"),
    "4:4:4": Case(format="yuv444p", suffix=".mkv"),
    "10 bit": Case(format="yuv420p10le"),
    "4:2:2, 10 bit": Case(format="yuv422p10le", suffix=".ts"),
    "4:4:4, 10 bit": Case(format="yuv444p10le"),
    "gray": Case(format="gray"),
    "top field first": Case(fields="tff", suffix=".ts"),
    "bottom field first, CAVLC": Case(fields="bff", x264={"cabac": 0}),
    "fields allowed, none there": Case(x264={"fake-interlaced": 1}),
    "intra": Case(bframes=0, gop=1, profile="high10", format="yuv420p10le", open_gop=False),
}
_RANGES = ((3, 40, ".mp4"), (9, 47, ".ts"), (13, 34, ".mkv"))


@pytest.mark.parametrize("name", CASES)
def test_every_frame_is_there_once_and_right(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    path = tmp_path / f"source{case.suffix}"
    case.make(path)
    source = load(path)
    for start, end, suffix in _RANGES:
        output = tmp_path / f"{start}{suffix}"
        cut = splice(source, output, start, end)
        assert strictly_decoded(output) == list(range(start, end))
        kind = Picture.RECOVERY if case.open_gop else Picture.IDR
        assert cut.entry is not None
        assert cut.entry.picture is kind
        assert len(cut.copied) >= (end - start) // 4
        _same_data(source, cut)
        _same_limits(source, output)
        if case.fields or "fake-interlaced" in case.x264:
            assert _fields(output) == _fields(path)


def _fields(path: Path) -> set[tuple[bool, bool]]:
    """Whether pictures are interlaced, and in which order their fields are."""
    command = ["ffprobe", "-v", "error", "-of", "csv=p=0", "-show_entries"]
    listed = subprocess.run(
        [*command, "frame=interlaced_frame,top_field_first", str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = (row.split(",") for row in listed.stdout.split())
    return {(row[0] == "1", row[1] == "1") for row in rows}


def _same_data(source: Source, cut: Splice) -> None:
    """Slice data are the source's, bit for bit; IDR pictures of the source are not touched."""
    _, units = read_record(source.stream.codec_context.extradata or b"")
    sequences = {s.id: s for s in (read_sps(u) for u in units if u[0] & 31 == 7)}
    pictures = {p.id: p for p in (read_pps(u) for u in units if u[0] & 31 == 8)}

    def data(unit: bytes) -> str | bytes:
        header = read_slice(unit, pictures, sequences)
        raw = unescaped(unit)
        if header.cabac:
            return raw[(header.end + 7) // 8 :]
        bits = f"{int.from_bytes(raw, 'big'):0{len(raw) * 8}b}"
        return bits[header.end :].rstrip("0")

    for access, written in cut.copied:
        before = [unit for unit in access.units if unit[0] & 31 in (1, 5)]
        after = [unit for unit in written if unit[0] & 31 in (1, 5)]
        if access.picture is Picture.IDR:
            assert before == after
        assert [data(unit) for unit in before] == [data(unit) for unit in after]
        assert not {unit[0] & 31 for unit in written} & {7, 8, 9}


def _same_limits(source: Source, output: Path) -> None:
    """What a decoder takes from a sequence set is the same in both."""
    with av.open(str(output)) as container:
        extradata = container.streams.video[0].codec_context.extradata or b""
    _, before = read_record(source.stream.codec_context.extradata or b"")
    first = next(read_sps(unit) for unit in before if unit[0] & 31 == 7)
    sets = {s.id: s for s in (read_sps(u) for u in read_record(extradata)[1] if u[0] & 31 == 7)}
    for sps in sets.values():
        assert (sps.profile, sps.constraints, sps.level) == (
            first.profile,
            first.constraints,
            first.level,
        )
        assert (sps.most_frames, sps.width, sps.height) == (
            first.most_frames,
            first.width,
            first.height,
        )
        assert first.references - 1 <= sps.references <= first.references
    if output.suffix != ".ts":
        assert len(sets) == 2


def test_debians_decoder_has_nothing_to_say(tmp_path: Path) -> None:
    path = tmp_path / "source.mp4"
    CASES["open, references dropped"].make(path)
    source = load(path)
    for start, end, suffix in _RANGES:
        output = tmp_path / f"{start}{suffix}"
        cut = splice(source, output, start, end)
        assert cut.dropped == 8
        command = ["ffmpeg", "-v", "warning", "-xerror"]
        command += ["-err_detect", "explode+crccheck+bitstream+buffer", "-i", str(output)]
        said = subprocess.run(
            [*command, "-f", "null", "-"], capture_output=True, text=True, check=True
        )
        assert said.stderr == ""


def test_colour_aspect_and_rate_are_the_sources_in_both_sets(tmp_path: Path) -> None:
    path = tmp_path / "source.mp4"
    Case(
        x264={
            "colorprim": "bt2020",
            "transfer": "smpte2084",
            "colormatrix": "bt2020nc",
            "fullrange": "on",
            "sar": "4/3",
            "overscan": "show",
            "chromaloc": 2,
            "nal-hrd": "vbr",
            "vbv-maxrate": 2000,
            "vbv-bufsize": 2000,
        }
    ).make(path)
    output = tmp_path / "cut.mkv"
    cut = splice(load(path), output, 5, 40)
    sets = cut.bitstream.sets(of_encoder=False), cut.bitstream.sets(of_encoder=True)
    ours, theirs = (read_sps(units[0]) for units in sets)
    assert ours.vui is not None
    assert ours.vui.colour is not None
    assert ours.vui.colour.full_range
    assert ours.vui.colour.description == (9, 16, 9)
    assert ours.vui.aspect == (14, 0, 0)
    assert ours.vui.chroma_location == (2, 2)
    assert ours.vui.overscan is False
    assert ours.vui.restriction is not None
    assert theirs.vui == ours.vui
    assert strictly_decoded(output) == list(range(5, 40))


def test_sets_do_not_depend_on_the_quantiser(tmp_path: Path) -> None:
    path = tmp_path / "source.mp4"
    CASES["closed"].make(path)
    source = load(path)
    one, other = (
        splice(source, tmp_path / f"{quantiser}.mp4", 5, 40, quantiser=quantiser)
        for quantiser in (12, 40)
    )
    assert one.bitstream.sets(of_encoder=True) == other.bitstream.sets(of_encoder=True)


@pytest.mark.parametrize("name", ["closed", "10 bit", "4:4:4, 10 bit"])
def test_what_is_encoded_is_a_little_finer_than_the_source(name: str, tmp_path: Path) -> None:
    path, output = tmp_path / "source.mkv", tmp_path / "cut.mkv"
    CASES[name].make(path)
    cut = splice(load(path), output, 1, 40, quantiser=24)
    again = load(output)
    reader = H264Bitstream(again.stream.codec_context.extradata or b"")
    accesses = [reader.read(data) for data, _ in again.packets]
    count = accesses.index(next(a for a in accesses[1:] if a.picture is Picture.IDR))
    assert 0 < count < cut.encoded + 1
    assert {a.quantiser for a in accesses[:count] if a.slice_type == "P"} == {20}


def test_an_encoder_of_other_pictures_is_refused(tmp_path: Path) -> None:
    path, other = tmp_path / "source.mp4", tmp_path / "other.mp4"
    CASES["closed"].make(path)
    for case, why in (
        (Case(format="yuv422p", x264={"sps-id": 1}), "profile"),
        (Case(bframes=0, fields="tff", x264={"sps-id": 1}), "field"),
        (Case(x264={"sps-id": 1, "ref": 9}), "reference frames"),
        (Case(x264={"sps-id": 0}), "change"),
    ):
        case.make(other)
        source, stranger = load(path), load(other)
        cut = splice(source, tmp_path / "cut.mp4", 5, 40)
        with pytest.raises(CannotJoin, match=why):
            cut.bitstream.adopt(stranger.stream.codec_context.extradata or b"")
