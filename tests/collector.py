"""A collector of traces: takes what OpenTelemetry's exporters send over gRPC, and keeps it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as pb_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.server import wait_for


class Collector(pb_grpc.TraceServiceServicer):
    """The spans that came, and who sent them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: list[Span] = []
        self.services: set[str] = set()
        self.address = ""

    def Export(self, request: Any, context: Any) -> pb.ExportTraceServiceResponse:
        with self._lock:
            for each in request.resource_spans:
                for fact in each.resource.attributes:
                    if fact.key == "service.name":
                        self.services.add(fact.value.string_value)
                for scope in each.scope_spans:
                    self._spans += scope.spans
        return pb.ExportTraceServiceResponse()

    def spans(self, trace_id: str | None = None) -> Sequence[Span]:
        """The spans of a trace, or all."""
        with self._lock:
            return [s for s in self._spans if trace_id in (None, s.trace_id.hex())]

    def wait(self, *names: str, trace_id: str | None = None) -> Sequence[Span]:
        """The spans, once there are some of these names."""
        wait_for(lambda: set(names) <= {span.name for span in self.spans(trace_id)})
        return self.spans(trace_id)


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that answers on a free port."""
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    pb_grpc.add_TraceServiceServicer_to_server(collector, server)
    collector.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield collector
    finally:
        server.stop(None).wait()


def facts(span: Span) -> dict[str, str | int | bool]:
    """The attributes of a span."""
    found: dict[str, str | int | bool] = {}
    for fact in span.attributes:
        kind = fact.value.WhichOneof("value")
        assert kind is not None
        found[fact.key] = getattr(fact.value, kind)
    return found
