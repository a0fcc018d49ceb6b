"""What to render, and what was rendered: plain records that cross the border of a worker."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction

from reelsplit_server.media.formats import AudioCodec, Container, VideoCodec


class CutMode(StrEnum):
    AUTO = "auto"
    """Frames are copied where the bitstream allows, and encoded around the borders where not; the
    range is exact."""
    EDIT_LIST = "edit_list"
    """Whole groups of pictures are copied, and an edit list hides what lies outside the range,
    which is exact. For MP4 and MOV."""
    ENCODE = "encode"
    """Every frame is decoded and encoded; the range is exact."""
    KEYFRAME = "keyframe"
    """Nothing is encoded; the range grows outwards to the next clean key frames."""


class AudioMode(StrEnum):
    """What is done with audio where no codec to encode to is named."""

    COPY = "copy"
    NONE = "none"


class Action(StrEnum):
    COPIED = "copied"
    ENCODED = "encoded"
    DROPPED = "dropped"


class StreamKind(StrEnum):
    VIDEO = "video"
    AUDIO = "audio"
    SUBTITLE = "subtitle"
    ATTACHMENT = "attachment"
    DATA = "data"


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoSettings:
    """How video is encoded. None is "not asked": the source's own or a sensible default."""

    codec: VideoCodec | None = None
    crf: float | None = None
    bit_rate: int | None = None
    """This, `max_bit_rate`: bits a second."""
    max_bit_rate: int | None = None
    buffer_size: int | None = None
    """Bits of the rate-control buffer; twice `max_bit_rate` where not given."""
    preset: str | None = None
    gop: int | None = None
    """Frames from key frame to key frame, at most."""
    frame_rate: Fraction | None = None
    """Frames a second, constant. None keeps every frame at its own time."""
    profile: str | None = None
    level: str | None = None
    pixel_format: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioSettings:
    codec: AudioCodec | AudioMode | None = None
    """None: copy what the container can hold, encode the rest to the container's default.
    COPY: the same, but drop the rest."""
    bit_rate: int | None = None
    """Bits a second; this and the next two apply to streams that are encoded."""
    sample_rate: int | None = None
    channels: int | None = None

    @property
    def asks_to_encode(self) -> bool:
        return (self.bit_rate or self.sample_rate or self.channels) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderPlan:
    """One segment to write. Times are seconds from the source's first presented frame."""

    start: Fraction
    end: Fraction | None = None
    """Exclusive; None is the source's end."""
    container: Container
    mode: CutMode = CutMode.ENCODE
    """What is really done stands in the result."""
    origin: int | None = None
    """Ticks of the source's video: the presentation time of t = 0. None: not known yet."""
    frame_count: int | None = None
    """How many frames the source has in the range, where they were counted."""
    width: int | None = None
    """Pixels as displayed. One of the two alone keeps the aspect; both fit the picture inside
    and fill up with black. The result has square pixels."""
    height: int | None = None
    video: VideoSettings = field(default_factory=VideoSettings)
    audio: AudioSettings = field(default_factory=AudioSettings)
    threads: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOutcome:
    """What became of one stream of the source."""

    kind: StreamKind
    source_index: int
    source_codec: str
    codec: str | None
    """In the output; None where dropped."""
    action: Action
    language: str | None = None
    reason: str | None = None
    """Why it was dropped, or encoded though it could have been asked for as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderResult:
    frame_count: int
    """Video frames in the output."""
    early_frames: int = 0
    """How many of them lie before the plan's start."""
    start: Fraction
    """Seconds from t = 0 to the first frame in the output, exactly."""
    end: Fraction
    """Seconds from t = 0 to the end of the last frame in the output."""
    start_pts: int
    """`start` and `end` on the source's own clock, in ticks of `time_base`."""
    end_pts: int
    time_base: Fraction
    """Seconds in a tick of the source's video stream."""
    duration: Fraction
    """Seconds of video in the output."""
    copied_frames: int
    encoded_frames: int
    damaged: int
    """Broken places of the source that were found: skipped, or as good as they decode."""
    broken: tuple[Fraction, Fraction] | None = None
    """Seconds from t = 0: the earliest and the latest of them whose time is known."""
    reason: str | None
    """Why it was encoded as it was, or what of the source's picture could not be kept."""
    streams: tuple[StreamOutcome, ...]
    mode: CutMode
    """What was really done."""
    decoded_frames: int
    """How many frames of the output were decoded to check it."""
    audio_offset: Fraction | None
    """Seconds by which the sound that is furthest off sounds late; None without sound."""
