"""Which encoder is chosen where none is named."""

from __future__ import annotations

import pytest

from reelsplit_server.media.encoder import choose
from reelsplit_server.media.formats import Container, VideoCodec
from reelsplit_server.media.plan import VideoSettings


@pytest.mark.parametrize("codec", list(VideoCodec))
def test_the_sources_codec_is_kept_where_it_can_be(codec: VideoCodec) -> None:
    choice = choose(codec.value, "yuv420p", Container.MKV, VideoSettings())
    assert choice.codec is codec
    assert choice.reasons == ()


def test_a_codec_without_encoder_becomes_h264_and_says_so() -> None:
    choice = choose("mpeg2video", "yuv420p", Container.MP4, VideoSettings())
    assert choice.codec is VideoCodec.H264
    assert choice.reasons == ("there is no encoder for mpeg2video here; h264 was used",)


def test_settings_that_the_sources_codec_does_not_know_choose_another() -> None:
    choice = choose("av1", "yuv420p", Container.MP4, VideoSettings(preset="veryfast", crf=22))
    assert choice.codec is VideoCodec.H264
    assert choice.reasons == ("av1 does not take the settings asked for; h264 was used",)


def test_the_fallback_is_one_that_the_container_holds_and_that_takes_the_settings() -> None:
    choice = choose("h264", "yuv420p", Container.WEBM, VideoSettings(preset="12"))
    assert choice.codec is VideoCodec.AV1
    assert choice.reasons == ("a .webm file cannot hold h264; av1 was used",)
