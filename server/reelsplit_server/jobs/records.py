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
class Standing:
    """How far a job is; ``last_sequence`` is the number of its newest event."""

    job_id: str
    principal: str
    state: JobState
    percent: float = 0.0
    plan_complete: bool = False
    segment_count: int = 0
    published_count: int = 0
    failed_count: int = 0
    last_sequence: int = 0

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it by itself."""
        return self.state in ENDED


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord(Standing):
    """One job. Times are UTC; ``spec`` is resolved, and holds URIs as the worker needs them."""

    spec: JobSpec
    create_time: datetime
    attempt: int = 1
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
    key_id: str | None = None
    trace_parent: str | None = None
    """Where the call that submitted it is in traces."""


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
    """A numbered event; ``position`` orders the events of all jobs by their commit. ``data`` is its
    message as it is kept."""

    position: int
    principal: str
    event: JobEvent
    data: bytes = field(repr=False)

    @property
    def kept(self) -> KeptEvent:
        """The same for those who only hand it on."""
        event = self.event
        return KeptEvent(self.position, event.job_id, event.sequence, self.data)


@dataclass(frozen=True, slots=True)
class KeptEvent:
    """A numbered event as those need it who only hand it on."""

    position: int
    job_id: str
    sequence: int
    data: bytes = field(repr=False)
