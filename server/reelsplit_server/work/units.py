"""The units of work that the server hands out, and the reports that come back: plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal

from reelsplit.types.error import Error
from reelsplit.types.job import Report as WrittenReport
from reelsplit.types.job import SourceInfo
from reelsplit.types.output import Output
from reelsplit.types.segment import Notice, Segment
from reelsplit.types.spec import Input, JobSpec, ReportKind
from reelsplit_server.media.stages import Noted


@dataclass(frozen=True, slots=True, kw_only=True)
class Analyse:
    """Open the source and find the segments. ``pin`` is the state of the source that an earlier
    unit of the job saw; ``folder`` what the units of the job share; ``intents`` the checksums
    of the reports that an earlier attempt was about to publish; ``helpers`` how many other
    workers there are that could help; ``trace`` where it is in traces, as ``traceparent``."""

    job_id: str
    spec: JobSpec
    pin: str | None
    folder: Path
    threads: int
    most_segments: int
    most_pixels: int
    intents: Mapping[ReportKind, str] = field(default_factory=dict)
    helpers: int = 0
    trace: str | None = None

    @property
    def source(self) -> Input:
        """Where the source is."""
        return self.spec.input

    @property
    def label(self) -> str:
        """How logs name the unit."""
        return "analyse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Render:
    """Make one segment in ``scratch``, and publish it.

    ``frame_rate`` is the source's nominal one, by which progress is told where frames were not
    counted. ``intent`` is the checksum that an earlier attempt was about to publish: what lies at
    the location with this checksum is the job's own.
    """

    job_id: str
    source: Input
    pin: str | None
    folder: Path
    output: Output
    segment: Segment
    frame_rate: Fraction | None
    threads: int
    most_pixels: int
    most_frames: int
    scratch: Path
    intent: str | None
    trace: str | None = None

    @property
    def label(self) -> str:
        """How logs name the unit."""
        return f"render {self.segment.index}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """Help the analysis of a job for a while: look at stretches of its source. ``share`` is the
    name of the folder, within ``folder``, in which they are shared out; after about ``seconds``
    other units have their turn."""

    job_id: str
    spec: JobSpec
    pin: str | None
    folder: Path
    share: str
    most_pixels: int
    seconds: float
    trace: str | None = None

    @property
    def source(self) -> Input:
        """Where the source is."""
        return self.spec.input

    @property
    def label(self) -> str:
        """How logs name the unit."""
        return "scan"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Open a media asset and tell what it is, by `PlanDone`. ``job_id`` is the asset's id."""

    job_id: str
    source: Input
    pin: str | None
    folder: Path
    most_pixels: int

    @property
    def label(self) -> str:
        """How logs name the unit."""
        return "probe"


Unit = Analyse | Render | Scan | Probe


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A place that a job publishes to; ``checksum`` is that of what it published there, or None
    where whatever lies there is meant."""

    uri: str
    endpoint: str | None
    checksum: str | None


# --- What the server hears -------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The source is a video, in the state that ``pin`` tells."""

    source: SourceInfo
    pin: str
    kind: Literal["opened"] = "opened"


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """Segments whose bounds are certain; those that cannot be made carry an error."""

    segments: Sequence[Segment]
    kind: Literal["planned"] = "planned"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanDone:
    """All segments were told."""

    source: SourceInfo
    notices: Sequence[Notice] = ()
    kind: Literal["plan_done"] = "plan_done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the unit is: 0 to 1, and the frames so far."""

    fraction: float
    frames: int
    kind: Literal["progress"] = "progress"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The last thing that is said of a unit, behind its end: which stages it went through, and how
    many bytes of the source it took."""

    stages: Sequence[Noted]
    read: int
    kind: Literal["account"] = "account"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """As many ``Scan`` units as these could help, by the ``share`` of that name."""

    share: str
    helpers: int
    kind: Literal["sharing"] = "sharing"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanDone:
    """A scan has ended; ``more`` where another one could go on, ``worked`` where there was
    something to do for this one."""

    more: bool
    worked: bool
    kind: Literal["scan_done"] = "scan_done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Publishing:
    """The segment is whole, and is published when this has been heard."""

    checksum: str
    kind: Literal["publishing"] = "publishing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The segment lies at its location."""

    segment: Segment
    kind: Literal["published"] = "published"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishingReport:
    """A report is whole, and is published when this has been heard."""

    report: ReportKind
    checksum: str
    kind: Literal["publishing_report"] = "publishing_report"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedReport:
    """A report lies at its location."""

    report: WrittenReport
    kind: Literal["published_report"] = "published_report"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The unit could not be done; ``transient`` where another try may help."""

    error: Error
    transient: bool
    kind: Literal["failed"] = "failed"


Report = (
    Opened
    | Planned
    | PlanDone
    | Sharing
    | ScanDone
    | Progress
    | Publishing
    | Published
    | PublishingReport
    | PublishedReport
    | Failed
    | Account
)
Outcome = PlanDone | ScanDone | Published | Failed
"""The reports that end a unit."""
