"""The asyncio side of calls and watches: channel, repetition, and streams of events."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self, TypeVar, cast

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


class AsyncTransport:
    """A channel that is opened by the first call, since it belongs to the loop it is made in."""

    def __init__(self, endpoint: Endpoint, timeout: float, policy: RetryPolicy) -> None:
        self.endpoint = endpoint
        self.policy = policy
        self.closed = False
        self._timeout = timeout
        self._channel: grpc.aio.Channel | None = None
        self._methods: dict[str, Any] = {}

    async def close(self) -> None:
        """End what is under way."""
        self.closed = True
        if self._channel is not None:
            await self._channel.close()

    async def invoke(self, call: Call[ResultT], timeout: float | None = None) -> ResultT:
        """Make a call, again and again as far as the policy allows."""
        timeout = self._timeout if timeout is None else min(timeout, self._timeout)
        attempts = Attempts(self.policy, timeout, time.monotonic())
        with calling(call.method, self.endpoint.target, self.endpoint.metadata) as sent:
            while True:
                method = self._method(call.method)
                try:
                    response = await method(
                        call.request,
                        timeout=attempts.remaining(time.monotonic()),
                        metadata=sent.metadata,
                    )
                except grpc.RpcError as raw:
                    sent.failed(raw)
                    error = from_rpc_error(raw, self.endpoint.target)
                except asyncio.CancelledError:
                    if not self.was_closed():
                        raise
                    error = client_closed()
                else:
                    return call.read(response)
                if call.gone and attempts.failures and isinstance(error, errors.NotFoundError):
                    return call.gone()
                pause = attempts.pause_after(error, time.monotonic())
                await asyncio.sleep(pause)

    def stream(self, watching: Watching) -> Any:
        """Begin the next stream of a watch."""
        now = time.monotonic()
        return self._method(watching.method)(
            watching.begin(now),
            timeout=watching.remaining(now),
            metadata=streaming(self.endpoint.metadata),
        )

    def was_closed(self) -> bool:
        """Whether a CancelledError is the closing of the client, and not a cancelled task."""
        task = asyncio.current_task()
        return self.closed and not (task and task.cancelling())

    def _method(self, name: str) -> Any:
        if self.closed:
            raise RuntimeError("this client is closed")
        if self._channel is None:
            target, options = self.endpoint.target, self.endpoint.options
            if self.endpoint.credentials is None:
                self._channel = grpc.aio.insecure_channel(target, options)
            else:
                self._channel = grpc.aio.secure_channel(target, self.endpoint.credentials, options)
            # The stubs only wrap a channel, of either kind; their types tell the two apart.
            channel = cast(Any, self._channel)
            self._methods = {**vars(JobServiceStub(channel)), **vars(MediaServiceStub(channel))}
        return self._methods[name]


class AsyncEventStream(AsyncIterator[JobEvent]):
    """The events of a watch, which outlasts broken streams by itself.

    Leave it by ``close``, by the end of an ``async with`` block, or by letting go of it: each
    ends the stream on the server too. A task that is cancelled while it waits for an event loses
    none: whoever iterates on gets it.
    """

    def __init__(
        self, transport: AsyncTransport, plan: Plan, deadline: float | None = None
    ) -> None:
        self._transport = transport
        self._watching = Watching(plan, transport.policy, deadline)
        self._closed = asyncio.Event()
        self._events: Any = None
        self._stream: Any = transport.stream(self._watching)

    @property
    def resume_token(self) -> str:
        """What resumes behind all events that were handed out."""
        return self._watching.token

    async def close(self) -> None:
        """End the watch."""
        self._closed.set()
        self._drop()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> JobEvent:
        while not self._closed.is_set():
            try:
                if self._stream is None:
                    self._stream = self._transport.stream(self._watching)
                event, pause = await self._read()
            except errors.ReelsplitError:
                await self.close()
                raise
            except BaseException:
                # Such as CancelledError. Going on afterwards resumes, and loses nothing.
                self._drop()
                raise
            if event is not None:
                return event
            if pause is not None:
                self._drop()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._closed.wait(), pause)
        self._drop()
        raise StopAsyncIteration

    async def _read(self) -> tuple[JobEvent | None, float | None]:
        """The next event, if it is new; and the pause before the next stream, if this one is
        over. Closes the watch if it is over altogether."""
        error: errors.ReelsplitError | None = None
        if self._events is None:
            # Not `read()`, which passes over what arrived together with the status.
            self._events = aiter(self._stream)
        try:
            response = await anext(self._events)
            return self._watching.accept(wire.from_message(JobEvent, response.event)), None
        except StopAsyncIteration:
            pass
        except grpc.RpcError as raw:
            error = from_rpc_error(raw, self._transport.endpoint.target)
        except asyncio.CancelledError:
            # The stream was ended by `close`, of this watch or of the client, in another task.
            if not self._transport.was_closed() and not self._was_closed():
                raise
        except errors.InternalError as gap:
            error = gap
        if self._closed.is_set():
            return None, None
        if self._transport.closed:
            raise client_closed()
        now = time.monotonic()
        pause = self._watching.failed(error, now) if error else self._watching.finished(now)
        if pause is None:
            self._closed.set()
        return None, pause

    def _was_closed(self) -> bool:
        task = asyncio.current_task()
        return self._closed.is_set() and not (task and task.cancelling())

    def _drop(self) -> None:
        stream, self._stream, self._events = self._stream, None, None
        if stream is not None:
            stream.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __del__(self) -> None:
        # Without a stream the constructor failed. A loop that is closed has nothing to cancel.
        if getattr(self, "_stream", None) is not None:
            with contextlib.suppress(RuntimeError):
                self._drop()


def client_closed() -> errors.CallCancelledError:
    """What ends a call whose client is closed under it."""
    return errors.CallCancelledError("CLIENT_CLOSED", "the client was closed")
