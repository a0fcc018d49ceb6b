"""HTTP as workers speak it: bounded, verified, without redirects, and repeated where that helps."""

from __future__ import annotations

import logging
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from http.client import HTTPException
from typing import Any, Protocol
from urllib.parse import urlsplit
from weakref import WeakSet

from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool, PoolManager, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    IncompleteRead,
    LocationValueError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)

from reelsplit_server.storage.grants import Wire
from reelsplit_server.storage.lines import BoundedResponse
from reelsplit_server.storage.pulse import beat

# In its debug messages are whole addresses, with what is signed in them.
logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)

Connect = Callable[[str, int, float], socket.socket]
"""Makes a connection to a host and port within some seconds, or raises OSError."""

_BUSY = frozenset({429, 500, 502, 503, 504})
_CHUNK = 2**18
_LEAST = 1024
"""The bytes that must come in the time of one silence, or an answer counts as silent."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_LONGEST_ASKED = 60.0
_LOOK = 1.0
# What OpenSSL calls a certificate for another name, or for another address.
_OTHER_HOST = (62, 64)


class WireError(Exception):
    """A request without a useful answer. The text ends a sentence, and holds no address.

    ``hopeful`` where a repeat may help; ``status`` where the server said so itself;
    ``retry_after`` the seconds that it asked to wait.
    """

    def __init__(
        self,
        text: str,
        *,
        hopeful: bool,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(text)
        self.hopeful = hopeful
        self.status = status
        self.retry_after = retry_after


class Body(Protocol):
    """A body that is sent piece by piece."""

    def read(self, size: int) -> bytes:
        """The next bytes, none at the end."""


class Response:
    """The answer to one request. Every method that reads raises `WireError`; an answer that ends
    before its ``Content-Length`` says so does too."""

    def __init__(self, response: HTTPResponse, timeout: float) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = {
            name.lower(): value for name, value in response.headers.items()
        }
        """By lower-case names; repeated ones joined by commas."""
        self._response = response
        self._timeout = timeout
        self._waited, self._recent = 0.0, 0

    def check(self) -> None:
        """Raise `WireError` for a status after which the same request may do better."""
        if self.status in _BUSY:
            raise WireError(
                f"the server answered with the status {self.status}",
                hopeful=True,
                status=self.status,
                retry_after=_seconds(self.headers.get("retry-after")),
            )

    def read(self, most: int) -> bytes:
        """The next bytes as they come, at most ``most``; none at the end."""
        before = time.monotonic()
        try:
            data = self._response.read1(most)
        except (HTTPError, HTTPException, OSError, ValueError) as error:
            raise _wire_error(error, self._timeout) from error
        self._waited += time.monotonic() - before
        self._recent += len(data)
        if data:
            beat()
        if self._waited >= self._timeout:
            # A byte now and then would hold a worker up for ever, and is never a silence.
            if self._recent < _LEAST and data:
                raise WireError(
                    f"the server sent {self._recent} bytes in {self._waited:.0f} s", hopeful=True
                )
            self._waited, self._recent = 0.0, 0
        return data

    def readinto(self, view: memoryview) -> int:
        """Read what comes next into ``view``; answers how many bytes, 0 at the end."""
        data = self.read(min(len(view), _CHUNK))
        view[: len(data)] = data
        return len(data)

    def stream(self, most: int) -> Iterator[bytes]:
        """The body in pieces, at most ``most`` bytes of it; what is behind them is left."""
        while most > 0 and (data := self.read(min(most, _CHUNK))):
            most -= len(data)
            yield data

    def text(self, most: int = 2**14) -> str:
        """The begin of a short body, such as an error's; what cannot be read is left out."""
        pieces: list[bytes] = []
        with suppress(WireError):
            pieces.extend(self.stream(most))
        return b"".join(pieces).decode("utf-8", "replace")


class Http:
    """Requests over connections that are kept. For several threads.

    Certificates are verified with the system's authorities, or with ``wire.ca``. Nothing comes
    from the environment, redirects are answers like others, bodies are never decompressed.
    ``connect`` makes every connection, if given; what it raises besides OSError comes through.
    """

    def __init__(self, wire: Wire, connect: Connect | None = None) -> None:
        self._wire = wire
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._lock = threading.Lock()
        self._closed = False
        self._pools = PoolManager(
            maxsize=4,
            timeout=Timeout(connect=wire.timeout, read=wire.timeout),
            blocksize=_CHUNK,
        )
        self._pools.pool_classes_by_scheme = _pool_classes(connect, self._register)

    @contextmanager
    def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | Body | None = None
    ) -> Iterator[Response]:
        """Send a request; the answer's body can be read within the block.

        A ``body`` that is read piece by piece needs a ``Content-Length`` among the headers. Raises
        `WireError`. A body that is left unread costs its connection.
        """
        if self._closed:
            raise WireError("the connection was closed", hopeful=False)
        try:
            secure = urlsplit(url).scheme == "https"
            extra = {"ssl_context": self._tls, "cert_reqs": ssl.CERT_REQUIRED} if secure else {}
            pool = self._pools.connection_from_url(url, pool_kwargs=extra)
            response = pool.urlopen(
                method,
                _target(url),
                body=body,  # type: ignore[arg-type]
                headers={"Accept-Encoding": "identity", "User-Agent": "reelsplit", **headers},
                retries=False,
                redirect=False,
                assert_same_host=False,
                preload_content=False,
                decode_content=False,
            )
        except (HTTPError, HTTPException, OSError, ValueError) as error:
            raise _wire_error(error, self._wire.timeout) from error
        assert isinstance(response, HTTPResponse)
        try:
            yield Response(response, self._wire.timeout)
        finally:
            if body is not None and response.status >= 400:
                # The rest of the request may still be on its way.
                response.close()
            # What was read to its end is in the pool again; everything else is given up.
            if not response.closed:
                response.close()
            response.release_conn()

    def close(self) -> None:
        """Give up all connections. Requests under way end with a `WireError`."""
        with self._lock:
            self._closed = True
            for connection in list(self._sockets):
                with suppress(OSError):
                    # TLS is not ended politely here: another thread may be within it.
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)
        self._pools.clear()

    def _register(self, connection: socket.socket) -> None:
        with self._lock:
            if self._closed:
                connection.close()
                raise OSError("the connection was closed")
            self._sockets.add(connection)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self._wire.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context


