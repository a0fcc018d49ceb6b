"""Generated from reelsplit/v1/spec.proto by scripts/generate_types.py; never edited."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping, Sequence

from reelsplit.types.record import Record, Seconds
from reelsplit.types.output import Output, OverwritePolicy


class Effort(enum.StrEnum):
    """Effort says how much of the source our own detector looks at."""

    UNSPECIFIED = "UNSPECIFIED"
    """The default value: EXACT."""

    EXACT = "EXACT"
    """Every frame."""

    FAST = "FAST"
    """Key frames, packet sizes, and only the stretches that are in doubt."""

    NEURAL = "NEURAL"
    """Every frame, with a neural net joined in."""


class Footage(enum.StrEnum):
    """Footage is a kind of video that a detector's defaults are chosen for."""

    UNSPECIFIED = "UNSPECIFIED"
    """The default value: FILM."""

    FILM = "FILM"
    """Film, series, animation."""

    WEB = "WEB"
    """Clips for the web, with fast cutting and effects."""

    SCREEN = "SCREEN"
    """Recordings of a screen."""


class TransitionPolicy(enum.StrEnum):
    """TransitionPolicy says where the border between two segments lies in a gradual
    transition.
    """

    UNSPECIFIED = "UNSPECIFIED"
    """The default value: MIDDLE."""

    MIDDLE = "MIDDLE"
    """In the middle."""

    START = "START"
    """At its first frame."""

    END = "END"
    """After its last frame."""

    DROP = "DROP"
    """The frames of the transition belong to no segment."""


class LongShotPolicy(enum.StrEnum):
    """LongShotPolicy says what happens to shots longer than the longest asked for."""

    UNSPECIFIED = "UNSPECIFIED"
    """The default value: SPLIT."""

    SPLIT = "SPLIT"
    """They are split into the fewest equal parts."""

    LEAVE = "LEAVE"
    """They are left as they are."""


class FlashFilter(enum.StrEnum):
    """FlashFilter says what PySceneDetect does with cuts closer than the shortest shot."""

    UNSPECIFIED = "UNSPECIFIED"
    """The default value: MERGE."""

    MERGE = "MERGE"
    """Consecutive cuts become one."""

    SUPPRESS = "SUPPRESS"
    """Cuts are suppressed until the shortest shot has passed."""


class ThresholdMethod(enum.StrEnum):
    """ThresholdMethod says on which side of its threshold a picture counts as faded."""

    UNSPECIFIED = "UNSPECIFIED"
    """The default value: FLOOR."""

    FLOOR = "FLOOR"
    """Faded below the threshold: fades to black."""

    CEILING = "CEILING"
    """Faded above the threshold: fades to white."""


