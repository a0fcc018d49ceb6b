"""What containers hold, what encoders take: tables, and the sentences for what does not fit.

Pure data: imports nothing but the standard library, so that a request can be checked without
loading a codec. Codec names are FFmpeg's canonical ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import PurePosixPath
from types import MappingProxyType


class Container(StrEnum):
    MP4 = "mp4"
    MOV = "mov"
    MKV = "mkv"
    WEBM = "webm"
    TS = "ts"


class VideoCodec(StrEnum):
    """The video codecs that can be encoded to; others can only be copied."""

    H264 = "h264"
    HEVC = "hevc"
    AV1 = "av1"
    VP9 = "vp9"


class AudioCodec(StrEnum):
    """The audio codecs that can be encoded to; others can only be copied."""

    AAC = "aac"
    OPUS = "opus"


ENDINGS: Mapping[str, Container] = MappingProxyType(
    {
        ".mp4": Container.MP4,
        ".m4v": Container.MP4,
        ".mov": Container.MOV,
        ".mkv": Container.MKV,
        ".webm": Container.WEBM,
        ".ts": Container.TS,
    }
)

#: FFmpeg's name of the muxer that writes each container.
MUXERS: Mapping[Container, str] = MappingProxyType(
    {
        Container.MP4: "mp4",
        Container.MOV: "mov",
        Container.MKV: "matroska",
        Container.WEBM: "webm",
        Container.TS: "mpegts",
    }
)

_PCM = frozenset(
    {
        "pcm_s16le",
        "pcm_s16be",
        "pcm_s24le",
        "pcm_s24be",
        "pcm_s32le",
        "pcm_f32le",
        "pcm_u8",
        "pcm_alaw",
        "pcm_mulaw",
    }
)

_ISO_VIDEO = frozenset({"h264", "hevc", "mpeg4", "mpeg2video", "mpeg1video", "mjpeg"})

#: The video codecs that each container takes, for copying too. Narrower than FFmpeg's own lists:
#: what only FFmpeg itself reads back is left out.
VIDEO_IN: Mapping[Container, frozenset[str]] = MappingProxyType(
    {
        Container.MP4: _ISO_VIDEO | {"av1", "vp9", "vc1"},
        Container.MOV: _ISO_VIDEO | {"prores", "dnxhd", "qtrle", "png", "dvvideo"},
        Container.MKV: _ISO_VIDEO | {"av1", "vp9", "vp8", "prores", "ffv1", "theora"},
        Container.WEBM: frozenset({"vp8", "vp9", "av1"}),
        Container.TS: frozenset({"h264", "hevc", "mpeg4", "mpeg2video", "mpeg1video"}),
    }
)

AUDIO_IN: Mapping[Container, frozenset[str]] = MappingProxyType(
    {
        Container.MP4: frozenset({"aac", "mp3", "mp2", "ac3", "eac3", "opus", "flac", "alac"}),
        Container.MOV: frozenset({"aac", "mp3", "ac3", "eac3", "alac"}) | _PCM,
        Container.MKV: frozenset({"aac", "mp3", "mp2", "ac3", "eac3", "opus", "flac", "alac"})
        | {"vorbis", "dts", "truehd"}
        | _PCM - {"pcm_alaw", "pcm_mulaw"},
        Container.WEBM: frozenset({"opus", "vorbis"}),
        Container.TS: frozenset({"aac", "mp3", "mp2", "ac3", "eac3", "dts", "truehd", "opus"}),
    }
)

#: Subtitles that are text, in whatever wrapping; they can be turned into one another.
TEXT_SUBTITLES = frozenset({"subrip", "ass", "mov_text", "webvtt", "text"})

SUBTITLE_IN: Mapping[Container, frozenset[str]] = MappingProxyType(
    {
        Container.MP4: frozenset({"mov_text"}),
        Container.MOV: frozenset({"mov_text"}),
        Container.MKV: frozenset(
            {"subrip", "ass", "webvtt", "hdmv_pgs_subtitle", "dvd_subtitle", "dvb_subtitle"}
        ),
        Container.WEBM: frozenset({"webvtt"}),
        Container.TS: frozenset(),
    }
)

DEFAULT_VIDEO: Mapping[Container, VideoCodec] = MappingProxyType(
    {
        container: VideoCodec.VP9 if container is Container.WEBM else VideoCodec.H264
        for container in Container
    }
)

DEFAULT_AUDIO: Mapping[Container, AudioCodec] = MappingProxyType(
    {
        container: AudioCodec.OPUS if container is Container.WEBM else AudioCodec.AAC
        for container in Container
    }
)

#: What text subtitles of another kind become; None where the container has none.
DEFAULT_SUBTITLE: Mapping[Container, str | None] = MappingProxyType(
    {
        Container.MP4: "mov_text",
        Container.MOV: "mov_text",
        Container.MKV: "subrip",
        Container.WEBM: "webvtt",
        Container.TS: None,
    }
)

#: FFmpeg's name of the encoder for each codec.
ENCODERS: Mapping[VideoCodec | AudioCodec, str] = MappingProxyType(
    {
        VideoCodec.H264: "libx264",
        VideoCodec.HEVC: "libx265",
        VideoCodec.AV1: "libsvtav1",
        VideoCodec.VP9: "libvpx-vp9",
        AudioCodec.AAC: "aac",
        AudioCodec.OPUS: "libopus",
    }
)

#: Lowest and highest constant rate factor; 0 is the best picture.
CRF_RANGE: Mapping[VideoCodec, tuple[int, int]] = MappingProxyType(
    {
        VideoCodec.H264: (0, 51),
        VideoCodec.HEVC: (0, 51),
        VideoCodec.AV1: (0, 63),
        VideoCodec.VP9: (0, 63),
    }
)

_X26X_PRESETS = (
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
    "placebo",
)

#: Preset names, fastest first. AV1: SVT-AV1's numbers. VP9: libvpx's "cpu-used" numbers, 5
#: to 0 with its "good" deadline and 8 to 6 with "realtime"; and three names: "realtime" (as 8),
#: "good" (as 2) and "best" (deadline best, cpu-used 0).
PRESETS: Mapping[VideoCodec, tuple[str, ...]] = MappingProxyType(
    {
        VideoCodec.H264: _X26X_PRESETS,
        VideoCodec.HEVC: _X26X_PRESETS,
        VideoCodec.AV1: tuple(str(n) for n in range(13, -1, -1)),
        VideoCodec.VP9: ("realtime", *(str(n) for n in range(8, -1, -1)), "good", "best"),
    }
)

_420 = frozenset({"yuv420p", "yuvj420p"})
_422 = frozenset({"yuv422p", "yuvj422p"})
_444 = frozenset({"yuv444p", "yuvj444p"})
_GRAY = frozenset({"gray"})

#: Profiles of each codec, and the pixel formats that each can carry.
PROFILES: Mapping[VideoCodec, Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        VideoCodec.H264: MappingProxyType(
            {
                "baseline": _420,
                "main": _420,
                "high": _420 | _GRAY,
                "high10": _420 | _GRAY | {"yuv420p10le", "gray10le"},
                "high422": _420 | _422 | _GRAY | {"yuv420p10le", "yuv422p10le", "gray10le"},
                "high444": _420
                | _422
                | _444
                | _GRAY
                | {"yuv420p10le", "yuv422p10le", "yuv444p10le", "gray10le"},
            }
        ),
        VideoCodec.HEVC: MappingProxyType(
            {
                "main": _420,
                "main10": frozenset({"yuv420p10le"}),
                "main12": frozenset({"yuv420p12le"}),
                "main422-10": frozenset({"yuv422p10le"}),
                "main422-12": frozenset({"yuv422p12le"}),
                "main444-8": _444,
                "main444-10": frozenset({"yuv444p10le"}),
                "main444-12": frozenset({"yuv444p12le"}),
            }
        ),
        VideoCodec.AV1: MappingProxyType({"main": frozenset({"yuv420p", "yuv420p10le"})}),
        VideoCodec.VP9: MappingProxyType(
            {"0": frozenset({"yuv420p"}), "1": frozenset({"yuv422p", "yuv440p", "yuv444p"})}
        ),
    }
)

#: Every pixel format that a codec can be encoded with, here. (VP9: this libvpx has 8 bits only.)
PIXEL_FORMATS: Mapping[VideoCodec, frozenset[str]] = MappingProxyType(
    {
        codec: frozenset().union(*profiles.values()) | (_422 if codec == "hevc" else frozenset())
        for codec, profiles in PROFILES.items()
    }
)

_LEVELS_H264 = ("1", "1b", "1.1", "1.2", "1.3", "2", "2.1", "2.2", "3", "3.1", "3.2", "4", "4.1")
_LEVELS_HEVC = ("1", "2", "2.1", "3", "3.1", "4", "4.1", "5", "5.1", "5.2", "6", "6.1", "6.2")

LEVELS: Mapping[VideoCodec, frozenset[str]] = MappingProxyType(
    {
        VideoCodec.H264: frozenset(_LEVELS_H264)
        | {"1.0", "2.0", "3.0", "4.0", "4.2", "5", "5.0", "5.1", "5.2", "6", "6.0", "6.1", "6.2"},
        VideoCodec.HEVC: frozenset(_LEVELS_HEVC) | {"1.0", "2.0", "3.0", "4.0", "5.0", "6.0"},
        VideoCodec.AV1: frozenset(
            f"{major}.{minor}" for major in range(2, 8) for minor in range(4)
        ),
        VideoCodec.VP9: frozenset(
            {"1", "1.0", "1.1", "2", "2.0", "2.1", "3", "3.0", "3.1", "4", "4.0", "4.1"}
            | {"5", "5.0", "5.1", "5.2", "6", "6.0", "6.1", "6.2"}
        ),
    }
)

#: Sample rates, in hertz, that each audio encoder takes.
SAMPLE_RATES: Mapping[AudioCodec, tuple[int, ...]] = MappingProxyType(
    {
        AudioCodec.AAC: (
            *(7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
            *(64000, 88200, 96000),
        ),
        AudioCodec.OPUS: (8000, 12000, 16000, 24000, 48000),
    }
)

#: Channel counts, and the layout that each is encoded with. Seven are left out: AAC has no
#: layout for them.
LAYOUTS: Mapping[int, str] = MappingProxyType(
    {1: "mono", 2: "stereo", 3: "3.0", 5: "5.0", 6: "5.1", 8: "7.1"}
)


def container_of(name: str) -> Container | None:
    """The container that a file name's ending asks for, in either case, or None."""
    return ENDINGS.get(PurePosixPath(name).suffix.lower())