class Repeats:
    """Pauses between the tries of something: growing, jittered, and over when nothing has moved
    for ``wire.patience`` seconds since the first failure. ``stop`` cuts a pause short."""

    def __init__(self, wire: Wire, stop: threading.Event | None = None) -> None:
        self._patience = wire.patience
        self._stop = stop or threading.Event()
        self._since: float | None = None
        self._tries = 0

    def progress(self) -> None:
        """Something has moved: patience begins anew."""
        self._since = None
        self._tries = 0

    def wait(self, error: WireError) -> None:
        """Pause after a failure; raises ``error`` itself where another try is of no use."""
        now = time.monotonic()
        if self._since is None:
            self._since = now
        left = self._since + self._patience - now
        if not error.hopeful or left <= 0 or self._stop.is_set():
            raise error
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**self._tries)
        # Many workers fail at the same moment, and should not come back at the same one.
        pause *= random.uniform(0.5, 1)  # noqa: S311
        asked = min(error.retry_after or 0.0, _LONGEST_ASKED)
        self._tries += 1
        until = now + min(max(pause, asked), left)
        while (rest := until - time.monotonic()) > 0:
            beat()
            if self._stop.wait(min(rest, _LOOK)):
                raise error


def _pool_classes(connect: Connect | None, register: Callable[[socket.socket], None]) -> Any:
    """The pools of both schemes, whose connections are made by ``connect`` and registered."""

    def dial(connection: HTTPConnection) -> socket.socket:
        assert connect is not None
        timeout = connection.timeout
        assert isinstance(timeout, int | float)
        host, port = connection.host.strip("[]"), connection.port
        assert port is not None
        try:
            made = connect(host, port, timeout)
        except socket.gaierror as error:
            raise NameResolutionError(host, connection, error) from error
        except TimeoutError as error:
            raise ConnectTimeoutError(connection, "timed out") from error
        except OSError as error:
            raise NewConnectionError(connection, "failed") from error
        made.settimeout(timeout)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    class Plain(HTTPConnection):
        response_class = BoundedResponse

        def _new_conn(self) -> socket.socket:
            return super()._new_conn() if connect is None else dial(self)

        def connect(self) -> None:
            super().connect()
            register(self.sock)

    class Secure(HTTPSConnection):
        response_class = BoundedResponse

        def _new_conn(self) -> socket.socket:
            return super()._new_conn() if connect is None else dial(self)

        def connect(self) -> None:
            super().connect()
            register(self.sock)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


def _target(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"


def _wire_error(error: Exception, timeout: float) -> WireError:
    match error:
        case LocationValueError():
            return WireError("its address cannot be asked for", hopeful=False)
        case ReadTimeoutError():
            return WireError(f"no answer came within {timeout:g} s", hopeful=True)
        case NameResolutionError():
            cause = error.__cause__
            again = isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_AGAIN
            return WireError("its host name could not be resolved", hopeful=again)
        case NewConnectionError():
            cause = error.__cause__
            why = isinstance(cause, OSError) and cause.strerror
            return WireError(f"no connection came about: {why or 'it failed'}", hopeful=True)
        case ConnectTimeoutError():
            return WireError(f"no connection came about within {timeout:g} s", hopeful=True)
        case SSLError() if isinstance(cause := error.args[0], ssl.SSLCertVerificationError):
            # The library's words would name the host.
            other = cause.verify_code in _OTHER_HOST
            why = "it is for another host" if other else cause.verify_message.rstrip(".")
            return WireError(f"the server's certificate is not trusted: {why}", hopeful=False)
        case SSLError():
            return WireError("no secure connection came about", hopeful=True)
        case IncompleteRead():
            return WireError("the answer ended early", hopeful=True)
        case HTTPError() | HTTPException() | OSError():
            return WireError("the connection broke", hopeful=True)
        case _:
            return WireError("its address cannot be asked for", hopeful=False)


def _seconds(text: str | None) -> float | None:
    """What Retry-After asks for: seconds, or a date."""
    if text is None:
        return None
    try:
        if text.isascii() and text.isdigit():
            return float(text)
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
