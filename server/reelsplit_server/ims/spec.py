"""From the parameters of SubmitSegmentationJob to the spec of a job."""

from __future__ import annotations

import json
import re
from fractions import Fraction

from reelsplit.types.output import Output, OverwritePolicy, VideoCodec, VideoEncoding
from reelsplit.types.spec import Input, JobSpec, ShotDetection, TimeRange, UserDefined
from reelsplit_server.app.buckets import Buckets
from reelsplit_server.ims.errors import ImsError, invalid, missing
from reelsplit_server.ims.parameters import Object, Parameters

_MODES = "UserDefined, which cuts the Ranges, or BasicClipSplit, which cuts the shots"
_MEDIA_ID = re.compile(r"[0-9a-f]{32}")
_SMALLEST, _LARGEST = 128, 4096
_MOST_SECONDS = 10 * 366 * 86400
_CODECS = {
    "h264": VideoCodec.H264,
    "avc": VideoCodec.H264,
    "h265": VideoCodec.HEVC,
    "hevc": VideoCodec.HEVC,
    "av1": VideoCodec.AV1,
    "vp9": VideoCodec.VP9,
}
# What people write for the rates of television.
_RATES = {
    Fraction("23.976"): Fraction(24000, 1001),
    Fraction("23.98"): Fraction(24000, 1001),
    Fraction("29.97"): Fraction(30000, 1001),
    Fraction("59.94"): Fraction(60000, 1001),
}
_FRACTION = re.compile(r"[0-9]{1,9}/[1-9][0-9]{0,8}", re.ASCII)


def job_spec(given: Parameters, buckets: Buckets, time_to_live: Fraction) -> JobSpec:
    """The spec that a request describes; raises `ImsError` and `AppError`. What each value may be
    is the use case's to say, but for what only this dialect demands."""
    config = given.object("InputConfig")
    output = given.object("OutputConfig")
    params = given.object("JobParams")
    if not config:
        raise missing("InputConfig", 'is required, such as {"Type":"OSS","Media":"oss://…"}')
    if not params:
        raise missing("JobParams", f"is required; its Mode is {_MODES}")
    if not output:
        raise missing("OutputConfig", "is required: OutputMediaTarget, Bucket and ObjectKey")
    user_data = given.text("UserData", most=2**16)
    notify_url, notify_segments = _notified(user_data)
    return JobSpec(
        input=_input(config, buckets),
        mode=_mode(params),
        output=_output(output, buckets),
        user_data=user_data,
        notify_url=notify_url,
        notify_segments=notify_segments,
        time_to_live=time_to_live,
    )


def _input(config: Object, buckets: Buckets) -> Input:
    kind, media = config.required("Type"), config.required("Media")
    if kind == "Media":
        if not _MEDIA_ID.fullmatch(media):
            raise invalid(
                config.at("Media"),
                "is no media id, which has 32 hexadecimal digits; locations go with Type OSS",
            )
        return Input(media_id=media)
    if kind != "OSS":
        raise invalid(
            config.at("Type"), "is neither OSS, for a location, nor Media, for a media id"
        )
    return buckets.source(media)


def _mode(params: Object) -> UserDefined | ShotDetection:
    mode = params.text("Mode")
    if mode is None:
        raise missing(params.at("Mode"), f"is required: {_MODES}")
    ranges = params.objects("Ranges")
    match mode:
        case "UserDefined":
            if not ranges:
                raise missing(
                    params.at("Ranges"),
                    'is required with Mode UserDefined, such as [{"In":0,"Out":10}]',
                )
            return UserDefined(ranges=[_range(item) for item in ranges])
        case "BasicClipSplit":
            if ranges:
                raise invalid(
                    params.at("Ranges"),
                    "belongs to Mode UserDefined; leave it out, or change the Mode",
                )
            return ShotDetection()
    raise invalid(params.at("Mode"), f"is none that is known; take {_MODES}")


def _range(item: Object) -> TimeRange:
    return TimeRange(start_offset=_seconds(item, "In"), end_offset=_seconds(item, "Out"))


def _seconds(item: Object, member: str) -> Fraction | float | int:
    value = item.number(member)
    if value is None:
        raise missing(item.at(member), "is required: seconds from the beginning")
    if not 0 <= value <= _MOST_SECONDS:
        raise invalid(item.at(member), f"is {value:g}; times lie from 0 s to ten years")
    return value


