"""From the status that a call ended with to the errors of this package. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Protocol, cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from reelsplit import errors

_DOMAIN = "reelsplit"
_DETAILS_KEY = "grpc-status-details-bin"
_Code = grpc.StatusCode

_PLAIN: Mapping[grpc.StatusCode, type[errors.ReelsplitError]] = {
    _Code.UNAUTHENTICATED: errors.UnauthenticatedError,
    _Code.PERMISSION_DENIED: errors.PermissionDeniedError,
    _Code.NOT_FOUND: errors.NotFoundError,
    _Code.ALREADY_EXISTS: errors.AlreadyExistsError,
    _Code.FAILED_PRECONDITION: errors.FailedPreconditionError,
    _Code.OUT_OF_RANGE: errors.OutOfRangeError,
    _Code.UNIMPLEMENTED: errors.UnsupportedError,
    _Code.DEADLINE_EXCEEDED: errors.DeadlineExceededError,
    _Code.CANCELLED: errors.CallCancelledError,
}
"""The codes whose errors carry nothing of their own. All others are `InternalError`."""


class _Status(Protocol):
    """What all errors of grpc offer, sync and async alike; their common base does not say so."""

    def code(self) -> grpc.StatusCode | None: ...
    def details(self) -> str | None: ...
    def trailing_metadata(self) -> Sequence[tuple[str, str | bytes]] | None: ...


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Details:
    """The standard details that a status may carry."""

    reason: str = ""
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)
    violations: tuple[errors.FieldViolation, ...] = ()
    retry_after: Fraction | None = None


def from_rpc_error(error: grpc.RpcError, target: str) -> errors.ReelsplitError:
    """The error that a failed call raises in the name of grpc's own."""
    status = cast(_Status, error)
    code = status.code() or _Code.UNKNOWN
    details = _details(status.trailing_metadata() or ())
    found = _error(code, status.details() or f"the call ended with {code.name}", details, target)
    found.from_server = bool(details.reason)
    return found


def _error(
    code: grpc.StatusCode, message: str, details: _Details, target: str
) -> errors.ReelsplitError:
    reason = details.reason or code.name
    metadata = details.metadata
    match code:
        case _Code.INVALID_ARGUMENT:
            return errors.InvalidRequestError(
                reason, message, metadata, code, violations=details.violations
            )
        case _Code.RESOURCE_EXHAUSTED:
            return errors.ResourceExhaustedError(
                reason, message, metadata, code, retry_after=details.retry_after
            )
        case _Code.UNAVAILABLE:
            if not details.reason:
                message = f"the server at {target} cannot be reached: {message}"
            return errors.UnavailableError(
                reason, message, metadata, code, retry_after=details.retry_after
            )
        case _:
            return _PLAIN.get(code, errors.InternalError)(reason, message, metadata, code)


def _details(trailer: Sequence[tuple[str, str | bytes]]) -> _Details:
    for key, value in trailer:
        if key == _DETAILS_KEY and isinstance(value, bytes):
            try:
                return _read(status_pb2.Status.FromString(value))
            except DecodeError:
                break
    return _Details()


def _read(status: status_pb2.Status) -> _Details:
    found = _Details()
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        bad_request = error_details_pb2.BadRequest()
        retry = error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            # The reason of another domain, such as a proxy's, is none of ours.
            if info.domain == _DOMAIN:
                found = dataclasses.replace(found, reason=info.reason, metadata=dict(info.metadata))
        elif detail.Unpack(bad_request):
            violations = tuple(
                errors.FieldViolation(field=item.field, description=item.description)
                for item in bad_request.field_violations
            )
            found = dataclasses.replace(found, violations=found.violations + violations)
        elif detail.Unpack(retry):
            delay = retry.retry_delay
            seconds = delay.seconds + Fraction(delay.nanos, 10**9)
            found = dataclasses.replace(found, retry_after=max(Fraction(0), seconds))
    return found
