from __future__ import annotations

import subprocess
import sys

import av
import pytest

from reelsplit_server.media import formats
from reelsplit_server.media.formats import AudioCodec, Container, VideoCodec


@pytest.mark.parametrize(
    ("name", "container"),
    [
        ("a.mp4", Container.MP4),
        ("dir.mkv/a.M4V", Container.MP4),
        ("s3://bucket/{index}.MOV", Container.MOV),
        ("a.b.mkv", Container.MKV),
        ("a.webm", Container.WEBM),
        ("a.ts", Container.TS),
        ("a.avi", None),
        ("mp4", None),
        (".mp4", None),
    ],
)
def test_a_container_is_chosen_by_the_ending(name: str, container: Container | None) -> None:
    assert formats.container_of(name) is container


def test_importing_formats_loads_no_codec_library() -> None:
    code = (
        "import sys, reelsplit_server.media.formats; "
        "print([m for m in ('av', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("container", Container)
def test_every_default_fits_its_container(container: Container) -> None:
    assert formats.check_video_codec(formats.DEFAULT_VIDEO[container], container) is None
    assert formats.check_audio_codec(formats.DEFAULT_AUDIO[container], container) is None


@pytest.mark.parametrize("codec", VideoCodec)
def test_every_pixel_format_in_the_table_is_one_the_encoder_takes(codec: VideoCodec) -> None:
    encoder = av.Codec(formats.ENCODERS[codec], "w")
    taken = {taken.name for taken in encoder.video_formats or ()}
    assert formats.PIXEL_FORMATS[codec] <= taken


@pytest.mark.parametrize("codec", AudioCodec)
def test_every_sample_rate_in_the_table_is_one_the_encoder_takes(codec: AudioCodec) -> None:
    rates = av.Codec(formats.ENCODERS[codec], "w").audio_rates
    assert rates is None or set(formats.SAMPLE_RATES[codec]) <= set(rates)


def test_what_fits_gives_no_sentence() -> None:
    assert formats.check_crf(VideoCodec.AV1, 63) is None
    assert formats.check_preset(VideoCodec.VP9, "realtime") is None
    assert formats.check_profile(VideoCodec.HEVC, "main10") is None
    assert formats.check_level(VideoCodec.H264, "4.1") is None
    assert formats.check_pixel_format(VideoCodec.H264, "yuv422p10le") is None
    assert formats.check_profile_with_pixel_format(VideoCodec.H264, "high10", "yuv420p10le") is None
    assert formats.check_sample_rate(AudioCodec.OPUS, 48_000) is None
    assert formats.check_channels(6) is None


def test_what_does_not_fit_is_told_with_what_would() -> None:
    sentences = [
        formats.check_video_codec(VideoCodec.H264, Container.WEBM),
        formats.check_audio_codec(AudioCodec.AAC, Container.WEBM),
        formats.check_crf(VideoCodec.H264, 52),
        formats.check_preset(VideoCodec.AV1, "veryfast"),
        formats.check_profile(VideoCodec.H264, "main10"),
        formats.check_level(VideoCodec.HEVC, "9"),
        formats.check_pixel_format(VideoCodec.VP9, "rgb24"),
        formats.check_profile_with_pixel_format(VideoCodec.H264, "main", "yuv420p10le"),
        formats.check_rates(crf=20, bit_rate=1, max_bit_rate=None, buffer_size=None),
        formats.check_rates(crf=None, bit_rate=2, max_bit_rate=1, buffer_size=None),
        formats.check_rates(crf=20, bit_rate=None, max_bit_rate=None, buffer_size=1),
        formats.check_max_bit_rate(VideoCodec.AV1, has_bit_rate=True),
        formats.check_sample_rate(AudioCodec.OPUS, 44_100),
        formats.check_channels(7),
    ]
    assert all(sentence and sentence.endswith(".") for sentence in sentences)
    assert "vp9" in (sentences[0] or "")
