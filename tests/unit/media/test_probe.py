from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import pytest

from reelsplit_server.media.errors import MediaError
from reelsplit_server.media.probe import SourceFacts, probe
from tests.clips import AudioTrack, make_clip
from tests.media import real


def facts_of(path: Path) -> SourceFacts:
    with path.open("rb") as file:
        return probe(file)


class CountingFile(io.BytesIO):
    """A file that counts the bytes read from it."""

    count = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.count += len(data)
        return data


def test_it_tells_what_a_plain_clip_holds(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    tracks = [AudioTrack(language="deu"), AudioTrack(codec="ac3", language="fra")]
    make_clip(path, frames=24, rate=24, size=(320, 180), audio=tracks)
    facts = facts_of(path)
    assert facts.container == "mp4"
    assert facts.duration == 1
    assert (facts.video.codec, facts.video.width, facts.video.height) == ("h264", 320, 180)
    assert (facts.video.pixel_format, facts.video.bit_depth) == ("yuv420p", 8)
    assert facts.video.frame_rate == 24
    assert facts.video.sample_aspect_ratio == 1
    assert (facts.video.rotation, facts.video.interlaced) == (0, False)
    assert [(track.codec, track.language) for track in facts.audio] == [
        ("aac", "deu"),
        ("ac3", "fra"),
    ]
    assert facts.audio[0].sample_rate == 48_000
    assert facts.audio[0].channels == 2
    assert facts.subtitles == ()
    assert facts.chapters == 0


@pytest.mark.parametrize(
    ("codec", "suffix", "name", "container"),
    [
        ("libsvtav1", "mp4", "av1", "mp4"),
        ("libx265", "mkv", "hevc", "matroska"),
        ("libvpx-vp9", "webm", "vp9", "webm"),
        ("prores_ks", "mov", "prores", "mov"),
        ("mpeg4", "avi", "mpeg4", "avi"),
        ("libx264", "ts", "h264", "mpegts"),
    ],
)
def test_codecs_and_containers_have_their_canonical_names(
    tmp_path: Path, codec: str, suffix: str, name: str, container: str
) -> None:
    path = tmp_path / f"clip.{suffix}"
    make_clip(path, codec=codec, frames=6)
    facts = facts_of(path)
    assert (facts.video.codec, facts.container) == (name, container)


def test_a_file_without_video_says_what_it_holds() -> None:
    with pytest.raises(MediaError, match="only 1 audio stream") as caught:
        facts_of(real("traits/bbb_audio_only.m4a"))
    assert caught.value.reason == "SOURCE_NO_VIDEO"


@pytest.mark.parametrize("data", [b"", b"no video at all" * 100])
def test_what_is_no_media_is_unreadable(data: bytes) -> None:
    with pytest.raises(MediaError) as caught:
        probe(io.BytesIO(data))
    assert caught.value.reason == "SOURCE_UNREADABLE"


def test_video_out_of_which_no_frame_comes_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    make_clip(path, frames=6, gop=100)
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    size = int.from_bytes(data[start - 8 : start - 4], "big") - 8
    data[start : start + size] = bytes(size)
    with pytest.raises(MediaError, match="h264") as caught:
        probe(io.BytesIO(data))
    assert caught.value.reason == "SOURCE_UNREADABLE"


def test_start_is_the_first_frame_that_really_comes_out() -> None:
    # The edit list hides frames, the transport stream starts below zero.
    assert facts_of(real("traits/bbb_h264_editlist.mp4")).video.start_pts == 0
    assert facts_of(real("traits/bbb_h264_ts_offset.ts")).video.start_pts == -270_000
    assert facts_of(real("traits/bbb_h264_video_late.mp4")).video.start_pts == 6144


def test_rotation_is_clockwise() -> None:
    # Written with `-display_rotation 90`, which is anticlockwise.
    assert facts_of(real("traits/bbb_h264_rot90.mp4")).video.rotation == 270


def test_hdr_is_told_by_depth_and_colour() -> None:
    video = facts_of(real("traits/bbb_hevc_hdr10.mp4")).video
    assert (video.profile, video.bit_depth) == ("Main 10", 10)
    colours = (video.color_primaries, video.color_transfer, video.color_space, video.color_range)
    assert colours == (9, 16, 9, 1)


def test_tracks_and_chapters_are_counted() -> None:
    facts = facts_of(real("traits/bbb_h264_multi.mkv"))
    assert [(a.codec, a.language) for a in facts.audio] == [("aac", "eng"), ("ac3", "fra")]
    assert [(s.codec, s.language) for s in facts.subtitles] == [
        ("subrip", "eng"),
        ("subrip", "fra"),
    ]
    assert facts.chapters == 4


def test_interlacing_is_seen_in_the_frame() -> None:
    assert facts_of(real("traits/bbb_h264_interlaced_tff.ts")).video.interlaced
    assert facts_of(real("traits/bbb_mpeg2_interlaced_ps.mpg")).video.interlaced


def test_average_rates_are_exact() -> None:
    rate = facts_of(real("traits/bbb_h264_2997_ac3.mov")).video.frame_rate
    assert rate == Fraction(30_000, 1001)


def test_a_long_file_is_hardly_read() -> None:
    file = CountingFile(real("long/bbb_720p_4min.mp4").read_bytes())
    probe(file)
    assert file.count < 1_000_000


def test_a_codec_that_nobody_knows_is_an_error_of_the_source(tmp_path: Path) -> None:
    path = tmp_path / "s.mp4"
    make_clip(path, frames=12)
    file = io.BytesIO(path.read_bytes().replace(b"avc1\0", b"zzzz\0"))
    with pytest.raises(MediaError) as caught:
        probe(file)
    assert caught.value.reason == "SOURCE_UNREADABLE"
