"""Traces as OpenTelemetry has them, from the caller's span down to what a worker does.

Off unless OpenTelemetry's own environment variables name a collector; trace ids that callers send
are kept and logged all the same. Every layer of the server uses this directly, and so it imports
nothing of ours.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum
from typing import Any

import structlog

log = structlog.get_logger(__name__)
_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_SERVICE = "reelsplit"
_END = 5.0
"""How long sending the last spans may take, in seconds."""


class Kind(Enum):
    """What a span is to those of other processes."""

    INTERNAL = "INTERNAL"
    SERVER = "SERVER"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A span as others refer to it: by 32 and 16 hexadecimal digits."""

    trace_id: str
    span_id: str
    sampled: bool = True

    @classmethod
    def of(cls, parent: str | None) -> Place | None:
        """The place that a W3C ``traceparent`` names; None where it names none."""
        found = _PARENT.fullmatch(parent) if parent is not None and len(parent) <= 256 else None
        if found is None:
            return None
        version, trace_id, span_id, flags, more = found.groups()
        # Later versions may say more, and this one may not.
        wrong = version == "ff" or (version == "00" and more)
        if wrong or not int(trace_id, 16) or not int(span_id, 16):
            return None
        return cls(trace_id=trace_id, span_id=span_id, sampled=bool(int(flags, 16) & 1))

    def __str__(self) -> str:
        """As ``traceparent``."""
        return f"00-{self.trace_id}-{self.span_id}-{self.sampled:02x}"


class Span:
    """A span under way; where tracing is off, nothing but the place of the one above it."""

    def __init__(self, place: Place | None, span: Any = None) -> None:
        self.place = place
        """Where it is, for those below it."""
        self._span = span

    def set(self, **attributes: str | int | float | bool) -> None:
        """Add attributes; two underscores stand for a dot."""
        if self._span is not None:
            self._span.set_attributes(_dotted(attributes))

    def fail(self, error: str, description: str = "") -> None:
        """It failed: with a short, known reason, and in words."""
        if self._span is not None:
            from opentelemetry.trace import StatusCode

            self._span.set_attribute("error.type", error)
            self._span.set_status(StatusCode.ERROR, description or error)

    def end(self, at: int | None = None) -> None:
        """It has ended: now, or at a time in nanoseconds since 1970."""
        if self._span is not None:
            self._span.end(end_time=at)


class _Tracing:
    """The exporter's side, once there is one."""

    tracer: Any = None


_active = _Tracing()
_current: ContextVar[Place | None] = ContextVar("place", default=None)
_given_id: ContextVar[int | None] = ContextVar("given_id", default=None)


def current() -> Place | None:
    """Where what is done just now belongs."""
    return _current.get()


def is_on() -> bool:
    """Whether spans are exported."""
    return _active.tracer is not None


def start(
    name: str,
    parent: Place | None,
    *,
    kind: Kind = Kind.INTERNAL,
    at: int | None = None,
    span_id: str | None = None,
    **attributes: str | int | float | bool,
) -> Span:
    """Begin a span below another, or a trace of its own: now, or at a time in nanoseconds since
    1970. ``span_id`` is given where others knew it before. Attributes are as in `Span.set`."""
    if _active.tracer is None:
        return Span(parent)
    from opentelemetry import trace
    from opentelemetry.context import Context

    context = trace.set_span_in_context(_reference(parent)) if parent is not None else None
    token = _given_id.set(None if span_id is None else int(span_id, 16))
    try:
        span = _active.tracer.start_span(
            name,
            # An empty one, where there is no parent: what the process may be in is not ours.
            context=context if context is not None else Context(),
            kind=trace.SpanKind[kind.value],
            start_time=at,
            attributes=_dotted(attributes),
        )
    finally:
        _given_id.reset(token)
    found = span.get_span_context()
    place = Place(
        trace_id=f"{found.trace_id:032x}",
        span_id=f"{found.span_id:016x}",
        sampled=found.trace_flags.sampled,
    )
    return Span(place, span)


@contextmanager
def within(span: Span) -> Iterator[None]:
    """What is done in the block belongs to a span, and its log lines carry its ids. The span is
    not ended."""
    place = span.place
    if place is None:
        yield
        return
    token = _current.set(place)
    ids = {"trace_id": place.trace_id, "span_id": place.span_id}
    try:
        with structlog.contextvars.bound_contextvars(**ids):
            yield
    finally:
        _current.reset(token)


def configure(environment: Mapping[str, str] = os.environ) -> Callable[[], None]:
    """Export spans where OpenTelemetry's environment variables ask for that; answers what sends
    the last ones and ends it, which may block for five seconds."""
    if not _wanted(environment):
        return lambda: None
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

        exporter = _exporter(environment)
    except ImportError as error:
        log.warning("tracing_off", missing=error.name, hint="pip install 'reelsplit[otel]'")
        return lambda: None

    class Ids(RandomIdGenerator):
        def generate_span_id(self) -> int:
            return _given_id.get() or super().generate_span_id()

    named = "OTEL_SERVICE_NAME" in environment or "service.name=" in environment.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    resource = Resource.create({} if named else {"service.name": _SERVICE})
    provider = TracerProvider(resource=resource, id_generator=Ids(), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    _active.tracer = provider.get_tracer("reelsplit_server")
    log.info("tracing_on", exporter=type(exporter).__module__.partition(".trace_exporter")[0])

    def end() -> None:
        _active.tracer = None
        # The exporter waits longer for a collector that says nothing, and more than once.
        ending = threading.Thread(target=provider.shutdown, name="tracing-end", daemon=True)
        ending.start()
        ending.join(_END)

    return end


def _wanted(environment: Mapping[str, str]) -> bool:
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    chosen = environment.get("OTEL_TRACES_EXPORTER", "").strip()
    if chosen:
        return chosen == "otlp"
    return any(environment.get(name) for name in _ENDPOINTS)


def _exporter(environment: Mapping[str, str]) -> Any:
    general = environment.get("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    if environment.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", general).startswith("http/"):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as Http

        return Http()
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as Grpc

    return Grpc()


def _reference(place: Place) -> Any:
    from opentelemetry import trace

    return trace.NonRecordingSpan(
        trace.SpanContext(
            trace_id=int(place.trace_id, 16),
            span_id=int(place.span_id, 16),
            is_remote=True,
            trace_flags=trace.TraceFlags(place.sampled),
        )
    )


def _dotted(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace("__", "."): value for name, value in attributes.items()}
