"""Errors as the SDKs of the dialect read them: a status, a code, and a body that is JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reelsplit_server.app.errors import OUT_OF_REACH, AppError, Kind, Violation
from reelsplit_server.ims.fields import renamed

_CODES: Mapping[Kind, tuple[int, str]] = {
    Kind.INVALID: (400, "InvalidParameter"),
    Kind.NOT_FOUND: (404, "JobNotFound"),
    Kind.ALREADY_EXISTS: (400, "IdempotentParameterMismatch"),
    Kind.WRONG_STATE: (403, "OperationDenied"),
    Kind.TOO_OLD: (400, "InvalidParameter"),
    Kind.EXHAUSTED: (400, "Throttling.User"),
    Kind.UNAVAILABLE: (503, "ServiceUnavailable"),
    Kind.UNAUTHENTICATED: (403, "Forbidden"),
    Kind.DENIED: (403, "Forbidden"),
    Kind.UNSUPPORTED: (400, "InvalidParameter"),
    Kind.INTERNAL: (500, "InternalError"),
}
# Reasons that have a code of their own in the dialect.
_BY_REASON: Mapping[str, tuple[int, str]] = {
    "SOURCE_FORBIDDEN": (403, "BucketNotAuthorized"),
    "OUTPUT_FORBIDDEN": (403, "BucketNotAuthorized"),
    "TOO_MANY_JOBS": (400, "JobLimitExceeded"),
    "TOO_MANY_JOBS_OF_CALLER": (400, "Throttling.User"),
    # The dialect has no code for it, and a status of 404 is read as a missing job.
    "MEDIA_NOT_FOUND": (400, "InvalidParameter"),
}
_MOST_MESSAGE = 2000
THROTTLED = "Throttling.User"
NO_ROOM = "Requests that are being sent hold all the memory that there is for them"


class ImsError(Exception):
    """A request that is refused. ``retry_after`` is in seconds: the SDKs take any answer that
    carries it for throttling, whatever its code."""

    def __init__(
        self, status: int, code: str, message: str, *, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after

    def body(self, request_id: str, host: str) -> dict[str, Any]:
        """What is answered."""
        return {
            "RequestId": request_id,
            "HostId": host[:255],
            "Code": self.code,
            "Message": self.message[:_MOST_MESSAGE],
            "Recommend": "",
        }


def invalid(name: str, description: str) -> ImsError:
    """A parameter is wrong; ``description`` is the end of a sentence that begins with it."""
    return ImsError(400, "InvalidParameter", f"{name} {description}.")


def missing(name: str, description: str = "is required") -> ImsError:
    """A parameter is missing."""
    return ImsError(400, "MissingParameter", f"{name} {description}.")


def fault() -> ImsError:
    """The server's own."""
    return ImsError(
        500, "InternalError", "The server met a fault of its own; its log has the details."
    )


def throttled(why: str) -> ImsError:
    """Too much at once; ``why`` is the begin of a sentence."""
    return ImsError(400, THROTTLED, f"{why}; send this one again in a moment.", retry_after=1.0)


def translated(error: AppError) -> ImsError:
    """The error of a use case in the words of the dialect."""
    status, code = _BY_REASON.get(error.reason) or _CODES[error.kind]
    message = error.message
    if (field := error.metadata.get("field")) and message.startswith(field):
        message = renamed(field) + message.removeprefix(field)
    if error.violations:
        message = _sentence(error.violations)
        if any(item.reason == OUT_OF_REACH for item in error.violations):
            status, code = _BY_REASON["OUTPUT_FORBIDDEN"]
    # Sent with other codes it would hide them: the SDKs raise another exception then.
    pause = error.retry_after if code == THROTTLED else None
    return ImsError(status, code, message, retry_after=pause)


def _sentence(violations: tuple[Violation, ...]) -> str:
    told = "; ".join(f"{renamed(item.field)} {item.description}" for item in violations[:20])
    more = len(violations) - 20
    return f"{told}; and {more} more." if more > 0 else f"{told}."