def check_video_codec(codec: VideoCodec, container: Container) -> str | None:
    """A sentence where `container` cannot hold `codec`, else None."""
    if codec.value in VIDEO_IN[container]:
        return None
    fitting = ", ".join(c.value for c in VideoCodec if c.value in VIDEO_IN[container])
    return f"A .{container.value} file cannot hold {codec.value} video. It can hold: {fitting}."


def check_audio_codec(codec: AudioCodec, container: Container) -> str | None:
    """A sentence where `container` cannot hold `codec`, else None."""
    if codec.value in AUDIO_IN[container]:
        return None
    fitting = ", ".join(c.value for c in AudioCodec if c.value in AUDIO_IN[container])
    return f"A .{container.value} file cannot hold {codec.value} audio. It can hold: {fitting}."


def check_crf(codec: VideoCodec, crf: float) -> str | None:
    """A sentence where `crf` is out of the codec's range, else None."""
    low, high = CRF_RANGE[codec]
    if low <= crf <= high:
        return None
    return f"The constant rate factor of {codec.value} lies from {low} to {high}, not at {crf:g}."


def check_preset(codec: VideoCodec, preset: str) -> str | None:
    """A sentence where the codec has no such preset, else None."""
    return _check_name("preset", codec, preset, PRESETS[codec])


