"""Generated from reelsplit/v1/segment.proto by scripts/generate_types.py; never edited."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence
from datetime import datetime
from fractions import Fraction

from reelsplit.types.record import Record, Seconds
from reelsplit.types.error import Error
from reelsplit.types.output import CutMode
from reelsplit.types.spec import TimeRange


class SegmentState(enum.StrEnum):
    """SegmentState is the state of a segment."""

    UNSPECIFIED = "UNSPECIFIED"
    """The default value; never sent."""

    PLANNED = "PLANNED"
    """Its bounds are known. The last state in a job without output."""

    RUNNING = "RUNNING"
    """A worker is making it."""

    PUBLISHED = "PUBLISHED"
    """It lies at its location, whole. It never changes again."""

    FAILED = "FAILED"
    """It could not be made; its error says why."""


class TransitionType(enum.StrEnum):
    """TransitionType is a kind of transition between shots."""

    UNSPECIFIED = "UNSPECIFIED"
    """The default value; never sent."""

    START = "START"
    """The beginning of the analysed part."""

    CUT = "CUT"
    """A hard cut."""

    DISSOLVE = "DISSOLVE"
    """One shot blends into the next."""

    FADE_BLACK = "FADE_BLACK"
    """A fade through black."""

    FADE_WHITE = "FADE_WHITE"
    """A fade through white."""

    WIPE = "WIPE"
    """A wipe, iris or push."""

    SPLIT = "SPLIT"
    """No transition: a shot longer than the longest asked for was split here."""


class StreamKind(enum.StrEnum):
    """StreamKind is a kind of stream."""

    UNSPECIFIED = "UNSPECIFIED"
    """The default value; never sent."""

    VIDEO = "VIDEO"
    """Video."""

    AUDIO = "AUDIO"
    """Audio."""

    SUBTITLE = "SUBTITLE"
    """Subtitles."""

    DATA = "DATA"
    """Timed data."""

    ATTACHMENT = "ATTACHMENT"
    """An attached file, such as a font."""


class StreamAction(enum.StrEnum):
    """StreamAction is what was done with a stream."""

    UNSPECIFIED = "UNSPECIFIED"
    """The default value; never sent."""

    COPIED = "COPIED"
    """Its compressed bytes were copied."""

    ENCODED = "ENCODED"
    """It was encoded, in whole or in part."""

    DROPPED = "DROPPED"
    """It was left out."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Segment(Record):
    """Segment is one piece of the source."""

    job_id: str = ""
    """Output only. The job that it belongs to."""

    index: int = 0
    """Output only. Its place, from 0: that of its range, or in order of time."""

    state: SegmentState = SegmentState.UNSPECIFIED
    """Output only. Its state."""

    requested: TimeRange | None = None
    """Output only. The range that was asked for, or that was found."""

    bounds: SegmentBounds | None = None
    """Output only. What it really holds."""

    transition: Transition | None = None
    """Output only. The transition that it begins with; in shot detection only."""

    uri: str = ""
    """Output only. Where it lies, once it is PUBLISHED."""

    size_bytes: int = 0
    """Output only. Its size in bytes."""

    duration: Seconds | None = None
    """Output only. Its playing time."""

    frame_count: int = 0
    """Output only. Its number of presented video frames."""

    cut: CutResult | None = None
    """Output only. How it was cut."""

    verification: Verification | None = None
    """Output only. What the check after writing found."""

    streams: Sequence[StreamResult] = ()
    """Output only. What became of each stream of the source."""

    checksum: str = ""
    """Output only. The checksum of its bytes as `sha256:` and 64 hexadecimal digits."""

    media_id: str = ""
    """Output only. Its media asset, where it was exported."""

    error: Error | None = None
    """Output only. Why it failed."""

    notices: Sequence[Notice] = ()
    """Output only. What the caller may want to know besides, such as a range that was
    clipped.
    """

    attempt: int = 0
    """Output only. How often it was begun."""

    create_time: datetime | None = None
    """Output only. When its bounds were known."""

    start_time: datetime | None = None
    """Output only. When its last attempt began."""

    end_time: datetime | None = None
    """Output only. When it was published or failed."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SegmentBounds(Record):
    """SegmentBounds are the frames that a segment holds, half-open: the end is the first
    frame, or moment, that does not belong to it.
    """

    start_offset: Seconds | None = None
    """Output only. The offset of its first frame."""

    end_offset: Seconds | None = None
    """Output only. The offset at which its last frame ends."""

    start_frame: int = 0
    """Output only. Its first frame, counted from 0 in presentation order. This and
    `end_frame` are 0 where the frames before were not counted: of a remote Matroska file,
    whose index tells only key frames, and which is not read as a whole for a few ranges.
    """

    end_frame: int = 0
    """Output only. The frame after its last."""

    start_pts: int = 0
    """Output only. The exact presentation time of its first frame, in ticks of time_base, as
    the source's video stream counts it.
    """

    end_pts: int = 0
    """Output only. The exact presentation time at which its last frame ends."""

    time_base: Fraction | None = None
    """Output only. Seconds a tick."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Transition(Record):
    """Transition is how one shot becomes the next."""

    type: TransitionType = TransitionType.UNSPECIFIED
    """Output only. Its kind."""

    start_frame: int = 0
    """Output only. The first frame that is not purely the shot before."""

    end_frame: int = 0
    """Output only. The first frame that is purely the new shot; start_frame for a cut."""

    confidence: float | None = None
    """Output only. How sure the detector is, 0 to 1; absent where it does not say."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CutResult(Record):
    """CutResult tells how a segment was made."""

    mode: CutMode = CutMode.UNSPECIFIED
    """Output only. The mode that was really used."""

    copied_frames: int = 0
    """Output only. Frames whose compressed bytes are the source's."""

    encoded_frames: int = 0
    """Output only. Frames that were encoded again."""

    reason: str = ""
    """Output only. Why more was encoded than the mode promises, or what was replaced; else
    empty.
    """


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Verification(Record):
    """Verification is the result of the check that a segment passes before it is published."""

    checked: bool = False
    """Output only. Whether the check was made."""

    frame_count: int = 0
    """Output only. The video frames found in the written file."""

    decoded_frames: int = 0
    """Output only. How many of them were decoded for the check."""

    audio_offset: Seconds | None = None
    """Output only. How far the first audio sample lies from its place; absent without audio."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StreamResult(Record):
    """StreamResult tells what became of one stream of the source."""

    source_index: int = 0
    """Output only. The index of the stream in the source."""

    kind: StreamKind = StreamKind.UNSPECIFIED
    """Output only. Its kind."""

    source_codec: str = ""
    """Output only. Its codec in the source, as FFmpeg names it."""

    codec: str = ""
    """Output only. Its codec in the segment; empty when dropped."""

    action: StreamAction = StreamAction.UNSPECIFIED
    """Output only. What was done."""

    language: str = ""
    """Output only. Its language tag; empty where it has none."""

    reason: str = ""
    """Output only. Why it was encoded or dropped although a copy was wanted; else empty."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Notice(Record):
    """Notice is something that a caller may want to know and that is no error."""

    code: str = ""
    """Output only. A stable word: `RANGE_CLIPPED`, `SOURCE_TRUNCATED`, `SOURCE_DAMAGED`."""

    message: str = ""
    """Output only. One sentence for a person."""
