"""The blocking side of calls and watches: channel, repetition, and streams of events."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc

from reelsplit import errors, wire
from reelsplit.calls import Call
from reelsplit.channel import Endpoint
from reelsplit.retry import Attempts, RetryPolicy
from reelsplit.statuses import from_rpc_error
from reelsplit.traces import calling, streaming
from reelsplit.types.event import JobEvent
from reelsplit.v1.job_service_pb2_grpc import JobServiceStub
from reelsplit.v1.media_service_pb2_grpc import MediaServiceStub
from reelsplit.watching import Plan, Watching

ResultT = TypeVar("ResultT")


class Transport:
    """An open channel. Nothing is sent before the first call."""

    def __init__(self, endpoint: Endpoint, timeout: float, policy: RetryPolicy) -> None:
        self.endpoint = endpoint
        self.policy = policy
        self._timeout = timeout
        self._closed = threading.Event()
        if endpoint.credentials is None:
            self._channel = grpc.insecure_channel(endpoint.target, endpoint.options)
        else:
            self._channel = grpc.secure_channel(
                endpoint.target, endpoint.credentials, endpoint.options
            )
        self._methods: dict[str, Any] = {
            **vars(JobServiceStub(self._channel)),
            **vars(MediaServiceStub(self._channel)),
        }

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed.is_set()

    def close(self) -> None:
        """End what is under way."""
        self._closed.set()
        self._channel.close()

    def invoke(self, call: Call[ResultT], timeout: float | None = None) -> ResultT:
        """Make a call, again and again as far as the policy allows."""
        timeout = self._timeout if timeout is None else min(timeout, self._timeout)
        attempts = Attempts(self.policy, timeout, time.monotonic())
        with calling(call.method, self.endpoint.target, self.endpoint.metadata) as sent:
            while True:
                self._check_open()
                try:
                    response = self._methods[call.method](
                        call.request,
                        timeout=attempts.remaining(time.monotonic()),
                        metadata=sent.metadata,
                    )
                except grpc.RpcError as raw:
                    sent.failed(raw)
                    error = from_rpc_error(raw, self.endpoint.target)
                else:
                    return call.read(response)
                if call.gone and attempts.failures and isinstance(error, errors.NotFoundError):
                    return call.gone()
                pause = attempts.pause_after(error, time.monotonic())
                self._closed.wait(pause)

    def stream(self, watching: Watching) -> Any:
        """Begin the next stream of a watch."""
        self._check_open()
        now = time.monotonic()
        return self._methods[watching.method](
            watching.begin(now),
            timeout=watching.remaining(now),
            metadata=streaming(self.endpoint.metadata),
        )

    def _check_open(self) -> None:
        if self.closed:
            raise RuntimeError("this client is closed")


class EventStream(Iterator[JobEvent]):
    """The events of a watch, which outlasts broken streams by itself.

    Leave it by ``close``, by the end of a ``with`` block, or by letting go of it: each ends the
    stream on the server too. ``close`` may be called from another thread; it ends the iteration.
    """

    def __init__(self, transport: Transport, plan: Plan, deadline: float | None = None) -> None:
        self._transport = transport
        self._watching = Watching(plan, transport.policy, deadline)
        self._closed = threading.Event()
        self._stream: Any = transport.stream(self._watching)

    @property
    def resume_token(self) -> str:
        """What resumes behind all events that were handed out."""
        return self._watching.token

    def close(self) -> None:
        """End the watch."""
        self._closed.set()
        self._drop()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> JobEvent:
        while not self._closed.is_set():
            try:
                if self._stream is None:
                    self._stream = self._transport.stream(self._watching)
                event, pause = self._read()
            except errors.ReelsplitError:
                self.close()
                raise
            except BaseException:
                # Such as KeyboardInterrupt. Going on afterwards resumes, and loses nothing.
                self._drop()
                raise
            if event is not None:
                return event
            if pause is not None:
                self._drop()
                self._closed.wait(pause)
        self._drop()
        raise StopIteration

    def _read(self) -> tuple[JobEvent | None, float | None]:
        """The next event, if it is new; and the pause before the next stream, if this one is
        over. Closes the watch if it is over altogether."""
        error: errors.ReelsplitError | None = None
        try:
            response = next(self._stream)
            return self._watching.accept(wire.from_message(JobEvent, response.event)), None
        except StopIteration:
            pass
        except grpc.RpcError as raw:
            error = from_rpc_error(raw, self._transport.endpoint.target)
        except errors.InternalError as gap:
            error = gap
        if self._closed.is_set():
            return None, None
        if self._transport.closed:
            raise errors.CallCancelledError("CLIENT_CLOSED", "the client was closed")
        now = time.monotonic()
        pause = self._watching.failed(error, now) if error else self._watching.finished(now)
        if pause is None:
            self._closed.set()
        return None, pause

    def _drop(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # Without a stream the constructor failed.
        if getattr(self, "_stream", None) is not None:
            self.close()
