"""What happens around every call: who it is, how many there are, what is logged."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from contextvars import ContextVar
from typing import Any

import grpc
import structlog
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet
from grpc.aio import ServerInterceptor, ServicerContext

from reelsplit_server.access.callers import Caller
from reelsplit_server.access.principals import Principals
from reelsplit_server.app.errors import AppError, Kind, Violation, invalid
from reelsplit_server.rpc.observed import observed, watching
from reelsplit_server.rpc.status import abort

log = structlog.get_logger(__name__)
# Health checks and reflection tell nothing of jobs, and balancers have no token.
_OPEN = ("/grpc.health.v1.Health/", "/grpc.reflection.")
_caller: ContextVar[Caller] = ContextVar("caller")


def caller() -> Caller:
    """Who made the call that is being answered."""
    return _caller.get()


class Gate(ServerInterceptor):
    """Lets a call in: authenticated, and within the limits for calls and for streams."""

    def __init__(self, principals: Principals, most_calls: int, most_streams: int) -> None:
        self._principals = principals
        self._room = {False: most_calls, True: most_streams}
        self._limits = dict(self._room)

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wrap the method's handler."""
        handler: Any = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.startswith(_OPEN):
            return handler  # type: ignore[no-any-return]
        metadata = dict(handler_call_details.invocation_metadata or ())
        given = metadata.get("authorization")
        token = given if isinstance(given, str) else None
        # Requests are read behind the gate, and what cannot be read is told in our own words.
        read = handler.request_deserializer
        write = handler.response_serializer
        codec = {"request_deserializer": None, "response_serializer": write}
        if handler.response_streaming:
            inner = handler.unary_stream

            async def stream(request: Any, context: ServicerContext[Any, Any]) -> None:
                names = _certificate(context)
                who = self._principals.identify(token, names)
                version = self._principals.version
                with (
                    watching(method, metadata, context),
                    self._admitted(method, True, who) as refusal,
                ):
                    if refusal is not None:
                        await abort(context, refusal)
                    # The client learns at once that it is connected, however quiet the jobs are.
                    await context.send_initial_metadata(())
                    try:
                        async with aclosing(inner(_readable(read, request), context)) as responses:
                            async for response in responses:
                                if version != self._principals.version:
                                    # Keys were made, changed or disabled since.
                                    version = self._principals.version
                                    if self._principals.identify(token, names) != who:
                                        raise _unknown()
                                await context.write(response)
                    except AppError as error:
                        await abort(context, error)
                    except grpc.aio.AbortError:
                        raise
                    except Exception:
                        log.exception("stream_failed", method=method)
                        await abort(context, _fault())

            # What many watch is turned into bytes once, before it comes here.
            codec["response_serializer"] = lambda r: r if isinstance(r, bytes) else write(r)
            return grpc.unary_stream_rpc_method_handler(stream, **codec)
        answer = handler.unary_unary

        async def call(request: Any, context: ServicerContext[Any, Any]) -> Any:
            who = self._principals.identify(token, _certificate(context))
            with self._admitted(method, False, who) as refusal:
                if refusal is not None:
                    await abort(context, refusal)
                try:
                    return await answer(_readable(read, request), context)
                except AppError as error:
                    await abort(context, error)
                except grpc.aio.AbortError:
                    raise
                except Exception:
                    log.exception("call_failed", method=method)
                    await abort(context, _fault())

        return grpc.unary_unary_rpc_method_handler(observed(call, method, metadata), **codec)

    @contextmanager
    def _admitted(
        self, method: str, streams: bool, who: Caller | None
    ) -> Iterator[AppError | None]:
        started = time.monotonic()
        if who is None:
            yield _unknown()
            return
        if self._room[streams] <= 0:
            limit = self._limits[streams]
            what = "streams" if streams else "calls"
            yield AppError(
                Kind.EXHAUSTED,
                "TOO_MANY_CALLS",
                f"{limit} {what} are open already; send the call again in a moment.",
                metadata={"limit": str(limit)},
                retry_after=1.0,
            )
            return
        _caller.set(who)
        self._room[streams] -= 1
        try:
            yield None
        finally:
            self._room[streams] += 1
            log.debug(
                "call",
                method=method,
                principal=who.principal,
                milliseconds=round((time.monotonic() - started) * 1000, 1),
            )


def _certificate(context: ServicerContext[Any, Any]) -> list[str]:
    """The names in the client's certificate; only with a client authority is one asked for."""
    shown = context.auth_context()
    names = [*shown.get("x509_subject_alternative_name", ()), *shown.get("x509_common_name", ())]
    return [name.decode(errors="replace") for name in names]


def _unknown() -> AppError:
    message = (
        "Send a known token as the metadata 'authorization: Bearer TOKEN', or show a certificate "
        "that an access key stands for."
    )
    return AppError(Kind.UNAUTHENTICATED, "UNAUTHENTICATED", message)


def _readable(read: Callable[[bytes], Message], request: bytes) -> Message:
    """The message of a request; what is no message, or has fields of a newer contract beside
    those of its parts, is refused."""
    try:
        message = read(request)
    except DecodeError:
        wrong = "is not a message of this contract, or holds text that is not UTF-8"
        raise invalid([Violation(field="request", description=wrong)]) from None
    fields = UnknownFieldSet(message)
    unknown = [str(fields[place].field_number) for place in range(len(fields))]
    if unknown:
        wrong = f"has field numbers that are not known to this server: {', '.join(unknown)}"
        raise invalid([Violation(field="request", description=wrong, reason="NOT_SUPPORTED")])
    return message


def _fault() -> AppError:
    message = "The server met a fault of its own; its log has the details."
    return AppError(Kind.INTERNAL, "INTERNAL", message)
