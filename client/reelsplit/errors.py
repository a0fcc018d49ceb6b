"""Everything that this package raises on purpose.

    ReelsplitError
    ├── InvalidRequestError (ValueError)        the request is wrong; names every violation
    ├── UnauthenticatedError (PermissionError)  no credentials, or unknown ones
    ├── PermissionDeniedError (PermissionError) the caller may not do this
    ├── NotFoundError (LookupError)             no such job or media asset
    ├── AlreadyExistsError                      the client token belongs to another request
    ├── FailedPreconditionError                 the job's state does not allow the call
    ├── OutOfRangeError                         the resume token is too old
    ├── ResourceExhaustedError                  too many calls, watches or jobs
    ├── UnsupportedError                        the server does not do this
    ├── UnavailableError (ConnectionError)      the server cannot be reached, or is stopping
    ├── DeadlineExceededError (TimeoutError)    it took longer than the timeout
    ├── CallCancelledError                      the call was cancelled, or its client closed
    ├── InternalError                           a fault of the server, or of what lies between
    └── JobFailedError                          the job that was waited for did not succeed

Besides these come only `ValueError` and `TypeError` for arguments that cannot be sent at all, and
`RuntimeError` for the use of a closed client.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import grpc

    from reelsplit.types.job import Job


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FieldViolation:
    """One field of a request that is wrong."""

    field: str
    """The path of the field in the request, for example ``spec.output.uri_template``."""

    description: str
    """What is wrong with it."""


class ReelsplitError(Exception):
    """The base of all errors of this package."""

    reason: str
    """Stable and for machines: a name of `ErrorReason`, or of the gRPC code where the error did
    not come from a Reelsplit server. New reasons appear; compare with the ones you know."""

    message: str
    """For people; its words may change."""

    metadata: Mapping[str, str]
    """The facts behind the reason; `ErrorReason` lists the keys."""

    code: grpc.StatusCode | None
    """The code of the call's status; None where no call failed."""

    from_server: bool = False
    """Whether a Reelsplit server gave the reason. Else it comes from gRPC, from something that
    lies in between, or from this package."""

    def __init__(
        self,
        reason: str,
        message: str,
        metadata: Mapping[str, str] | None = None,
        code: grpc.StatusCode | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata = dict(metadata or {})
        self.code = code

    def __str__(self) -> str:
        return f"{self.message} ({self.reason})"

    def __reduce__(self) -> tuple[object, ...]:
        # The default calls the class with `args`, which are not what __init__ takes.
        return _restore, (type(self), self.args, dict(self.__dict__))


class InvalidRequestError(ReelsplitError, ValueError):
    """The request is wrong, and will be however often it is sent."""

    violations: tuple[FieldViolation, ...]
    """Every field that is wrong, at once; empty where the server names none."""

    def __init__(
        self,
        reason: str,
        message: str,
        metadata: Mapping[str, str] | None = None,
        code: grpc.StatusCode | None = None,
        *,
        violations: tuple[FieldViolation, ...] = (),
    ) -> None:
        super().__init__(reason, message, metadata, code)
        self.violations = violations

    def __str__(self) -> str:
        lines = (f"\n  {item.field}: {item.description}" for item in self.violations)
        return super().__str__() + "".join(lines)


class UnauthenticatedError(ReelsplitError, PermissionError):
    """The call carries no credentials, or unknown ones."""


class PermissionDeniedError(ReelsplitError, PermissionError):
    """The caller is known and may not do this."""


class NotFoundError(ReelsplitError, LookupError):
    """The caller has no such job or media asset. Those of others are not found either."""


class AlreadyExistsError(ReelsplitError):
    """The client token belongs to a different request; ``metadata["job_id"]`` is the first job."""


class FailedPreconditionError(ReelsplitError):
    """The state of the job does not allow the call; ``metadata["state"]`` tells it."""


class OutOfRangeError(ReelsplitError):
    """The resume token is older than the events that are kept. List again, and watch from the
    list's token."""


class _RetryableError(ReelsplitError):
    retry_after: Fraction | None
    """The seconds after which the server says that the call may pass; None where it does not."""

    def __init__(
        self,
        reason: str,
        message: str,
        metadata: Mapping[str, str] | None = None,
        code: grpc.StatusCode | None = None,
        *,
        retry_after: Fraction | None = None,
    ) -> None:
        super().__init__(reason, message, metadata, code)
        self.retry_after = retry_after


class ResourceExhaustedError(_RetryableError):
    """Too many calls, watches or jobs; or a message that is too large."""


class UnsupportedError(ReelsplitError):
    """The server does not do this; ``metadata["feature"]`` names it."""


class UnavailableError(_RetryableError, ConnectionError):
    """The server cannot be reached, or is stopping, for longer than the retries last."""


class DeadlineExceededError(ReelsplitError, TimeoutError):
    """It took longer than the timeout. What was asked for may still have happened."""


class CallCancelledError(ReelsplitError):
    """The call was cancelled by the server, or ended since its client was closed. (The
    cancellation of an asyncio task stays `asyncio.CancelledError`.)"""


class InternalError(ReelsplitError):
    """A fault of the server, or of something between it and the client."""


class JobFailedError(ReelsplitError):
    """The job that was waited for FAILED or was CANCELLED. What it published stays."""

    job: Job
    """The job as it ended; its segments tell which of them failed."""

    def __init__(self, job: Job) -> None:
        error = job.error
        reason = error.reason if error else str(job.state)
        message = f"job {job.job_id} {'was cancelled' if job.state == 'CANCELLED' else 'failed'}"
        if error and error.message:
            message += f": {error.message}"
        super().__init__(reason, message, error.metadata if error else None)
        self.job = job


def _restore(
    cls: type[ReelsplitError], args: tuple[object, ...], state: Mapping[str, object]
) -> ReelsplitError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error
