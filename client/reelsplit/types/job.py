"""Generated from reelsplit/v1/job.proto by scripts/generate_types.py; never edited."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence
from datetime import datetime
from fractions import Fraction

from reelsplit.types.record import Record, Seconds
from reelsplit.types.error import Error
from reelsplit.types.segment import Notice
from reelsplit.types.spec import JobSpec, ReportKind


class JobState(enum.StrEnum):
    """JobState is the state of a job."""

    UNSPECIFIED = "UNSPECIFIED"
    """The default value; never sent."""

    PENDING = "PENDING"
    """It waits for its turn."""

    RUNNING = "RUNNING"
    """It is being worked on."""

    CANCELLING = "CANCELLING"
    """Its workers are being stopped."""

    SUCCEEDED = "SUCCEEDED"
    """Every segment is published."""

    FAILED = "FAILED"
    """Its error says why. Segments that were published stay."""

    CANCELLED = "CANCELLED"
    """It was cancelled. Segments that were published stay."""


class JobPhase(enum.StrEnum):
    """JobPhase is what is being done for a job."""

    UNSPECIFIED = "UNSPECIFIED"
    """The default value; never sent."""

    QUEUED = "QUEUED"
    """It waits for its turn."""

    ANALYSING = "ANALYSING"
    """The source is being analysed; segments may be made at the same time."""

    CUTTING = "CUTTING"
    """All segments are known and are being made."""

    DONE = "DONE"
    """It has ended."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Job(Record):
    """Job is the splitting of one source."""

    job_id: str = ""
    """Output only. 32 lower-case hexadecimal digits, unguessable."""

    state: JobState = JobState.UNSPECIFIED
    """Output only. Its state."""

    spec: JobSpec | None = None
    """Output only. The spec with every default resolved. Userinfo and query strings of URIs
    are left out.
    """

    error: Error | None = None
    """Output only. Why it failed."""

    source: SourceInfo | None = None
    """Output only. What the source turned out to be, once it was opened."""

    progress: JobProgress | None = None
    """Output only. How far it is."""

    notices: Sequence[Notice] = ()
    """Output only. What the caller may want to know besides."""

    reports: Sequence[Report] = ()
    """Output only. The reports that were written."""

    attempt: int = 0
    """Output only. 1, and one more for each retry that the caller asked for."""

    owner: str = ""
    """Output only. The principal that it belongs to."""

    create_time: datetime | None = None
    """Output only. When it was submitted."""

    start_time: datetime | None = None
    """Output only. When work on it began."""

    end_time: datetime | None = None
    """Output only. When it ended."""

    expire_time: datetime | None = None
    """Output only. When it will be forgotten; set at its end."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JobProgress(Record):
    """JobProgress tells how far a job is."""

    percent: float = 0.0
    """Output only. 0 to 100. It never goes back, and is 100 only on success."""

    phase: JobPhase = JobPhase.UNSPECIFIED
    """Output only. What is being done."""

    analysed_fraction: float = 0.0
    """Output only. The share of the source that has been analysed, 0 to 1."""

    analysis_frames_per_second: float = 0.0
    """Output only. Frames analysed a second, just now; 0 when analysis is not running."""

    frames_per_second: float = 0.0
    """Output only. Frames written a second over all segments, just now."""

    time_left: Seconds | None = None
    """Output only. The time that is left; absent while it cannot be told."""

    segment_count: int = 0
    """Output only. Segments known so far, whatever their state."""

    published_count: int = 0
    """Output only. Segments published."""

    failed_count: int = 0
    """Output only. Segments failed."""

    plan_complete: bool = False
    """Output only. Whether all segments are known."""

    running: Sequence[SegmentProgress] = ()
    """Output only. The segments being made, by index; in progress ticks only."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SegmentProgress(Record):
    """SegmentProgress tells how far one running segment is."""

    index: int = 0
    """Output only. The segment."""

    fraction: float = 0.0
    """Output only. 0 to 1."""

    frames_per_second: float = 0.0
    """Output only. Frames written a second, just now."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SourceInfo(Record):
    """SourceInfo is what a source turned out to be."""

    container: str = ""
    """Output only. The container, as FFmpeg names it: mp4, mov, matroska, mpegts and others."""

    duration: Seconds | None = None
    """Output only. The time from the first presented video frame to the end of the last."""

    frame_count: int = 0
    """Output only. The presented video frames; 0 while they are not counted."""

    size_bytes: int = 0
    """Output only. The size in bytes."""

    video: VideoInfo | None = None
    """Output only. The video stream."""

    audio: Sequence[AudioInfo] = ()
    """Output only. The audio tracks."""

    subtitles: Sequence[SubtitleInfo] = ()
    """Output only. The subtitle tracks."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class VideoInfo(Record):
    """VideoInfo describes a video stream."""

    codec: str = ""
    """Output only. The codec, as FFmpeg names it."""

    profile: str = ""
    """Output only. The profile."""

    width: int = 0
    """Output only. The coded width in pixels, before rotation."""

    height: int = 0
    """Output only. The coded height in pixels, before rotation."""

    rotation: int = 0
    """Output only. Degrees counter-clockwise that a player turns the picture by."""

    sample_aspect_ratio: Fraction | None = None
    """Output only. The shape of a pixel, width to height."""

    pixel_format: str = ""
    """Output only. The pixel format, as FFmpeg names it."""

    frame_rate: Fraction | None = None
    """Output only. The mean frame rate."""

    time_base: Fraction | None = None
    """Output only. Seconds a tick."""

    start_pts: int = 0
    """Output only. The presentation time of the first presented frame, in ticks."""

    interlaced: bool = False
    """Output only. Whether frames are stored as fields."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AudioInfo(Record):
    """AudioInfo describes an audio track."""

    codec: str = ""
    """Output only. The codec, as FFmpeg names it."""

    sample_rate: int = 0
    """Output only. Samples a second."""

    channels: int = 0
    """Output only. The number of channels."""

    language: str = ""
    """Output only. The language tag."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SubtitleInfo(Record):
    """SubtitleInfo describes a subtitle track."""

    codec: str = ""
    """Output only. The codec, as FFmpeg names it."""

    language: str = ""
    """Output only. The language tag."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Report(Record):
    """Report is a report that was written."""

    kind: ReportKind = ReportKind.UNSPECIFIED
    """Output only. Its kind."""

    uri: str = ""
    """Output only. Where it lies."""

    size_bytes: int = 0
    """Output only. Its size in bytes."""

    checksum: str = ""
    """Output only. The checksum of its bytes as `sha256:` and 64 hexadecimal digits."""
