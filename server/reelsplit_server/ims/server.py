"""The HTTP server of the face, in the event loop of the caller."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from reelsplit_server.ims.budget import Budget, Share
from reelsplit_server.ims.errors import NO_ROOM, ImsError, throttled
from reelsplit_server.ims.face import Face, application, new_request_id, refused
from reelsplit_server.ims.received import MOST_BYTES

_MOST_HEAD = MOST_BYTES + 2**17
"""The longest request line with its headers: a query may be as long as is taken, and somewhat
longer, so that it is refused in words."""
_HEAD_TIMEOUT = 30.0
_LINGER = 2.0
_BACKLOG = 1024


class Protocol(H11Protocol):
    """What cannot be read as HTTP is refused in JSON; a head that does not come is not waited for
    for ever."""

    _waiting: asyncio.TimerHandle | None = None
    _refused = False

    def __init__(self, budget: Budget, **given: Any) -> None:
        super().__init__(**given)
        self._head = Share(budget)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        self._waiting = self.loop.call_later(_HEAD_TIMEOUT, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """A client has gone."""
        self._stop_waiting()
        self._head.end()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of a request."""
        if self._refused:
            return
        if self.conn.their_state is h11.IDLE and not self._head.grow(len(data)):
            self._refuse(throttled(NO_ROOM))
            return
        super().data_received(data)
        if self._refused:
            # It is closed in a moment.
            return
        if self.conn.their_state is h11.IDLE:
            if self._waiting is None:
                self._waiting = self.loop.call_later(_HEAD_TIMEOUT, self.transport.close)
        else:
            self._stop_waiting()
            self._head.end()

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def on_response_complete(self) -> None:
        """The keep-alive timer takes over."""
        self._stop_waiting()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request, or one that is too long."""
        self._refuse(
            ImsError(
                400,
                "InvalidParameter",
                f"The request is not HTTP, or its line and headers are longer than {_MOST_HEAD:,} "
                "bytes; send fewer ranges in one job.",
            )
        )

    def _refuse(self, error: ImsError) -> None:
        self._refused = True
        self._stop_waiting()
        response = refused(new_request_id(), "", error)
        headers = [*response.raw_headers, (b"connection", b"close")]
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            event = h11.Response(status_code=error.status, headers=headers, reason=b"Bad Request")
            self.transport.write(self.conn.send(event) or b"")
            self.transport.write(self.conn.send(h11.Data(data=bytes(response.body))) or b"")
            self.transport.write(self.conn.send(h11.EndOfMessage()) or b"")
        # Closed at once, with bytes unread, the answer would be lost on its way.
        self._waiting = self.loop.call_later(_LINGER, self.transport.close)


class _Server(uvicorn.Server):
    """Leaves signals to those who run the event loop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


class ImsServer:
    """Serves the face on one address."""

    def __init__(self, face: Face, context: ssl.SSLContext | None = None) -> None:
        options: dict[str, Any] = {}
        if context is not None:
            options["ssl_context_factory"] = lambda config, default: context
        self._config = uvicorn.Config(
            application(face),
            http=functools.partial(Protocol, face.budget),  # type: ignore[arg-type]
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=75,
            backlog=_BACKLOG,
            h11_max_incomplete_event_size=_MOST_HEAD,
            **options,
        )
        self._server = _Server(self._config)
        self._socket: socket.socket | None = None
        self._task: asyncio.Task[None] | None = None

    def bind(self, address: str) -> str:
        """Take an address; answers it with the real port. Raises `OSError` where it is taken."""
        host, _, port = address.rpartition(":")
        bare = host.strip("[]")
        family = socket.AF_INET6 if ":" in bare else socket.AF_INET
        # Named as TCP, by which asyncio knows that it may send small parts at once: otherwise
        # each answer waits for an acknowledgement of its head, some 40 ms.
        made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.bind((bare, int(port)))
        except OSError as error:
            made.close()
            raise OSError(f"cannot listen on {address}: it is taken, or not ours") from error
        self._socket = made
        return f"{host}:{self._socket.getsockname()[1]}"

    async def start(self) -> None:
        """Answer requests."""
        assert self._socket is not None
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        while not self._server.started:
            if self._task.done():
                # Raises why.
                self._task.result()
                raise OSError("the HTTP server has ended")
            await asyncio.sleep(0.01)

    async def stop(self, grace: float) -> None:
        """End: requests under way have ``grace`` seconds."""
        if self._task is None:
            if self._socket is not None:
                self._socket.close()
            return
        self._config.timeout_graceful_shutdown = max(1, round(grace))
        self._server.should_exit = True
        await self._task
