from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest

from reelsplit_server.media.errors import MediaError
from reelsplit_server.media.formats import AudioCodec, Container, VideoCodec, check_video_codec
from reelsplit_server.media.render import (
    Action,
    AudioMode,
    AudioSettings,
    RenderPlan,
    VideoSettings,
    render,
)
from tests.clips import AudioTrack, make_clip, read_numbers
from tests.unit.media.rendering import cut, times

RATE = Fraction(24)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds, open GOP of 12 with B-frames, two audio tracks."""
    path = tmp_path_factory.mktemp("render") / "clip.mp4"
    make_clip(
        path,
        frames=48,
        gop=12,
        bframes=3,
        open_gop=True,
        audio=[AudioTrack(language="eng"), AudioTrack(language="fra", frequency=880.0)],
    )
    return path


@pytest.mark.parametrize("container", Container)
@pytest.mark.parametrize("codec", VideoCodec)
def test_the_range_is_exact_in_every_container_and_codec(
    clip: Path, tmp_path: Path, container: Container, codec: VideoCodec
) -> None:
    if check_video_codec(codec, container):
        pytest.skip(f"{container.value} does not hold {codec.value}")
    out = tmp_path / f"out.{container.value}"
    result = cut(clip, out, 17 / RATE, 31 / RATE, video=VideoSettings(codec=codec))
    assert read_numbers(out) == list(range(17, 31))
    assert (result.start, result.end) == (17 / RATE, 31 / RATE)
    assert result.frame_count == result.encoded_frames == 14
    shown = times(out)
    tick = Fraction(1, 1000) if container in (Container.MKV, Container.WEBM) else Fraction(1, 90000)
    for index, time in enumerate(shown):
        assert abs(time - shown[0] - index / RATE) <= tick


@pytest.mark.parametrize("start", range(14))
def test_neighbouring_ranges_tile_at_every_kind_of_frame(
    clip: Path, tmp_path: Path, start: int
) -> None:
    out = tmp_path / "out.mkv"
    video = VideoSettings(preset="ultrafast")
    cut(clip, out, start / RATE, (start + 2) / RATE, video=video)
    assert read_numbers(out) == [start, start + 1]


def test_half_a_tick_is_forgiven(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    tick = Fraction(1, 12288)
    cut(clip, out, 5 / RATE + tick * 2 / 5, 7 / RATE - tick * 2 / 5)
    assert read_numbers(out) == [5, 6]


def test_a_constant_rate_stays_one_and_the_header_says_how_long(clip: Path, tmp_path: Path) -> None:
    mkv, mp4 = tmp_path / "a.mkv", tmp_path / "b.mp4"
    cut(clip, mkv, 0, None)
    result = cut(mkv, mp4, 11 / RATE, 37 / RATE)
    with av.open(str(mp4)) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == stream.base_rate == RATE
        assert (stream.duration or 0) * Fraction(stream.time_base or 0) == Fraction(26, 24)
        assert stream.frames == 26
    assert abs(result.duration - Fraction(26, 24)) <= Fraction(1, 1000)


def test_a_variable_rate_keeps_every_time(tmp_path: Path) -> None:
    source, out = tmp_path / "vfr.mp4", tmp_path / "out.mp4"
    stamps = [0, 3000, 7000, 7500, 15000, 21000, 60000, 63000, 64000, 70000]
    make_clip(
        source, frames=10, rate=30, times=stamps, time_base=Fraction(1, 90000), gop=5, bframes=2
    )
    result = cut(source, out, Fraction(7000, 90000), Fraction(64000, 90000))
    assert read_numbers(out) == [2, 3, 4, 5, 6, 7]
    assert times(out) == [Fraction(t - 7000, 90000) for t in stamps[2:8]]
    assert result.end == Fraction(64000, 90000)


def test_a_new_rate_shows_what_the_source_shows_then(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    result = cut(clip, out, 0, 1, video=VideoSettings(frame_rate=Fraction(12)))
    assert read_numbers(out) == list(range(0, 24, 2))
    cut(clip, out, 0, 1, video=VideoSettings(frame_rate=Fraction(48)))
    assert read_numbers(out) == [n // 2 for n in range(48)]
    assert result.frame_count == 12


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [(160, None, (160, 90)), (None, 90, (160, 90)), (160, 160, (160, 160)), (300, 60, (300, 60))],
)
def test_sizes(
    clip: Path, tmp_path: Path, width: int | None, height: int | None, size: tuple[int, int]
) -> None:
    out = tmp_path / "out.mp4"
    cut(clip, out, 0, Fraction(1, 4), width=width, height=height)
    with av.open(str(out)) as container:
        frame = next(container.decode(video=0))
        assert (frame.width, frame.height) == size


def test_ten_bits_stay_ten(tmp_path: Path) -> None:
    source, out = tmp_path / "s.mkv", tmp_path / "o.mp4"
    make_clip(source, codec="libx265", frames=12, pixel_format="yuv420p10le")
    result = cut(source, out, 0, None)
    with av.open(str(out)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt, context.codec_tag) == ("hevc", "yuv420p10le", "hvc1")
    assert result.reason is None


def test_a_codec_that_the_container_lacks_is_replaced_and_named(clip: Path, tmp_path: Path) -> None:
    result = cut(clip, tmp_path / "o.webm", 0, Fraction(1, 4))
    video, *audio = result.streams
    assert (video.codec, video.action) == ("vp9", Action.ENCODED)
    assert "h264" in (video.reason or "")
    assert {(stream.codec, stream.language) for stream in audio} == {
        ("opus", "eng"),
        ("opus", "fra"),
    }


def test_a_range_outside_the_source_has_a_reason(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(MediaError) as caught:
        cut(clip, tmp_path / "o.mp4", 5, 6)
    assert caught.value.reason == "RANGE_OUTSIDE_SOURCE"


def test_a_full_disk_has_a_reason(clip: Path) -> None:
    plan = RenderPlan(start=Fraction(0), end=Fraction(1), container=Container.TS)
    with clip.open("rb") as file, pytest.raises(MediaError) as caught:
        render(file, plan, "/dev/full")
    assert caught.value.reason == "DISK_FULL"
    assert not caught.value.transient


def test_settings_that_the_encoder_refuses_have_a_reason(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(MediaError) as caught:
        cut(
            clip,
            tmp_path / "o.mp4",
            0,
            1,
            video=VideoSettings(
                codec=VideoCodec.H264, profile="baseline", pixel_format="yuv420p10le"
            ),
        )
    assert caught.value.reason == "ENCODER_REFUSED"


def test_a_damaged_stretch_is_skipped_and_counted(clip: Path, tmp_path: Path) -> None:
    source, broken, out = tmp_path / "s.mkv", tmp_path / "b.mkv", tmp_path / "o.mp4"
    make_clip(source, frames=96, gop=12, size=(640, 360))
    data = bytearray(source.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = b"\x00" * 3000
    broken.write_bytes(data)
    result = cut(broken, out, 0, None)
    assert result.damaged > 0
    assert 40 < result.frame_count <= 96


def test_progress_counts_the_frames_that_have_come_out(clip: Path, tmp_path: Path) -> None:
    heard: list[int] = []
    plan = RenderPlan(start=Fraction(0), end=Fraction(1, 2), container=Container.MP4)
    with clip.open("rb") as file:
        render(file, plan, tmp_path / "o.mp4", heard.append)
    # An encoder holds frames back; that it took them says little of how long it will take.
    assert heard[0] == 0
    assert heard == sorted(heard)
    assert heard[-1] == 12


@pytest.mark.parametrize("codec", AudioCodec)
@pytest.mark.parametrize("container", [Container.MP4, Container.MKV])
def test_encoded_audio_is_as_long_as_the_range(
    clip: Path, tmp_path: Path, codec: AudioCodec, container: Container
) -> None:
    out = tmp_path / f"o.{container.value}"
    cut(
        clip,
        out,
        7 / RATE,
        31 / RATE,
        audio=AudioSettings(codec=codec, bit_rate=64_000, sample_rate=24_000, channels=1),
    )
    with av.open(str(out)) as opened:
        stream = opened.streams.audio[0]
        assert (stream.codec_context.sample_rate, stream.codec_context.channels) in (
            (24_000, 1),
            (48_000, 1),  # decoders of Opus always say 48 kHz
        )
        frames = list(opened.decode(audio=0))
    rate = frames[0].sample_rate
    first = Fraction(frames[0].pts or 0) * Fraction(frames[0].time_base or 0)
    assert abs(first) <= Fraction(1, 1000)
    heard = Fraction(sum(frame.samples for frame in frames), rate)
    # A decoder may give all of the last packet.
    assert 0 <= heard - 1 <= Fraction(1024, 24_000)


def test_copied_audio_keeps_languages_and_stays_in_step(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.mp4"
    result = cut(clip, out, 10 / RATE, 34 / RATE)
    assert [stream.action for stream in result.streams[1:]] == [Action.COPIED] * 2
    with av.open(str(out)) as opened:
        assert [stream.language for stream in opened.streams.audio] == ["eng", "fra"]
        for stream in opened.streams.audio:
            assert (stream.duration or 0) * Fraction(stream.time_base or 0) == 1
            assert stream.start_time == 0


def test_no_audio_where_none_is_asked_for(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.mp4"
    result = cut(clip, out, 0, 1, audio=AudioSettings(codec=AudioMode.NONE))
    assert [stream.action for stream in result.streams[1:]] == [Action.DROPPED] * 2
    with av.open(str(out)) as opened:
        assert not opened.streams.audio
