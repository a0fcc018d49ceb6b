"""What goes wrong with Google Cloud Storage: whether repeating helps, and how it is told."""

from __future__ import annotations

from http import HTTPStatus

import requests
import structlog
from google.api_core.exceptions import GoogleAPICallError, RetryError
from google.auth.exceptions import GoogleAuthError, InvalidOperation, TransportError

from reelsplit_server.storage.errors import Side, StorageError, exists, failure

log = structlog.get_logger(__name__)
REPEATED = frozenset({408, 429, 500, 502, 503, 504})
"""The statuses of HTTP that may be others in a moment."""
_RATE = ("rateLimitExceeded", "userRateLimitExceeded")


def helps_to_repeat(error: Exception) -> bool:
    """Whether the same call may pass in a moment."""
    if isinstance(error, GoogleAPICallError):
        return error.code in REPEATED or _is_rate(error)
    if isinstance(error, TransportError):
        inner = error.args[0] if error.args else None
        return error.retryable or (isinstance(inner, Exception) and helps_to_repeat(inner))
    if isinstance(error, GoogleAuthError):
        return bool(error.retryable)
    if isinstance(error, requests.exceptions.SSLError):
        # A certificate does not get better.
        return False
    again = (
        requests.exceptions.ChunkedEncodingError,
        requests.exceptions.ConnectionError,
        requests.exceptions.ContentDecodingError,
        requests.exceptions.JSONDecodeError,
        requests.exceptions.Timeout,
        ConnectionError,
    )
    return isinstance(error, again)


def told(error: Exception, side: Side, bucket: str, label: str) -> StorageError | None:
    """How a caller is told; None of what is a fault of our own."""
    if isinstance(error, RetryError) and isinstance(error.cause, Exception):
        error = error.cause
    if isinstance(error, GoogleAPICallError):
        return _refusal(error, side, bucket, label)
    if isinstance(error, InvalidOperation):
        # The library wants a new token, and there is none where no credentials are.
        return failure(side, "FORBIDDEN", label, _unauthorized(bucket))
    if isinstance(error, GoogleAuthError):
        # Its text names files and accounts, which are for the operator alone.
        log.warning("gcs_credentials", error=f"{type(error).__name__}: {error}"[:1000])
        if helps_to_repeat(error) or isinstance(error, TransportError):
            text = "Google's service for tokens cannot be reached; retry the job in a moment."
            return failure(side, "UNAVAILABLE", label, text, transient=True)
        text = (
            "The server has no credentials for Google Cloud Storage that work; its operator sets "
            "them, and finds in its log what is wrong."
        )
        return failure(side, "FORBIDDEN", label, text)
    if isinstance(error, requests.exceptions.RequestException | ConnectionError):
        log.warning("gcs_failed", uri=label, error=_cause(error))
    if isinstance(error, requests.exceptions.SSLError):
        text = (
            "Google Cloud Storage showed no certificate that this server trusts; its operator "
            "checks the endpoint and the CA of the store."
        )
        return failure(side, "UNAVAILABLE", label, text)
    if isinstance(error, requests.exceptions.RequestException | ConnectionError):
        text = (
            "Google Cloud Storage cannot be reached; retry the job in a moment. If that does not "
            "help, the server's operator checks the store's endpoint."
        )
        return failure(side, "UNAVAILABLE", label, text, transient=True)
    return None


def _cause(error: BaseException) -> str:
    """What an error comes from. The library's own text has the whole address, a session's too."""
    kind, cause = type(error).__name__, error
    while (inner := cause.__cause__ or cause.__context__) is not None:
        cause = inner
    known = isinstance(cause, OSError) and not isinstance(cause, requests.RequestException)
    return f"{kind}: {cause}" if known else kind


def _refusal(error: GoogleAPICallError, side: Side, bucket: str, label: str) -> StorageError:
    code = error.code
    if code in REPEATED or _is_rate(error):
        what = "asks for fewer requests" if code in (403, 429) else f"answered {code}"
        text = f"Google Cloud Storage {what}; retry the job in a moment."
        return failure(side, "UNAVAILABLE", label, text, transient=True)
    match code:
        case HTTPStatus.UNAUTHORIZED:
            return failure(side, "FORBIDDEN", label, _unauthorized(bucket))
        case HTTPStatus.FORBIDDEN:
            verb, rights = {
                "source": ("read", "storage.objects.get"),
                "output": ("write", "storage.objects.create, get and delete"),
            }[side]
            text = (
                f"The server may not {verb} there: its account needs {rights} in the bucket "
                f"{bucket}."
            )
            return failure(side, "FORBIDDEN", label, text)
        case HTTPStatus.NOT_FOUND:
            text = f"There is no bucket {bucket} that the server can see."
            reason = "NOT_FOUND" if side == "source" else "UNAVAILABLE"
            return failure(side, reason, label, text)
        case HTTPStatus.PRECONDITION_FAILED if side == "output":
            return exists(label)
    # The error's own text holds the address, which may be a session's.
    log.warning("gcs_refused", uri=label, status=code, said=_said(error)[:500])
    text = f"Google Cloud Storage refused the request with status {code}."
    return failure(side, "UNAVAILABLE", label, text)


def _is_rate(error: GoogleAPICallError) -> bool:
    return error.code == HTTPStatus.FORBIDDEN and any(word in _said(error) for word in _RATE)


def _said(error: GoogleAPICallError) -> str:
    return getattr(error.response, "text", "")


def _unauthorized(bucket: str) -> str:
    return (
        f"Google Cloud Storage does not know the server's credentials for the bucket {bucket}, or "
        "wants some; its operator sets them."
    )
