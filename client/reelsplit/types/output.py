"""Generated from reelsplit/v1/output.proto by scripts/generate_types.py; never edited."""

from __future__ import annotations

import dataclasses
import enum
from fractions import Fraction

from reelsplit.types.record import Record


class CutMode(enum.StrEnum):
    """CutMode says how a segment is cut out of its source."""

    UNSPECIFIED = "UNSPECIFIED"
    """The default value: AUTO."""

    AUTO = "AUTO"
    """Exactly the frames of the range, with as few as possible encoded again. Everything is
    encoded when a size, codec or rate is asked for.
    """

    KEYFRAME = "KEYFRAME"
    """Nothing is encoded; the bounds move outward to key frames. The segment tells the real
    ones.
    """

    EDIT_LIST = "EDIT_LIST"
    """Nothing is encoded; whole groups of pictures are copied and an edit list hides what
    lies outside. MP4 and MOV only.
    """

    ENCODE = "ENCODE"
    """Exactly the frames of the range, all encoded."""


class OverwritePolicy(enum.StrEnum):
    """OverwritePolicy says what happens when something is at a segment's location already."""

    UNSPECIFIED = "UNSPECIFIED"
    """The default value: REFUSE."""

    REFUSE = "REFUSE"
    """The segment fails with OUTPUT_EXISTS."""

    REPLACE = "REPLACE"
    """It is replaced, in one step."""


class VideoCodec(enum.StrEnum):
    """VideoCodec is a codec that video can be encoded to."""

    UNSPECIFIED = "UNSPECIFIED"
    """The default value: the source's codec where it can be."""

    H264 = "H264"
    """H.264, AVC."""

    HEVC = "HEVC"
    """H.265, HEVC."""

    AV1 = "AV1"
    """AV1."""

    VP9 = "VP9"
    """VP9."""


class AudioCodec(enum.StrEnum):
    """AudioCodec says what becomes of an audio track."""

    UNSPECIFIED = "UNSPECIFIED"
    """The default value: COPY."""

    COPY = "COPY"
    """The track is copied."""

    AAC = "AAC"
    """The track is encoded to AAC-LC."""

    OPUS = "OPUS"
    """The track is encoded to Opus."""

    NONE = "NONE"
    """Audio is left out."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Output(Record):
    """Output says where the segments go and how they are made. Fields that ask for nothing
    leave the source as it is.
    """

    uri_template: str
    """Required. The location of each segment: a path or URI with `{index}`, which counts from
    0 and takes a width (`{index:04d}`). `{start}` and `{end}` are the bounds in seconds
    with milliseconds, `{stem}` the source's name without its ending, `{job_id}` the job.
    The ending names the container: mp4, mov, mkv, webm or ts.
    """

    endpoint: str | None = None
    """Optional. The endpoint of the store, where it is not the configured one."""

    width: int | None = None
    """Optional. The width in pixels as displayed, even, 16 to 16384. With height missing the
    shape is kept; with both given the picture is fitted inside and padded.
    """

    height: int | None = None
    """Optional. The height in pixels as displayed, even, 16 to 16384."""

    video: VideoEncoding | None = None
    """Optional. How the video is encoded, where it is."""

    audio: AudioEncoding | None = None
    """Optional. What happens to the audio tracks."""

    cut_mode: CutMode | None = None
    """Optional. How segments are cut; AUTO by default."""

    overwrite_policy: OverwritePolicy | None = None
    """Optional. What happens when something is at the location already; REFUSE by default."""

    export_as_media: bool = False
    """Optional. Register each segment as a media asset."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class VideoEncoding(Record):
    """VideoEncoding says how video is encoded. Naming anything here asks for encoding."""

    codec: VideoCodec | None = None
    """Optional. The codec; by default the source's where it can be, else H.264 (VP9 in WebM)."""

    crf: float | None = None
    """Optional. How much quality or how many bits; by default a constant quality. Constant
    quality: 0 to 51 for H.264 and HEVC, 0 to 63 for AV1 and VP9; lower is better.
    """

    bit_rate: int | None = None
    """Optional. How much quality or how many bits; by default a constant quality. The mean
    rate in bits a second, at least 1,000.
    """

    max_bit_rate: int | None = None
    """Optional. The highest rate in bits a second; needs buffer_size."""

    buffer_size: int | None = None
    """Optional. The rate control buffer in bits; needs max_bit_rate."""

    preset: str | None = None
    """Optional. Speed against size: `ultrafast` to `placebo` for H.264 and HEVC, `0` to `13`
    for AV1, `0` to `8` for VP9.
    """

    gop: int | None = None
    """Optional. The most frames from one key frame to the next, 1 to 10,000."""

    frame_rate: Fraction | None = None
    """Optional. The frame rate; frames are repeated or left out. By default the source's
    times.
    """

    profile: str | None = None
    """Optional. The profile, as the encoder names it (`high`, `main10`, …)."""

    level: str | None = None
    """Optional. The level, as the encoder names it (`4.1`)."""

    pixel_format: str | None = None
    """Optional. The pixel format, as FFmpeg names it (`yuv420p`); by default the source's
    where the encoder takes it.
    """


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AudioEncoding(Record):
    """AudioEncoding says what happens to the audio tracks."""

    codec: AudioCodec | None = None
    """Optional. COPY by default; tracks that the container cannot hold are encoded to its
    default.
    """

    bit_rate: int | None = None
    """Optional. Bits a second for each track, 8,000 to 1,000,000; refused with COPY and NONE."""

    sample_rate: int | None = None
    """Optional. Samples a second; refused with COPY and NONE."""

    channels: int | None = None
    """Optional. Channels, 1 to 8; refused with COPY and NONE."""
