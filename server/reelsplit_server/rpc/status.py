"""From the errors of the use cases to gRPC statuses with the standard details."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2

from reelsplit_server.app.errors import AppError, Kind

DOMAIN = "reelsplit"
DETAILS = "grpc-status-details-bin"
# A status travels in HTTP/2 headers, which clients bound to some 8 KiB.
_MOST_DETAILS = 6000

_CODES = {
    Kind.INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    Kind.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Kind.ALREADY_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
    Kind.WRONG_STATE: grpc.StatusCode.FAILED_PRECONDITION,
    Kind.TOO_OLD: grpc.StatusCode.OUT_OF_RANGE,
    Kind.EXHAUSTED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Kind.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    Kind.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    Kind.DENIED: grpc.StatusCode.PERMISSION_DENIED,
    Kind.UNSUPPORTED: grpc.StatusCode.UNIMPLEMENTED,
    Kind.INTERNAL: grpc.StatusCode.INTERNAL,
}


async def abort(context: grpc.aio.ServicerContext[Any, Any], error: AppError) -> None:
    """End a call with the status of an error. Always raises."""
    code = _CODES[error.kind]
    message = error.message if len(error.message) <= 1500 else error.message[:1499] + "…"
    status = status_pb2.Status(code=_number(code), message=message)
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)
    status.details.add().Pack(info)
    if error.retry_after is not None:
        delay = Duration()
        delay.FromNanoseconds(int(error.retry_after * 1e9))
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    if error.violations:
        status.details.add().Pack(_bad_request(error))
    trailer = ((DETAILS, status.SerializeToString()),)
    await context.abort(code, message, trailer)


def _bad_request(error: AppError) -> error_details_pb2.BadRequest:
    details = error_details_pb2.BadRequest()
    size = 0
    for place, violation in enumerate(error.violations):
        size += len(violation.field) + len(violation.description) + 30
        if size > _MOST_DETAILS:
            left = len(error.violations) - place
            details.field_violations.add(field="", description=f"and {left} more fields are wrong")
            break
        details.field_violations.add(
            field=violation.field, description=violation.description, reason=violation.reason
        )
    return details


def _number(code: grpc.StatusCode) -> int:
    return int(code_pb2.Code.Value(code.name))