def check_profile(codec: VideoCodec, profile: str) -> str | None:
    """A sentence where the codec has no such profile, else None."""
    return _check_name("profile", codec, profile, PROFILES[codec])


def check_level(codec: VideoCodec, level: str) -> str | None:
    """A sentence where the codec has no such level, else None."""
    return _check_name("level", codec, level, sorted(LEVELS[codec]))


def check_pixel_format(codec: VideoCodec, pixel_format: str) -> str | None:
    """A sentence where the codec's encoder cannot take the pixel format, else None."""
    return _check_name("pixel format", codec, pixel_format, sorted(PIXEL_FORMATS[codec]))


def check_profile_with_pixel_format(
    codec: VideoCodec, profile: str, pixel_format: str
) -> str | None:
    """A sentence where both are known, but the profile cannot carry the pixel format."""
    carried = PROFILES[codec].get(profile)
    if carried is None or pixel_format not in PIXEL_FORMATS[codec] or pixel_format in carried:
        return None
    names = ", ".join(sorted(carried))
    return (
        f"The {codec.value} profile {profile} cannot carry the pixel format {pixel_format}. "
        f"It carries: {names}."
    )


def check_rates(
    *, crf: float | None, bit_rate: int | None, max_bit_rate: int | None, buffer_size: int | None
) -> str | None:
    """A sentence where the rate settings contradict one another, else None. Bits and bits/s."""
    if crf is not None and bit_rate is not None:
        return "Name a constant rate factor or a bit rate, not both."
    if bit_rate is not None and max_bit_rate is not None and max_bit_rate < bit_rate:
        return f"The highest bit rate ({max_bit_rate}) is below the bit rate ({bit_rate})."
    if buffer_size is not None and max_bit_rate is None:
        return "A rate-control buffer needs a highest bit rate."
    return None


def check_max_bit_rate(codec: VideoCodec, *, has_bit_rate: bool) -> str | None:
    """A sentence where the codec's encoder cannot hold a highest bit rate, else None."""
    if codec is VideoCodec.AV1 and has_bit_rate:
        return "The av1 encoder takes a highest bit rate only without a bit rate."
    return None


def check_sample_rate(codec: AudioCodec, sample_rate: int) -> str | None:
    """A sentence where the encoder does not take the sample rate (hertz), else None."""
    if sample_rate in SAMPLE_RATES[codec]:
        return None
    rates = ", ".join(str(rate) for rate in SAMPLE_RATES[codec])
    return f"The {codec.value} encoder takes these sample rates: {rates}; not {sample_rate}."


def check_channels(channels: int) -> str | None:
    """A sentence where audio cannot be encoded to so many channels, else None."""
    if channels in LAYOUTS:
        return None
    counts = ", ".join(str(count) for count in LAYOUTS)
    return f"Audio can be encoded to these numbers of channels: {counts}; not {channels}."


def profile_for(codec: VideoCodec, pixel_format: str) -> str | None:
    """The lowest profile, in the table's order, that carries the pixel format."""
    for profile, formats in PROFILES[codec].items():
        if pixel_format in formats:
            return profile
    return None


def _check_name(
    what: str,
    codec: VideoCodec,
    name: str,
    known: Mapping[str, object] | list[str] | tuple[str, ...],
) -> str | None:
    if name in known:
        return None
    return f"{codec.value} has no {what} {name!r}. It has: {', '.join(known)}."
