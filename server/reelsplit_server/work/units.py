"""The units of work that the server hands out, and the reports that come back: plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from reelsplit.types.error import Error
from reelsplit.types.job import SourceInfo
from reelsplit.types.output import Output
from reelsplit.types.segment import Notice, Segment
from reelsplit.types.spec import Input, JobSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Analyse:
    """Open the source and find the segments. ``pin`` is the state of the source that an earlier
    unit of the job saw; ``folder`` what the units of the job share."""

    job_id: str
    spec: JobSpec
    pin: str | None
    folder: Path
    threads: int
    most_segments: int
    most_pixels: int

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

    @property
    def label(self) -> str:
        """How logs name the unit."""
        return f"render {self.segment.index}"


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


Unit = Analyse | Render | Probe


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
class Failed:
    """The unit could not be done; ``transient`` where another try may help."""

    error: Error
    transient: bool
    kind: Literal["failed"] = "failed"


Report = Opened | Planned | PlanDone | Progress | Publishing | Published | Failed
Outcome = PlanDone | Published | Failed
"""The reports that end a unit."""