class ReportKind(enum.StrEnum):
    """ReportKind is a report that a job can write."""

    UNSPECIFIED = "UNSPECIFIED"
    """The default value; refused."""

    SHOTS_JSON = "SHOTS_JSON"
    """The shots as JSON."""

    SHOTS_CSV = "SHOTS_CSV"
    """The shots as CSV."""

    EDL = "EDL"
    """The shots as a CMX 3600 edit decision list."""

    OTIO = "OTIO"
    """The shots as an OpenTimelineIO timeline."""

    HTML = "HTML"
    """One self-contained page with a frame of each shot and the score curve."""

    SCORES_CSV = "SCORES_CSV"
    """The score of each frame as CSV."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec(Record):
    """JobSpec says where the video is, how to split it, and where the pieces go."""

    input: Input
    """Required. The video to split."""

    mode: UserDefined | ShotDetection | FixedInterval
    """Required. How the segments are found; exactly one."""

    output: Output | None = None
    """Optional. Where the segments go. Without it the job only finds the segments and writes
    the reports, and its segments stay PLANNED.
    """

    reports: ReportOptions | None = None
    """Optional. The reports wanted besides the segments."""

    user_data: str | None = None
    """Optional. JSON of the caller's own, at most 512 bytes of UTF-8, kept and returned as it
    is.
    """

    notify_url: str | None = None
    """Optional. An http or https URL that is told of the job's end."""

    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Optional. Up to 64 labels to find jobs by. Keys are 1 to 63 of `a-z0-9_.-`, beginning
    with a letter; values are at most 128 characters.
    """

    priority: int | None = None
    """Optional. -100 to 100, higher runs first; 0 by default."""

    timeout: Seconds | None = None
    """Optional. The longest time from the job's start to its end; by default the server's."""

    segment_timeout: Seconds | None = None
    """Optional. The longest time for one segment; by default the server's."""

    time_to_live: Seconds | None = None
    """Optional. How long the job is kept after its end; 30 days by default."""

    fail_fast: bool = False
    """Optional. Stop at the first segment that fails. Segments under way are stopped."""

    notify_segments: bool = False
    """Optional. Tell notify_url of each published segment too, as it is published."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Input(Record):
    """Input names the source."""

    uri: str | None = None
    """Required. Exactly one. A location: a path below a root of the server or a `file:` URI;
    `s3://bucket/key`, `gs://bucket/key`, `oss://bucket/key`, or an http(s) URL of an
    allowed host.
    """

    media_id: str | None = None
    """Required. Exactly one. The id of a registered media asset, 32 lower-case hexadecimal
    digits.
    """

    endpoint: str | None = None
    """Optional. The endpoint of the store that holds the source, where it is not the
    configured one.
    """


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TimeRange(Record):
    """TimeRange is a half-open stretch of presentation time. Offsets count from the first
    presented video frame of the source, which players may show as another time where the
    file starts late. A frame belongs to the range if its time lies in [start, end),
    forgiving half a tick of the source's video time base.
    """

    start_offset: Seconds
    """Required. Where the range begins; not negative."""

    end_offset: Seconds
    """Required. Where the range ends; after its start."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UserDefined(Record):
    """UserDefined cuts the ranges that the caller names. They may stand in any order and
    overlap; the index of a segment is the place of its range in the list, from 0.
    """

    ranges: Sequence[TimeRange]
    """Required. 1 to 10,000 ranges (a setting of the server)."""

    strict_ranges: bool = False
    """Optional. Fail ranges that overlap the end of the source instead of clipping them."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FixedInterval(Record):
    """FixedInterval cuts the source into pieces of one length; the last may be shorter."""

    interval: Seconds
    """Required. The length of a segment, at least 100 ms."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ShotDetection(Record):
    """ShotDetection cuts the source at its shots."""

    detector: ReelsplitDetector | AdaptiveDetector | ContentDetector | ThresholdDetector | HashDetector | HistogramDetector | None = None
    """Optional. What finds the shots; by default the server's choice, which the resolved spec
    names.
    """

    transition_policy: TransitionPolicy | None = None
    """Optional. Where the border lies in a gradual transition; MIDDLE by default."""

    min_shot_duration: Seconds | None = None
    """Optional. The shortest shot; by default the detector's."""

    max_shot_duration: Seconds | None = None
    """Optional. The longest shot; none by default."""

    long_shot_policy: LongShotPolicy | None = None
    """Optional. What happens to longer shots; SPLIT by default where a longest shot is given."""

    crop: CropRegion | None = None
    """Optional. Look only at this part of the picture."""

    downscale: int | None = None
    """Optional. Divide width and height by this before scoring, 1 to 64; by default the
    detector's.
    """

    skip_letterbox: bool | None = None
    """Optional. Leave black bars around the picture out of the scoring. Only our own detector
    does; by default where they are certain: on both sides, in some pictures from all over
    the source.
    """

    start_offset: Seconds | None = None
    """Optional. Where the analysed part begins; the beginning of the source by default."""

    end_offset: Seconds | None = None
    """Optional. Where the analysed part ends; the end of the source by default."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ReelsplitDetector(Record):
    """ReelsplitDetector is our own detector."""

    effort: Effort | None = None
    """Optional. How much is looked at; EXACT by default."""

    sensitivity: float | None = None
    """Optional. 0 to 1, higher reports more boundaries; 0.5 by default."""

    footage: Footage | None = None
    """Optional. The kind of footage that the defaults are chosen for; FILM by default."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveDetector(Record):
    """AdaptiveDetector is PySceneDetect's: the content score against its neighbours' mean.
    Absent fields take PySceneDetect's defaults.
    """

    threshold: float | None = None
    """Optional. The ratio that the score must exceed; 3.0 by default."""

    min_content_value: float | None = None
    """Optional. The least content score of a cut; 15.0 by default."""

    window_width: int | None = None
    """Optional. Frames on each side of the mean; 2 by default."""

    luma_only: bool = False
    """Optional. Look at brightness only."""

    weights: ContentWeights | None = None
    """Optional. The weights of the parts of the content score."""

    kernel_size: int | None = None
    """Optional. The size of the edge kernel, odd and at least 3; from the picture by default."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ContentDetector(Record):
    """ContentDetector is PySceneDetect's: the change of hue, saturation and brightness from
    one frame to the next. Absent fields take PySceneDetect's defaults.
    """

    threshold: float | None = None
    """Optional. The score that a cut must reach; 27.0 by default."""

    luma_only: bool = False
    """Optional. Look at brightness only."""

    weights: ContentWeights | None = None
    """Optional. The weights of the parts of the score."""

    kernel_size: int | None = None
    """Optional. The size of the edge kernel, odd and at least 3; from the picture by default."""

    flash_filter: FlashFilter | None = None
    """Optional. What happens to cuts closer than the shortest shot; MERGE by default."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ContentWeights(Record):
    """ContentWeights weighs the parts of PySceneDetect's content score against each other."""

    hue: float | None = None
    """Optional. The weight of the change of hue; 1 by default."""

    saturation: float | None = None
    """Optional. The weight of the change of saturation; 1 by default."""

    luma: float | None = None
    """Optional. The weight of the change of brightness; 1 by default."""

    edges: float | None = None
    """Optional. The weight of the change of edges; 0 by default."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdDetector(Record):
    """ThresholdDetector is PySceneDetect's: fades to and from one brightness. Absent fields
    take PySceneDetect's defaults.
    """

    threshold: float | None = None
    """Optional. The mean brightness, 0 to 255, that a fade reaches; 12 by default."""

    fade_bias: float | None = None
    """Optional. Where the border lies between fade out and fade in, -1 to 1; 0 by default."""

    add_final_scene: bool = False
    """Optional. Report a border where the source ends faded out."""

    method: ThresholdMethod | None = None
    """Optional. On which side of the threshold the picture counts as faded; FLOOR by default."""

    min_out_duration: Seconds | None = None
    """Optional. Fades that last shorter are no border; 0 by default."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HashDetector(Record):
    """HashDetector is PySceneDetect's: perceptual hashes of neighbouring frames. Absent
    fields take PySceneDetect's defaults.
    """

    threshold: float | None = None
    """Optional. The share of bits, 0 to 1, that must differ; 0.35 by default."""

    size: int | None = None
    """Optional. The side of the hash in bits; 8 by default."""

    lowpass: int | None = None
    """Optional. How much high frequency is filtered out; 2 by default."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HistogramDetector(Record):
    """HistogramDetector is PySceneDetect's: brightness histograms of neighbouring frames.
    Absent fields take PySceneDetect's defaults.
    """

    threshold: float | None = None
    """Optional. The change, 0 to 1, that a cut must exceed; 0.2 by default."""

    bins: int | None = None
    """Optional. The number of bins, 2 to 256; 128 by default."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CropRegion(Record):
    """CropRegion is a part of the picture, in pixels of the coded frame from its upper left
    corner.
    """

    x: int
    """Required. The left edge."""

    y: int
    """Required. The upper edge."""

    width: int
    """Required. The width, at least 16."""

    height: int
    """Required. The height, at least 16."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions(Record):
    """ReportOptions names the reports that a job writes besides its segments."""

    kinds: Sequence[ReportKind] = ()
    """Optional. The reports wanted at the common location; needed unless `targets` names
    some.
    """

    uri_template: str | None = None
    """Optional. The common location: a path or URI with `{kind}`, which stands for
    `shots.json`, `shots.csv`, `edl`, `otio`, `html` or `scores.csv`. `{stem}` and
    `{job_id}` are as in outputs. By default `{stem}.{kind}` in the folder that all
    segments share; a job without output has no such folder and names a location.
    """

    endpoint: str | None = None
    """Optional. The endpoint of the store, where it is not the configured one; by default the
    output's for what goes to its bucket.
    """

    targets: Sequence[ReportTarget] = ()
    """Optional. Reports with locations of their own."""

    overwrite_policy: OverwritePolicy | None = None
    """Optional. What happens when something is at a location already; by default as with the
    output, and REFUSE without one.
    """


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ReportTarget(Record):
    """ReportTarget is a report with a location of its own."""

    kind: ReportKind
    """Required. The report."""

    uri_template: str
    """Required. Its location: a path or URI that takes `{kind}`, `{stem}` and `{job_id}`."""