def _output(config: Object, buckets: Buckets) -> Output:
    target = config.required("OutputMediaTarget")
    if target != "oss-object":
        raise invalid(config.at("OutputMediaTarget"), "takes only oss-object")
    bucket, key = config.required("Bucket"), config.required("ObjectKey")
    if "{index}" not in key and "{index:" not in key:
        raise invalid(
            config.at("ObjectKey"), "lacks {index}, which tells the segments apart from 0 on"
        )
    endpoint = config.text("Endpoint")
    uri, endpoint = buckets.target(bucket, key, endpoint)
    return Output(
        uri_template=uri,
        endpoint=endpoint,
        width=_side(config, "Width"),
        height=_side(config, "Height"),
        video=_video(config.object("Video")),
        overwrite_policy=OverwritePolicy.REPLACE,
        export_as_media=config.switch("ExportAsNewMedia"),
    )


def _side(config: Object, member: str) -> int | None:
    value = config.whole(member)
    if value is not None and not _SMALLEST <= value <= _LARGEST:
        raise invalid(
            config.at(member), f"is {value}; it lies from {_SMALLEST} to {_LARGEST:,} pixels"
        )
    return value


def _video(video: Object | None) -> VideoEncoding | None:
    if not video:
        return None
    crf = video.number("Crf")
    highest, buffer = _kilobits(video, "Maxrate"), _kilobits(video, "Bufsize")
    if (highest is None) != (buffer is None):
        # An encoder needs both: one second of the highest rate is what most people take.
        highest = buffer = highest or buffer
    made = VideoEncoding(
        codec=_codec(video),
        crf=None if crf is None else float(crf),
        bit_rate=_kilobits(video, "Bitrate") if crf is None else None,
        max_bit_rate=highest,
        buffer_size=buffer,
        preset=_word(video, "Preset"),
        gop=_small(video, "Gop"),
        frame_rate=_rate(video),
        profile=_word(video, "Profile"),
        pixel_format=_word(video, "PixFmt"),
    )
    # Members that nobody asks for ask for nothing.
    return None if made == VideoEncoding() else made


def _codec(video: Object) -> VideoCodec | None:
    name = video.text("Codec")
    if name is None:
        return None
    codec = _CODECS.get(name.lower().replace(".", "").replace("-", ""))
    if codec is None:
        raise invalid(video.at("Codec"), "is none of H.264, H.265, AV1, VP9")
    return codec


def _kilobits(video: Object, member: str) -> int | None:
    value = video.number(member)
    if value is None:
        return None
    if not 1 <= value <= 10**6:
        raise invalid(video.at(member), f"is {value:g}; it lies from 1 to 1,000,000 Kbit")
    return round(value * 1000)


def _small(video: Object, member: str) -> int | None:
    value = video.whole(member)
    if value is not None and not 0 <= value <= 10**6:
        raise invalid(video.at(member), f"is {value}, which is no number that it can be")
    return value


def _word(video: Object, member: str) -> str | None:
    # Presets of AV1 and VP9 are numbers.
    if not video.has(member):
        return None
    try:
        return video.text(member)
    except ImsError:
        return str(video.whole(member))


def _rate(video: Object) -> Fraction | None:
    if not video.has("Fps"):
        return None
    try:
        text = (video.text("Fps") or "").strip()
        if _FRACTION.fullmatch(text):
            return Fraction(text)
    except ImsError:
        pass
    value = video.number("Fps")
    assert value is not None
    if not 0 < value <= 10_000:
        raise invalid(video.at("Fps"), f"is {value:g}; take a number such as 25 or 30000/1001")
    rate = Fraction(str(value)).limit_denominator(100_000)
    return _RATES.get(rate, rate)


def _notified(user_data: str | None) -> tuple[str | None, bool]:
    """The address that user data names for callbacks, and whether it is told of each segment;
    whether it is JSON at all is checked with the rest of the spec."""
    try:
        value = json.loads(user_data) if user_data else None
    except (ValueError, RecursionError):
        return None, False
    if not isinstance(value, dict):
        return None, False
    data = Object("UserData", value)
    address = data.text("NotifyAddress")
    return address, address is not None and data.switch("NotifySegments")
