"""Calls as spans of OpenTelemetry, in programs that use that; others are told nothing of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc

from reelsplit.v1 import job_service_pb2, media_service_pb2

Metadata = Sequence[tuple[str, str]]
_NAME = "reelsplit"
_SERVICES = (
    job_service_pb2.DESCRIPTOR.services_by_name["JobService"],
    media_service_pb2.DESCRIPTOR.services_by_name["MediaService"],
)


@dataclass(slots=True)
class Sent:
    """What a call is sent with, and how its last attempt ended."""

    metadata: Metadata
    code: str | None = None

    def failed(self, error: grpc.RpcError) -> None:
        """An attempt failed."""
        code: Any = error.code() if isinstance(error, grpc.Call | grpc.aio.AioRpcError) else None
        self.code = "UNKNOWN" if code is None else code.name


@contextmanager
def calling(method: str, target: str, metadata: Metadata) -> Iterator[Sent]:
    """A call, with all its attempts, is a span, and its metadata name it."""
    trace = _opentelemetry()
    if trace is None:
        yield Sent(metadata)
        return
    full = _full_name(method)
    attributes: dict[str, str | int] = {"rpc.system.name": "grpc", "rpc.method": full}
    host, _, port = target.rpartition(":")
    if port.isdigit():
        attributes |= {"server.address": host, "server.port": int(port)}
    else:
        attributes["server.address"] = target
    tracer = trace.get_tracer(_NAME)
    with tracer.start_as_current_span(
        full,
        kind=trace.SpanKind.CLIENT,
        attributes=attributes,
        # What errors say may hold what callers sent.
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        sent = Sent([*metadata, *_place()])
        try:
            yield sent
        except BaseException as error:
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(trace.StatusCode.ERROR)
            if sent.code is not None:
                span.set_attribute("rpc.response.status_code", sent.code)
            raise
        span.set_attribute("rpc.response.status_code", "OK")


def streaming(metadata: Metadata) -> Metadata:
    """The metadata to begin a stream with. It may last for ever, and is no span here."""
    return metadata if _opentelemetry() is None else [*metadata, *_place()]


def _opentelemetry() -> Any:
    # Who traces has loaded it; for all others that would be time wasted.
    return sys.modules.get("opentelemetry.trace")


def _full_name(method: str) -> str:
    names = (service.full_name for service in _SERVICES if method in service.methods_by_name)
    return f"{next(names)}/{method}"


def _place() -> Metadata:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    # Not by what the program has chosen: its baggage is for services of its own.
    TraceContextTextMapPropagator().inject(carrier)
    return list(carrier.items())
