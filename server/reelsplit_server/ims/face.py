"""The ASGI application: reads a request, lets it in, calls its operation, answers in JSON."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import structlog
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from reelsplit_server import metrics, tracing
from reelsplit_server.app.errors import AppError
from reelsplit_server.app.errors import translated as store_translated
from reelsplit_server.ims.actions import Action, JobActions, UseCases
from reelsplit_server.ims.budget import Budget, Share
from reelsplit_server.ims.callback_actions import CallbackActions
from reelsplit_server.ims.errors import NO_ROOM, ImsError, fault, throttled, translated
from reelsplit_server.ims.gate import Gate
from reelsplit_server.ims.media_actions import MediaActions
from reelsplit_server.ims.parameters import Parameters
from reelsplit_server.ims.received import MOST_BYTES, Received, parameters, read, too_large

log = structlog.get_logger(__name__)
VERSION = "2020-11-09"
_BODY_TIMEOUT = 30.0
_READERS = 16
"""How many requests may be on their way for each that may be answered."""
_MOST_DISCARDED = 16 * 2**20
"""What is read of a body that is too long, so that its sender gets to hear that it is."""
_MOST_HELD = 256 * 2**20
"""Bytes of all requests that are on their way, which anybody can send."""


class Face:
    """Answers all operations; at most ``most_calls`` at once."""

    def __init__(self, cases: UseCases, gate: Gate, most_calls: int) -> None:
        self._gate = gate
        self.budget = Budget(_MOST_HELD)
        """For what is held of requests before they are let in."""
        # Apart from each other: anybody can begin a request and leave it at that.
        self._answering = _Room(most_calls, "are being answered")
        self._reading = _Room(most_calls * _READERS, "are being sent")
        self._actions: Mapping[str, Action] = {
            **JobActions(cases).table,
            **MediaActions(cases).table,
            **CallbackActions(cases).table,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        request_id, started = new_request_id(), time.monotonic()
        host = request.headers.get("host", "")
        # As long as nothing is answered, the client has gone.
        status, code = 499, "499"
        span = tracing.start(
            request.method,
            tracing.Place.of(request.headers.get("traceparent")),
            kind=tracing.Kind.SERVER,
            http__request__method=request.method,
        )
        try:
            with tracing.within(span):
                answer = await self._answered(request)
            response = answered(request_id, {"RequestId": request_id, **answer})
            status, code = 200, "200"
        except ClientDisconnect:
            return
        except ImsError as error:
            status, code = error.status, error.code
            response = refused(request_id, host, error)
        finally:
            seconds = time.monotonic() - started
            self._count(request.state.action, status, code, seconds, span)
            log.debug(
                "ims_call",
                action=request.state.action,
                request_id=request_id,
                code=code,
                milliseconds=round(seconds * 1000, 1),
            )
        await response(scope, receive, send)

    def _count(
        self, action: str, status: int, code: str, seconds: float, span: tracing.Span
    ) -> None:
        # What callers made up would be a metric of its own each time.
        known = action if action in self._actions else "other"
        # By code: most refusals have the status 400, also those that mean a limit.
        metrics.CALLS.labels("ims", known, code).inc()
        metrics.CALL_SECONDS.labels("ims", known).observe(seconds)
        span.set(http__response__status_code=status, reelsplit__ims__action=known)
        if status >= 500:
            span.fail(code)
        span.end()

    async def _answered(self, request: Request) -> dict[str, Any]:
        request.state.action = ""
        try:
            with self._reading.one():
                received = await _received(request, self.budget)
            with self._answering.one():
                return await self._admitted(request, received)
        except ImsError:
            raise
        except AppError as error:
            raise translated(error) from error
        except ClientDisconnect:
            raise
        except Exception as error:
            log.exception("ims_call_failed", action=request.state.action)
            raise fault() from error

    async def _admitted(self, request: Request, received: Received) -> dict[str, Any]:
        admitted = self._gate.admit(received)
        action = request.state.action = admitted.action
        operation = self._actions.get(action)
        try:
            if operation is None or admitted.version != VERSION:
                raise _no_such(action, admitted.version, known=operation is not None)
            return await operation(admitted.caller, Parameters(parameters(received)))
        finally:
            # Whatever is answered, the same request is refused from then on.
            with store_translated():
                await admitted.kept


class _Room:
    """So many requests at once; ``doing`` says what is done with them."""

    def __init__(self, most: int, doing: str) -> None:
        self._most = self._left = most
        self._doing = doing

    @contextmanager
    def one(self) -> Iterator[None]:
        """Room for one more; raises `ImsError` where there is none."""
        if self._left <= 0:
            raise throttled(f"{self._most} requests {self._doing} already")
        self._left -= 1
        try:
            yield
        finally:
            self._left += 1


def application(face: Face) -> Starlette:
    """The face at every path: an endpoint may have a prefix, which is no part of what is signed."""
    return Starlette(routes=[Mount("/", app=face)])


def new_request_id() -> str:
    """The id of a request, as the dialect writes it."""
    return str(uuid.uuid4()).upper()


def answered(request_id: str, body: Mapping[str, Any], status: int = 200) -> Response:
    """An answer in JSON."""
    return Response(
        encoded(body),
        status_code=status,
        media_type="application/json;charset=utf-8",
        headers={"x-acs-request-id": request_id},
    )


def refused(request_id: str, host: str, error: ImsError) -> Response:
    """An error as the SDKs read it."""
    response = answered(request_id, error.body(request_id, host), error.status)
    if error.retry_after is not None:
        response.headers["x-acs-retry-after"] = str(max(1, round(error.retry_after * 1000)))
    return response


def encoded(body: Mapping[str, Any]) -> bytes:
    """JSON, with what no UTF-8 can hold replaced: an error may repeat what a caller sent."""
    return json.dumps(body, ensure_ascii=False).encode(errors="replace")


async def _received(request: Request, budget: Budget) -> Received:
    query, headers = request.scope["query_string"], request.scope["headers"]
    if len(query) > MOST_BYTES:
        raise too_large("The query")
    share = Share(budget)
    try:
        if not share.grow(len(query) + sum(len(name) + len(value) for name, value in headers)):
            raise throttled(NO_ROOM)
        return read(request.method, query, headers, await _body(request, share))
    finally:
        share.end()


async def _body(request: Request, share: Share) -> bytes:
    body, size, room = bytearray(), 0, True
    try:
        async with asyncio.timeout(_BODY_TIMEOUT):
            async for part in request.stream():
                size += len(part)
                if size > _MOST_DISCARDED:
                    break
                if size > MOST_BYTES or not room:
                    continue
                if room := share.grow(len(part)):
                    body += part
                else:
                    body.clear()
                    share.end()
    except TimeoutError:
        raise ImsError(
            400, "InvalidParameter", f"The body did not come within {_BODY_TIMEOUT:g} s."
        ) from None
    if size > MOST_BYTES:
        raise too_large("The body")
    if not room:
        raise throttled(NO_ROOM)
    return bytes(body)


def _no_such(action: str, version: str, *, known: bool) -> ImsError:
    what = (
        f"Version {version[:64]} is not served; take {VERSION}."
        if known
        else f"{action[:64]} is no operation of this server."
    )
    return ImsError(404, "InvalidApi.NotFound", what)
