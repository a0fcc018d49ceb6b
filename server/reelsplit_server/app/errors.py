"""The one exception that the use cases raise; each face maps its kind to its own protocol."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto

from reelsplit_server.jobs.database import StoreUnavailableError
from reelsplit_server.jobs.waiting import QueueFullError

OUT_OF_REACH = "PERMISSION_DENIED"
"""The reason of a violation by which a caller goes beyond what its key may read and write."""


class Kind(Enum):
    """What kind of failure it is."""

    INVALID = auto()
    NOT_FOUND = auto()
    ALREADY_EXISTS = auto()
    WRONG_STATE = auto()
    TOO_OLD = auto()
    EXHAUSTED = auto()
    UNAVAILABLE = auto()
    UNAUTHENTICATED = auto()
    DENIED = auto()
    UNSUPPORTED = auto()
    INTERNAL = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A wrong field: its path in the request, and a sentence that says what to do."""

    field: str
    description: str
    reason: str = "INVALID_FIELD"


class AppError(Exception):
    """A call that cannot be answered. ``retry_after`` is in seconds, where trying again helps."""

    def __init__(
        self,
        kind: Kind,
        reason: str,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[Violation] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.reason = reason
        self.message = message
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations)
        self.retry_after = retry_after


def invalid(violations: Sequence[Violation]) -> AppError:
    """The request has wrong fields; all of them are named."""
    named = "; ".join(f"{item.field} {item.description}" for item in violations[:20])
    if len(violations) > 20:
        named += f"; and {len(violations) - 20} more"
    unsupported = [item for item in violations if item.reason == "NOT_SUPPORTED"]
    if len(unsupported) == len(violations):
        metadata = {"feature": unsupported[0].field}
        return AppError(
            Kind.INVALID, "NOT_SUPPORTED", named, metadata=metadata, violations=violations
        )
    beyond = [item for item in violations if item.reason == OUT_OF_REACH]
    if len(beyond) == len(violations):
        metadata = {"permission": "reach"}
        return AppError(
            Kind.DENIED, "PERMISSION_DENIED", named, metadata=metadata, violations=violations
        )
    return AppError(Kind.INVALID, "INVALID_FIELD", named, violations=violations)


def job_not_found(job_id: str) -> AppError:
    """No job of the caller has this id."""
    return AppError(
        Kind.NOT_FOUND,
        "JOB_NOT_FOUND",
        f"There is no job {job_id} of this caller.",
        metadata={"job_id": job_id},
    )


def shutting_down() -> AppError:
    """The server drains."""
    return AppError(
        Kind.UNAVAILABLE,
        "SHUTTING_DOWN",
        "The server is shutting down; send the call again in a moment.",
        retry_after=1.0,
    )


def queue_full(error: QueueFullError) -> AppError:
    """Too many jobs wait; some will have been taken up in a while."""
    whose, reason = "", "TOO_MANY_JOBS"
    if error.own:
        whose, reason = " of this caller", "TOO_MANY_JOBS_OF_CALLER"
    return AppError(
        Kind.EXHAUSTED,
        reason,
        f"{error.limit} jobs{whose} are waiting already; send the request again later.",
        metadata={"limit": str(error.limit)},
        retry_after=5.0,
    )


def store_unavailable() -> AppError:
    """The database cannot be read or written just now."""
    return AppError(
        Kind.UNAVAILABLE,
        "STORE_UNAVAILABLE",
        "The server cannot use its database just now (disk full, read-only or locked?); "
        "its log has the details.",
        retry_after=5.0,
    )


@contextmanager
def translated() -> Iterator[None]:
    """A store that cannot be used is told as such, without its details."""
    try:
        yield
    except StoreUnavailableError as error:
        raise store_unavailable() from error
