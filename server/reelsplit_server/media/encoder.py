"""Which video encoder is used, with which settings, for which kind of picture."""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction

from av.codec.codec import find_best_pix_fmt_of_list

from reelsplit_server.media.formats import (
    CRF_RANGE,
    DEFAULT_VIDEO,
    PIXEL_FORMATS,
    PROFILES,
    VIDEO_IN,
    Container,
    VideoCodec,
    check_crf,
    check_level,
    check_pixel_format,
    check_preset,
    check_profile,
    profile_for,
)
from reelsplit_server.media.hdr import Hdr
from reelsplit_server.media.plan import VideoSettings

#: Quality and speed where nothing is asked for: visually close to the source at a few times
#: real time a core (720p).
_DEFAULT_CRF = {
    VideoCodec.H264: 20,
    VideoCodec.HEVC: 22,
    VideoCodec.AV1: 30,
    VideoCodec.VP9: 31,
}
_DEFAULT_PRESET = {
    VideoCodec.H264: "veryfast",
    VideoCodec.HEVC: "veryfast",
    VideoCodec.AV1: "10",
    VideoCodec.VP9: "5",
}
#: Seconds between key frames, at most, where nothing is asked for.
_DEFAULT_GOP = 4

_VP9_NAMED = {"realtime": ("realtime", "8"), "good": ("good", "2"), "best": ("best", "0")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    codec: VideoCodec
    pixel_format: str
    reasons: tuple[str, ...]


def choose(
    source_codec: str, source_format: str, container: Container, asked: VideoSettings
) -> Choice:
    """The codec and pixel format to encode to, and why where they are not the source's."""
    reasons: list[str] = []
    codec = asked.codec
    if codec is None:
        known = {c.value: c for c in VideoCodec}.get(source_codec)
        why = None
        if known is None:
            why = f"there is no encoder for {source_codec} here"
        elif source_codec not in VIDEO_IN[container]:
            why = f"a .{container.value} file cannot hold {source_codec}"
        elif not _encodes(known, source_format):
            why = f"{source_codec} cannot be encoded with {source_format} here"
        elif not _takes(known, asked):
            why = f"{source_codec} does not take the settings asked for"
        codec = known if known is not None and why is None else _fallback(container, asked)
        if why is not None and codec is not known:
            reasons.append(f"{why}; {codec.value} was used")
    wanted = asked.pixel_format or _format_for(codec, source_format, asked.profile)
    if asked.pixel_format is None and wanted.replace("yuvj", "yuv") != source_format.replace(
        "yuvj", "yuv"
    ):
        reasons.append(f"{source_format} pictures became {wanted}")
    return Choice(codec=codec, pixel_format=wanted, reasons=tuple(reasons))


def _fallback(container: Container, asked: VideoSettings) -> VideoCodec:
    """The container's default, or another that it holds and that takes the settings."""
    default = DEFAULT_VIDEO[container]
    others = [codec for codec in VideoCodec if codec.value in VIDEO_IN[container]]
    return next((codec for codec in (default, *others) if _takes(codec, asked)), default)


def _takes(codec: VideoCodec, asked: VideoSettings) -> bool:
    """Whether all that is asked for is known to the codec, as far as the tables tell."""
    checks = (
        asked.crf is not None and check_crf(codec, asked.crf),
        asked.preset is not None and check_preset(codec, asked.preset),
        asked.profile is not None and check_profile(codec, asked.profile),
        asked.level is not None and check_level(codec, asked.level),
        asked.pixel_format is not None and check_pixel_format(codec, asked.pixel_format),
    )
    return not any(checks)


def _encodes(codec: VideoCodec, pixel_format: str) -> bool:
    return pixel_format.replace("yuvj", "yuv") in PIXEL_FORMATS[codec]


def _format_for(codec: VideoCodec, source_format: str, profile: str | None) -> str:
    formats = PIXEL_FORMATS[codec]
    if profile is not None:
        formats = PROFILES[codec].get(profile, formats)
    if source_format in formats:
        return source_format
    if source_format.replace("yuvj", "yuv") in formats:
        return source_format.replace("yuvj", "yuv")
    best, _ = find_best_pix_fmt_of_list(
        sorted(name for name in formats if not name.startswith("yuvj")), source_format
    )
    return best.name if best is not None else "yuv420p"


def encoder_options(
    codec: VideoCodec,
    asked: VideoSettings,
    *,
    rate: Fraction,
    pixel_format: str,
    threads: int,
    interlaced: bool,
    hdr: Hdr | None,
    sets_in_band: bool,
) -> dict[str, str]:
    """The options, FFmpeg's own and the encoder's, for one run."""
    options: dict[str, str] = {"g": str(asked.gop or max(1, round(rate * _DEFAULT_GOP)))}
    options["flags"] = "+cgop"
    if interlaced and codec is VideoCodec.H264:
        options["flags"] += "+ildct+ilme"
    if asked.bit_rate is not None:
        options["b"] = str(asked.bit_rate)
    else:
        low, high = CRF_RANGE[codec]
        crf = _DEFAULT_CRF[codec] if asked.crf is None else min(max(asked.crf, low), high)
        options["crf"] = (
            f"{crf:g}" if codec in (VideoCodec.H264, VideoCodec.HEVC) else str(round(crf))
        )
    if asked.max_bit_rate is not None:
        options["maxrate"] = str(asked.max_bit_rate)
        options["bufsize"] = str(asked.buffer_size or 2 * asked.max_bit_rate)
    preset = asked.preset or _DEFAULT_PRESET[codec]
    match codec:
        case VideoCodec.H264:
            return options | _x264(asked, preset, hdr)
        case VideoCodec.HEVC:
            return options | _x265(asked, preset, pixel_format, threads, hdr, sets_in_band)
        case VideoCodec.AV1:
            return options | _svt_av1(asked, preset, threads, hdr)
        case VideoCodec.VP9:
            if asked.bit_rate is None and "maxrate" in options:
                # libvpx's "constrained quality": the rate factor, within this bit rate.
                options["b"] = options.pop("maxrate")
                del options["bufsize"]
            return {"b": "0"} | options | _vp9(asked, preset, threads)


def _x264(asked: VideoSettings, preset: str, hdr: Hdr | None) -> dict[str, str]:
    options = {"preset": preset}
    if asked.profile:
        options["profile"] = asked.profile
    if asked.level:
        options["level"] = asked.level
    parameters = ["open-gop=0"]
    if hdr is not None:
        if display := hdr.integers():
            parameters.append(f"mastering-display={display}")
        if hdr.light:
            parameters.append(f"cll={hdr.light[0]},{hdr.light[1]}")
    return options | {"x264-params": ":".join(parameters)}


def _x265(
    asked: VideoSettings,
    preset: str,
    pixel_format: str,
    threads: int,
    hdr: Hdr | None,
    sets_in_band: bool,
) -> dict[str, str]:
    options = {"preset": preset}
    profile = asked.profile or profile_for(VideoCodec.HEVC, pixel_format)
    if profile:
        options["profile"] = profile
    # x265 writes its log to stderr itself, and else starts a thread for every core.
    parameters = ["open-gop=0", "log-level=none"]
    if threads == 1:
        parameters += ["pools=none", "frame-threads=1", "wpp=0"]
    else:
        parameters += [f"pools={threads}", f"frame-threads={min(threads, 4)}"]
    if asked.level:
        parameters.append(f"level-idc={asked.level}")
    if hdr is not None:
        parameters.append("hdr10=1")
        if display := hdr.integers():
            parameters.append(f"master-display={display}")
        if hdr.light:
            parameters.append(f"max-cll={hdr.light[0]},{hdr.light[1]}")
    # Which hdr10 turns on by itself.
    parameters.append(f"repeat-headers={int(sets_in_band)}")
    return options | {"x265-params": ":".join(parameters)}


def _svt_av1(asked: VideoSettings, preset: str, threads: int, hdr: Hdr | None) -> dict[str, str]:
    # SVT-AV1 writes its log to stderr itself; this is its only switch.
    os.environ.setdefault("SVT_LOG", "1")
    parameters = [f"lp={threads}"]
    if asked.level:
        parameters.append(f"level={round(float(asked.level) * 10)}")
    if hdr is not None:
        if display := hdr.decimals():
            parameters.append(f"mastering-display={display}")
        if hdr.light:
            parameters.append(f"content-light={hdr.light[0]},{hdr.light[1]}")
    return {"preset": preset, "svtav1-params": ":".join(parameters)}


def _vp9(asked: VideoSettings, preset: str, threads: int) -> dict[str, str]:
    deadline, speed = _VP9_NAMED.get(preset, ("good", preset))
    if int(speed) > 5 and deadline == "good":
        # libvpx takes more than 5 with its realtime deadline only.
        deadline = "realtime"
    options = {"deadline": deadline, "cpu-used": speed, "row-mt": "1" if threads > 1 else "0"}
    if asked.level:
        options["level"] = asked.level
    return options
