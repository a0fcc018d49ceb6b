"""What the store keeps of a job, beyond what callers see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from reelsplit.types.error import Error
from reelsplit.types.event import JobEvent
from reelsplit.types.job import JobState, Report, SourceInfo
from reelsplit.types.segment import Notice
from reelsplit.types.spec import JobSpec
from reelsplit_server.jobs.transitions import ENDED


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """One job. Times are UTC; ``spec`` is resolved, and holds URIs as the worker needs them."""

    job_id: str
    principal: str
    state: JobState
    spec: JobSpec
    create_time: datetime
    attempt: int = 1
    percent: float = 0.0
    plan_complete: bool = False
    segment_count: int = 0
    published_count: int = 0
    failed_count: int = 0
    source: SourceInfo | None = None
    source_pin: str | None = None
    media_id: str | None = None
    """The media asset that its input was named by."""
    error: Error | None = None
    notices: Sequence[Notice] = ()
    reports: Sequence[Report] = ()
    start_time: datetime | None = None
    end_time: datetime | None = None
    expire_time: datetime | None = None
    last_sequence: int = 0
    key_id: str | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it by itself."""
        return self.state in ENDED


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs of a principal a list holds, and in which order."""

    states: Sequence[JobState] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    create_time_from: datetime | None = None
    create_time_until: datetime | None = None
    oldest_first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """A numbered event; ``position`` orders the events of all jobs by their commit."""

    position: int
    principal: str
    event: JobEvent
