"""Calls as metrics, traces and logs see them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import grpc
from grpc.aio import AbortError, ServicerContext

from reelsplit_server import metrics, tracing

ResultT = TypeVar("ResultT")
_CODES: Mapping[int, str] = {code.value[0]: code.name for code in grpc.StatusCode}
# https://opentelemetry.io/docs/specs/semconv/rpc/grpc: the others are the caller's.
_FAULTS = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)


def observed(
    answer: Callable[[Any, ServicerContext[Any, Any]], Awaitable[ResultT]],
    method: str,
    metadata: Mapping[str, str | bytes],
) -> Callable[[Any, ServicerContext[Any, Any]], Awaitable[ResultT]]:
    """The handler of a method that is answered once, with everything in it below its span."""
    latency = metrics.CALL_SECONDS.labels("grpc", method.rpartition("/")[2])

    async def call(request: Any, context: ServicerContext[Any, Any]) -> ResultT:
        started = time.perf_counter()
        try:
            with _counted(method, metadata, context) as span, tracing.within(span):
                return await answer(request, context)
        finally:
            latency.observe(time.perf_counter() - started)

    return call


@contextmanager
def watching(
    method: str, metadata: Mapping[str, str | bytes], context: ServicerContext[Any, Any]
) -> Iterator[None]:
    """A stream is open as long as the block lasts."""
    open_now = metrics.WATCHERS.labels(method.rpartition("/")[2])
    open_now.inc()
    try:
        with _counted(method, metadata, context):
            yield
    finally:
        open_now.dec()


@contextmanager
def _counted(
    method: str, metadata: Mapping[str, str | bytes], context: ServicerContext[Any, Any]
) -> Iterator[tracing.Span]:
    full = method.removeprefix("/")
    parent = metadata.get("traceparent")
    span = tracing.start(
        full,
        tracing.Place.of(parent if isinstance(parent, str) else None),
        kind=tracing.Kind.SERVER,
        rpc__system__name="grpc",
        rpc__method=full,
    )
    code = "OK"
    try:
        yield span
    except AbortError:
        code = _code(context)
        raise
    except (asyncio.CancelledError, GeneratorExit):
        code = "CANCELLED"
        raise
    except BaseException:
        code = "UNKNOWN"
        raise
    finally:
        metrics.CALLS.labels("grpc", full.rpartition("/")[2], code).inc()
        span.set(rpc__response__status_code=code)
        if code in _FAULTS:
            span.fail(code)
        span.end()


def _code(context: ServicerContext[Any, Any]) -> str:
    found: Any = context.code()
    return found.name if isinstance(found, grpc.StatusCode) else _CODES.get(found, "UNKNOWN")
