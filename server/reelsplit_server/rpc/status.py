"""From the errors of the use cases to gRPC statuses with the standard details."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2

from reelsplit_server.app.errors import AppError, Kind

DOMAIN = "reelsplit"
DETAILS = "grpc-status-details-bin"
# A status travels in HTTP/2 headers, of which clients take 8 KiB: once the message as text, and
# once with the details. Both bounds are bytes.
_MOST_MESSAGE = 1000
_MOST_DETAILS = 4500
_PLAIN = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")

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
    message = _short(error.message)
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
        size += len(violation.field.encode()) + len(violation.description.encode()) + 30
        if size > _MOST_DETAILS:
            left = len(error.violations) - place
            details.field_violations.add(field="", description=f"and {left} more fields are wrong")
            break
        details.field_violations.add(
            field=violation.field, description=violation.description, reason=violation.reason
        )
    return details


def _short(message: str) -> str:
    """As much of a message as fits, in the escaped form in which it travels."""
    short = message
    while len(quote(short, safe=_PLAIN)) > _MOST_MESSAGE:
        short = short[: len(short) * 9 // 10 - 1]
    return short if short == message else short + "…"


def _number(code: grpc.StatusCode) -> int:
    return int(code_pb2.Code.Value(code.name))
