"""The units of work that the server hands out, and the reports that come back: plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from reelsplit.types.error import Error
from reelsplit.types.job import SourceInfo
from reelsplit.types.output import Output
from reelsplit.types.segment import Notice, Segment
from reelsplit.types.spec import Input, JobSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What one unit may touch, and no more: the folders below which it may open files."""

    roots: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Analyse:
    """Open the source and find the segments."""

    job_id: str
    spec: JobSpec
    access: Access
    threads: int
    most_segments: int
    most_pixels: int

    @property
    def label(self) -> str:
        """How logs name the unit."""
        return "analyse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Render:
    """Make one segment and publish it. ``intent`` is the checksum that an earlier attempt was
    about to publish: what lies at the location with this checksum is the job's own."""

    job_id: str
    source: Input
    output: Output
    segment: Segment
    access: Access
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
class Remove:
    """Delete what a job published: locations and the checksums of what it put there. What
    something else has replaced since is left alone."""

    job_id: str
    objects: tuple[tuple[str, str], ...]
    access: Access

    @property
    def label(self) -> str:
        """How logs name the unit."""
        return "remove"


Unit = Analyse | Render | Remove


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The source is a video."""

    source: SourceInfo
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
    """The segment is whole; the worker publishes it when the server has answered."""

    checksum: str
    kind: Literal["publishing"] = "publishing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The segment lies at its location."""

    segment: Segment
    kind: Literal["published"] = "published"


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """So many objects were deleted."""

    count: int
    kind: Literal["removed"] = "removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The unit could not be done; ``transient`` where another try may help."""

    error: Error
    transient: bool
    kind: Literal["failed"] = "failed"


Report = Opened | Planned | PlanDone | Progress | Publishing | Published | Removed | Failed
Outcome = PlanDone | Published | Removed | Failed
"""The reports that end a unit."""

REPORTS: TypeAdapter[Report] = TypeAdapter(Report)
"""Reports travel as JSON: a worker that hostile media has taken over can send no code."""
