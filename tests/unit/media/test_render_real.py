from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest

from reelsplit_server.media.errors import MediaError
from reelsplit_server.media.formats import Container
from reelsplit_server.media.hdr import hdr_of
from reelsplit_server.media.render import Action, CutMode, VideoSettings
from tests.media import footage, real
from tests.unit.media.rendering import Picture, cut, pictures, psnr

TRAITS = [name for name in footage("traits") if "audio_only" not in name]
#: Good enough that a frame cannot be taken for its neighbour, coarse enough for any encoder.
ALIKE = 30


@cache
def source_pictures(path: Path) -> list[Picture]:
    return pictures(path)


def check(name: str, out: Path, start: Fraction, end: Fraction | None, mode: CutMode) -> None:
    source = real(name)
    result = cut(source, out, start, end, mode=mode)
    half = result.time_base / 2
    if mode is CutMode.KEYFRAME:
        start, end = result.start, result.end
    wanted = [
        picture
        for picture in source_pictures(source)
        if picture.time >= start - half and (end is None or picture.time < end - half)
    ]
    got = pictures(out)
    lies = result.reason is not None and "on its side" in result.reason
    assert len(got) == len(wanted) == result.frame_count
    assert result.start == wanted[0].time
    tick = max(result.time_base, Fraction(1, 1000))
    for mine, theirs in zip(got, wanted, strict=True):
        assert abs(mine.time - (theirs.time - wanted[0].time)) <= tick
        assert psnr(mine, upright(mine, theirs, lies=lies)) > ALIKE


def upright(mine: Picture, theirs: Picture, *, lies: bool) -> Picture:
    """The source's picture as the copy holds it: MPEG-TS stores no rotation, so what is copied
    into it lies on its side, and the result says so."""
    if not lies:
        return theirs
    turns = (np.rot90(theirs.gray, count) for count in range(1, 4))
    alike = [replace(theirs, gray=gray) for gray in turns if gray.shape == mine.gray.shape]
    return max(alike, key=lambda turned: psnr(mine, turned))


def ranges(source: Path) -> list[tuple[Fraction, Fraction | None]]:
    shown = source_pictures(source)
    middle, later = shown[len(shown) // 2].time, shown[len(shown) * 5 // 8].time
    return [(middle, later), (shown[-1].time * 6 / 7 + Fraction(13, 1000), None)]


@pytest.mark.parametrize("name", TRAITS)
def test_traits_are_encoded_frame_by_frame(name: str, tmp_path: Path) -> None:
    check(name, tmp_path / "o.mp4", *ranges(real(name))[0], CutMode.ENCODE)


@pytest.mark.long
@pytest.mark.parametrize("container", Container)
@pytest.mark.parametrize("name", TRAITS)
def test_traits_in_every_container(name: str, container: Container, tmp_path: Path) -> None:
    for start, end in [(Fraction(0), Fraction(1)), *ranges(real(name))]:
        check(name, tmp_path / f"o.{container.value}", start, end, CutMode.ENCODE)


@pytest.mark.long
@pytest.mark.parametrize("container", Container)
@pytest.mark.parametrize("name", TRAITS)
def test_traits_copied_in_every_container(name: str, container: Container, tmp_path: Path) -> None:
    for start, end in ranges(real(name)):
        refused = None
        try:
            check(name, tmp_path / f"o.{container.value}", start, end, CutMode.KEYFRAME)
        except MediaError as error:
            refused = error.reason
        assert refused in (None, "COPY_IMPOSSIBLE")


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv"])
def test_rotation_survives(ending: str, tmp_path: Path) -> None:
    out = tmp_path / f"o.{ending}"
    cut(real("traits/bbb_h264_rot90.mp4"), out, 1, Fraction(3, 2))
    with av.open(str(out)) as container:
        frame = next(container.decode(video=0))
        assert (frame.width, frame.height, frame.rotation) == (640, 360, 90)


def test_where_no_rotation_can_be_stored_the_picture_is_turned(tmp_path: Path) -> None:
    out = tmp_path / "o.ts"
    result = cut(real("traits/bbb_h264_rot90.mp4"), out, 1, Fraction(3, 2))
    with av.open(str(out)) as container:
        frame = next(container.decode(video=0))
        assert (frame.width, frame.height, frame.rotation) == (360, 640, 0)
    assert "turned" in (result.reason or "")


def test_hdr10_survives(tmp_path: Path) -> None:
    source, out = real("traits/bbb_hevc_hdr10.mp4"), tmp_path / "o.mp4"
    cut(source, out, 1, Fraction(3, 2))
    with av.open(str(source)) as before, av.open(str(out)) as after:
        one, other = next(before.decode(video=0)), next(after.decode(video=0))
        assert hdr_of(one) == hdr_of(other)
        for name in ("color_primaries", "color_trc", "colorspace", "color_range"):
            assert getattr(one, name) == getattr(other, name)
        assert other.format.name == "yuv420p10le"


def test_fields_stay_fields_in_h264(tmp_path: Path) -> None:
    source, out = real("traits/bbb_h264_interlaced_tff.ts"), tmp_path / "o.mkv"
    cut(source, out, 1, Fraction(3, 2))
    with av.open(str(out)) as container:
        assert next(container.decode(video=0)).interlaced_frame
        assert container.streams.video[0].codec_context.field_order == 2  # top field first


def test_cues_and_chapters_are_clipped_and_shifted(tmp_path: Path) -> None:
    source, out = real("traits/bbb_h264_multi.mkv"), tmp_path / "o.mp4"
    result = cut(source, out, Fraction(13, 5), Fraction(51, 10), video=VideoSettings(crf=30))
    with av.open(str(out)) as container:
        cues = [
            (packet.pts * packet.time_base, bytes(packet)[2:])
            for packet in container.demux(container.streams.subtitles[0])
            if packet.size > 2 and packet.pts is not None
        ]
        chapters = container.chapters()
    assert [text for _, text in cues] == [b"Caption 2", b"Caption 3"]
    assert cues[0][0] == 0
    assert [chapter["metadata"]["title"] for chapter in chapters] == ["Part 2", "Part 3"]
    assert chapters[0]["start"] == 0
    actions = {stream.source_codec: stream.action for stream in result.streams}
    assert actions["subrip"] is Action.ENCODED
    assert actions["text/plain"] is Action.DROPPED
