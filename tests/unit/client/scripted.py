"""A real gRPC server whose answers a test writes down, and the two clients behind one surface."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import socket
import struct
import threading
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from reelsplit import AsyncClient, AsyncJobHandle, RetryPolicy
from reelsplit.v1 import event_pb2, job_pb2, job_service_pb2, segment_pb2
from reelsplit.v1.job_service_pb2_grpc import add_JobServiceServicer_to_server
from reelsplit.v1.media_service_pb2_grpc import add_MediaServiceServicer_to_server

JOB_ID = "0123456789abcdef" * 2
QUICK = RetryPolicy(initial=0.005, maximum=0.02, max_outage=0.5)
Step = Callable[[Any, grpc.ServicerContext], Any]

UNARY = (
    *("SubmitJob", "GetJob", "ListJobs", "CancelJob", "DeleteJob", "RetryJob", "ListSegments"),
    *("RegisterMedia", "GetMedia", "ListMedia", "DeleteMedia"),
)
STREAMS = ("WatchJob", "WatchJobs")


class Scripted:
    """The servicer of both services. Each call takes the next step written for its method; the
    last step stays."""

    def __init__(self) -> None:
        self.steps: dict[str, deque[Step]] = defaultdict(deque)
        self.requests: dict[str, list[Any]] = defaultdict(list)
        self.metadata: list[dict[str, str | bytes]] = []
        self.ended: list[str] = []
        """The streams that were ended by the client."""
        for name in UNARY:
            setattr(self, name, self._unary(name))
        for name in STREAMS:
            setattr(self, name, self._stream(name))

    def on(self, method: str, *steps: Step | Message) -> None:
        self.steps[method] = deque(step if callable(step) else _answer(step) for step in steps)

    def _next(self, method: str, request: Any, context: grpc.ServicerContext) -> Any:
        self.requests[method].append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        steps = self.steps[method]
        step = steps.popleft() if len(steps) > 1 else steps[0]
        return step(request, context)

    def _unary(self, method: str) -> Callable[..., Any]:
        return lambda request, context: self._next(method, request, context)

    def _stream(self, method: str) -> Callable[..., Any]:
        def handle(request: Any, context: grpc.ServicerContext) -> Iterator[Message]:
            context.add_callback(lambda: self.ended.append(method))
            yield from self._next(method, request, context) or ()

        return handle


@contextlib.contextmanager
def serving(scripted: Any, port: int = 0) -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
    add_JobServiceServicer_to_server(scripted, server)
    add_MediaServiceServicer_to_server(scripted, server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


class Line:
    """A TCP line to a server, which can be cut."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._to = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.target = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Reset all that is connected."""
        now, self._open = self._open, []
        for end in now:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RD)
            end.close()

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._to)
                self._open += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)


def _answer(message: Message) -> Step:
    return lambda request, context: message


def failure(code: grpc.StatusCode, message: str = "no", *details: Message) -> Step:
    """A step that ends the call with this status."""

    def fail(request: Any, context: grpc.ServicerContext) -> None:
        status = status_pb2.Status(code=code.value[0], message=message)
        for detail in details:
            packed = any_pb2.Any()
            packed.Pack(detail)
            status.details.append(packed)
        if details:
            context.set_trailing_metadata(
                (("grpc-status-details-bin", status.SerializeToString()),)
            )
        context.abort(code, message)

    return fail


def info(reason: str, **metadata: str) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(reason=reason, domain="reelsplit", metadata=metadata)


def retry_after(seconds: float) -> error_details_pb2.RetryInfo:
    delay = Duration()
    delay.FromNanoseconds(round(seconds * 1e9))
    return error_details_pb2.RetryInfo(retry_delay=delay)


class Taken:
    """Counts the events that clients have read."""

    def __init__(self) -> None:
        self.count = 0

    def wait(self, count: int, context: grpc.ServicerContext) -> None:
        """Until there are so many, or nobody reads any more."""
        while self.count < count and context.is_active():
            time.sleep(0.001)


TAKEN = Taken()


def stream(*parts: event_pb2.JobEvent | Step) -> Step:
    """A step that sends events; a part that is a step is done in its place, once what was sent
    before it was read: gRPC throws away what nobody has read when a call fails."""

    def send(request: Any, context: grpc.ServicerContext) -> Iterator[Message]:
        count = TAKEN.count
        for part in parts:
            if isinstance(part, event_pb2.JobEvent):
                yield job_service_pb2.WatchJobResponse(event=part)
                count += 1
            else:
                TAKEN.wait(count, context)
                part(request, context)

    return send


def state(sequence: int, name: str, percent: float = 0) -> event_pb2.JobEvent:
    """A numbered event; its token is its number."""
    return event_pb2.JobEvent(
        job_id=JOB_ID,
        sequence=sequence,
        resume_token=str(sequence),
        job_state_changed=event_pb2.JobStateChanged(
            state=job_pb2.JobState.Value(f"JOB_STATE_{name}"), percent=percent
        ),
    )


def segment(sequence: int, index: int = 0) -> event_pb2.JobEvent:
    return event_pb2.JobEvent(
        job_id=JOB_ID,
        sequence=sequence,
        resume_token=str(sequence),
        segment_changed=event_pb2.SegmentChanged(
            segment=segment_pb2.Segment(job_id=JOB_ID, index=index)
        ),
    )


def progress(percent: float, token: str = "") -> event_pb2.JobEvent:
    return event_pb2.JobEvent(
        job_id=JOB_ID, resume_token=token, progress=job_pb2.JobProgress(percent=percent)
    )


def job(name: str = "PENDING", **fields: Any) -> job_pb2.Job:
    return job_pb2.Job(job_id=JOB_ID, state=job_pb2.JobState.Value(f"JOB_STATE_{name}"), **fields)


def got(name: str, **fields: Any) -> job_service_pb2.GetJobResponse:
    return job_service_pb2.GetJobResponse(job=job(name, **fields))


class Driven:
    """An async client, handle or stream behind the surface of the blocking one, so that one test
    holds for both."""

    def __init__(self, runner: asyncio.Runner, inner: Any) -> None:
        self._runner = runner
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        return self._method(value) if callable(value) else value

    def _method(self, method: Callable[..., Any]) -> Callable[..., Any]:
        async def called(*args: Any, **kwargs: Any) -> Any:
            result = method(*args, **kwargs)
            return await result if inspect.isawaitable(result) else result

        def call(*args: Any, **kwargs: Any) -> Any:
            result = self._runner.run(called(*args, **kwargs))
            if isinstance(result, AsyncIterator | AsyncJobHandle):
                return Driven(self._runner, result)
            return result

        return call

    def __iter__(self) -> Driven:
        return self

    def __next__(self) -> Any:
        async def step() -> Any:
            try:
                return await anext(self._inner)
            except StopAsyncIteration:
                return StopAsyncIteration

        value = self._runner.run(step())
        if value is StopAsyncIteration:
            raise StopIteration
        return value


@contextlib.contextmanager
def driven(*args: Any, **kwargs: Any) -> Iterator[Driven]:
    with asyncio.Runner() as runner:
        client = Driven(runner, AsyncClient(*args, **kwargs))
        try:
            yield client
        finally:
            client.close()
