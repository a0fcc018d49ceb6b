"""Media assets in the shapes of the dialect, in which all numbers are texts."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any

from reelsplit.types.job import SourceInfo
from reelsplit.types.media import Media, MediaState
from reelsplit_server.app.buckets import Buckets
from reelsplit_server.app.media import Asset
from reelsplit_server.ims.job_answers import moment

STATES: Mapping[str, MediaState] = {
    "Init": MediaState.PENDING,
    "Preparing": MediaState.PROBING,
    "PrepareFail": MediaState.FAILED,
    "Normal": MediaState.READY,
}
_NAMES = {state: name for name, state in STATES.items()}
DETAILS = ("Description", "MediaTags", "CoverURL", "BusinessType", "CateId", "ReferenceId")
"""What the dialect keeps of an asset beside the contract's fields."""
BUSINESS_TYPE = "general"
"""That of assets that were registered without one."""


def media_answer(asset: Asset, buckets: Buckets, *, streams: bool, files: bool) -> dict[str, Any]:
    """An asset; ``files`` tells whether with its file's facts, ``streams`` with those of the
    streams."""
    media = asset.media
    answer: dict[str, Any] = {"MediaId": media.media_id, "MediaBasicInfo": _basic(asset)}
    if files:
        made: dict[str, Any] = {"FileBasicInfo": _file(media, buckets)}
        if streams and media.source is not None:
            made |= _streams(media.source)
        answer["FileInfoList"] = [made]
    return answer


def _basic(asset: Asset) -> dict[str, Any]:
    media, details = asset.media, asset.details
    answer: dict[str, Any] = {
        "MediaId": media.media_id,
        "InputURL": media.uri,
        "MediaType": "video",
        "BusinessType": details.get("BusinessType", BUSINESS_TYPE),
        "Source": "oss",
        "Title": media.title,
        "Description": details.get("Description", ""),
        "MediaTags": details.get("MediaTags", ""),
        "CoverURL": details.get("CoverURL", ""),
        "UserData": media.user_data,
        "Status": _NAMES[media.state],
        "CreateTime": moment(media.create_time),
        "ModifiedTime": moment(media.update_time),
    }
    if "CateId" in details:
        answer["CateId"] = int(details["CateId"])
    if "ReferenceId" in details:
        answer["ReferenceId"] = details["ReferenceId"]
    return answer


def _file(media: Media, buckets: Buckets) -> dict[str, str]:
    name = PurePosixPath(buckets.named(media.uri, None).key).name
    answer = {
        "FileName": name,
        "FileUrl": media.uri,
        "FileStatus": _NAMES[media.state],
        "FileType": "source_file",
        "CreateTime": moment(media.create_time),
        "ModifiedTime": moment(media.update_time),
    }
    source = media.source
    if source is None:
        return answer
    answer |= {
        "FileSize": str(source.size_bytes),
        "FormatName": source.container,
        "Duration": _seconds(source),
        "Bitrate": _bit_rate(source),
    }
    if source.video is not None:
        answer |= {"Width": str(source.video.width), "Height": str(source.video.height)}
    return answer


def _streams(source: SourceInfo) -> dict[str, Any]:
    video = []
    if source.video is not None:
        info = source.video
        rate = _rate(info.frame_rate)
        video.append(
            {
                "Index": "0",
                "CodecName": info.codec,
                "Profile": info.profile,
                "Width": str(info.width),
                "Height": str(info.height),
                "PixFmt": info.pixel_format,
                "Fps": rate,
                "AvgFPS": rate,
                "Sar": _ratio(info.sample_aspect_ratio, ":"),
                "Timebase": _ratio(info.time_base, "/"),
                "Rotate": str(info.rotation),
                "Duration": _seconds(source),
                "NumFrames": str(source.frame_count or ""),
            }
        )
    audio = [
        {
            "Index": str(place),
            "CodecName": track.codec,
            "SampleRate": str(track.sample_rate),
            "Channels": str(track.channels),
            "Lang": track.language,
        }
        for place, track in enumerate(source.audio, len(video))
    ]
    subtitles = [
        {"Index": str(place), "CodecName": track.codec, "Lang": track.language}
        for place, track in enumerate(source.subtitles, len(video) + len(audio))
    ]
    return {
        "VideoStreamInfoList": video,
        "AudioStreamInfoList": audio,
        "SubtitleStreamInfoList": subtitles,
    }


def _seconds(source: SourceInfo) -> str:
    return "" if source.duration is None else f"{float(source.duration):.6f}"


def _bit_rate(source: SourceInfo) -> str:
    """Kilobits a second of the whole file."""
    if not source.duration:
        return ""
    return f"{source.size_bytes * 8 / 1000 / float(source.duration):.3f}"


def _rate(rate: Fraction | None) -> str:
    return "" if rate is None else f"{float(rate):.6g}"


def _ratio(value: Fraction | None, sign: str) -> str:
    return "" if value is None else f"{value.numerator}{sign}{value.denominator}"
