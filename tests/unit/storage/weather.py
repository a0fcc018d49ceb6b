"""A web server in threads whose answers go wrong as a test tells: one object that is read in
ranges, parts that are put, and a resumable session."""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

import trustme

from reelsplit_server.storage.grants import ObjectGrant, Pin, Request, Wire

ETAG = '"the-one"'
LABEL = "s3://films/film.mp4"
QUICK = Wire(timeout=20, patience=30)

Sky = Callable[["Handler"], None]
"""How one request is answered."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def range(self) -> tuple[int, int]:
        """The first byte that is asked for, and the one behind the last."""
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["range"])
        assert found, self.headers
        return int(found[1]), int(found[2]) + 1


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: _Server
    asked: Asked

    @property
    def weather(self) -> Weather:
        """Whose it is."""
        return self.server.weather

    def handle(self) -> None:
        """Answer until the connection ends, however it does."""
        with suppress(OSError):
            super().handle()

    def handle_expect_100(self) -> bool:
        """Say to go on."""
        return super().handle_expect_100()

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer a read."""
        self._answer(b"", fair)

    def do_PUT(self) -> None:
        """Answer a part, or a chunk of a session."""
        sky = self.weather.next_sky()
        if sky is not None and getattr(sky, "is_early", False):
            sky(self)
            return
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if len(body) < int(self.headers["Content-Length"]):
            return
        self._answer(body, take, sky)

    def _answer(self, body: bytes, usual: Sky, sky: Sky | None = None) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.asked = Asked(self.command, self.path, headers, body)
        with self.weather.lock:
            self.weather.asked.append(self.asked)
        if self.command == "GET":
            sky = self.weather.next_sky()
        (sky or usual)(self)

    def say(self, status: int, headers: Mapping[str, str], body: bytes = b"") -> None:
        """Send an answer; without a Content-Length its end is the connection's."""
        self.head(status, headers)
        self.send(body)

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        """Send what comes before a body."""
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if "Content-Length" not in headers and status != 308:
            self.close_connection = True

    def send(self, body: bytes) -> None:
        """Count some of a body, and send it: a reader that has it may ask for the count at once."""
        with self.weather.lock:
            self.weather.sent += len(body)
        self.wfile.write(body)

    def part(self, **changed: str) -> tuple[dict[str, str], bytes]:
        """The headers and the body that a good server would send."""
        start, stop = self.asked.range
        data = self.weather.data
        body = data[start:stop]
        headers = {
            "Content-Range": f"bytes {start}-{start + len(body) - 1}/{len(data)}",
            "Content-Length": str(len(body)),
            "ETag": self.weather.etag,
        }
        return headers | {name.replace("_", "-"): value for name, value in changed.items()}, body

    def reset(self) -> None:
        """Break the connection, so that the other side is told of an error."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    weather: Weather

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        with self.weather.lock:
            self.weather.open.append(connection)
        return connection, address

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.weather.tls is not None:
            try:
                request = self.weather.tls.wrap_socket(request, server_side=True)
            except OSError:
                return
            with self.weather.lock:
                self.weather.open.append(request)
        try:
            super().finish_request(request, client_address)
        finally:
            if self.weather.tls is not None:
                request.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        self.weather.errors.append(str(client_address))


@dataclass
class Weather:
    """Listens within a ``with`` block. The first requests are answered by ``coming``, one each,
    the others well. Puts are kept by their path."""

    data: bytes = b""
    coming: deque[Sky | None] = field(default_factory=deque)
    etag: str = ETAG
    tls: ssl.SSLContext | None = None
    asked: list[Asked] = field(default_factory=list)
    sent: int = 0
    puts: dict[str, bytes] = field(default_factory=dict)
    session: bytearray = field(default_factory=bytearray)
    finished: bool = False
    open: list[socket.socket] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    closed: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Weather:
        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.weather = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.closed.set()
        self._server.shutdown()
        self._thread.join()
        with self.lock:
            for connection in self.open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()

    def will(self, *skies: Sky | None) -> None:
        """What comes next; None is a good answer."""
        self.coming.extend(skies)

    def next_sky(self) -> Sky | None:
        """How the next request is answered."""
        with self.lock:
            return self.coming.popleft() if self.coming else None

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def url(self, path: str = "/film.mp4") -> str:
        """The address of a path here."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}{path}"

    def grant(self, folder: Path | str = "", wire: Wire = QUICK, **changed: Any) -> ObjectGrant:
        """What leads to the object."""
        given: dict[str, Any] = {
            "label": LABEL,
            "request": Request(url=self.url("/film.mp4?signature=secret")),
            "wire": wire,
            "pin": Pin(size=len(self.data), tag=ETAG),
            "expected": {"etag": ETAG},
            "folder": str(folder),
        }
        return ObjectGrant(**(given | changed))

    def ranges(self) -> list[tuple[int, int]]:
        """The ranges that were asked for."""
        return [asked.range for asked in self.asked]


def certificates(folder: Path, *names: str) -> tuple[ssl.SSLContext, str]:
    """TLS for a server with these names, and the file of the authority to trust."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    return context, str(folder / "ca.pem")


# --- Reading -------------------------------------------------------------------------------------


def fair(handler: Handler) -> None:
    """As it should be."""
    headers, body = handler.part()
    handler.say(206, headers, body)


def with_headers(**changed: str) -> Sky:
    """Well, but for some headers."""

    def sky(handler: Handler) -> None:
        headers, body = handler.part(**changed)
        handler.say(206, headers, body)

    return sky


def without(*names: str) -> Sky:
    """Well, but without some headers."""

    def sky(handler: Handler) -> None:
        headers, body = handler.part()
        handler.say(206, {k: v for k, v in headers.items() if k not in names}, body)

    return sky


def status(code: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Sky:
    """Another status."""

    def sky(handler: Handler) -> None:
        handler.say(code, {"Content-Length": str(len(body)), **(headers or {})}, body)

    return sky


def whole(handler: Handler) -> None:
    """All of it, whatever was asked for."""
    data = handler.weather.data
    handler.say(200, {"Content-Length": str(len(data)), "ETag": handler.weather.etag}, data)


def longer(handler: Handler) -> None:
    """More bytes than were asked for, the end being that of the connection."""
    headers, body = handler.part()
    del headers["Content-Length"]
    handler.say(206, headers, body + b"and more" * 10_000)


def chunked(handler: Handler) -> None:
    """Well, in chunks."""
    headers, body = handler.part()
    del headers["Content-Length"]
    handler.head(206, headers | {"Transfer-Encoding": "chunked"})
    for place in range(0, len(body), 10_000):
        piece = body[place : place + 10_000]
        handler.send(b"%x\r\n%b\r\n" % (len(piece), piece))
    handler.send(b"0\r\n\r\n")


def cut_off(after: int, *, politely: bool) -> Sky:
    """The connection ends in the middle of the body."""

    def sky(handler: Handler) -> None:
        headers, body = handler.part()
        handler.head(206, headers)
        handler.send(body[:after])
        if politely:
            handler.close_connection = True
        else:
            handler.reset()

    return sky


def silent(handler: Handler) -> None:
    """Nothing, for as long as the server stands."""
    handler.close_connection = True
    handler.weather.closed.wait()


def stalled(after: int) -> Sky:
    """Some of the body, then nothing more."""

    def sky(handler: Handler) -> None:
        headers, body = handler.part()
        handler.head(206, headers)
        handler.send(body[:after])
        silent(handler)

    return sky


def dripping(pause: float) -> Sky:
    """A byte at a time."""

    def sky(handler: Handler) -> None:
        headers, body = handler.part()
        handler.head(206, headers)
        for place in range(len(body)):
            handler.send(body[place : place + 1])
            if handler.weather.closed.wait(pause):
                return

    return sky


# --- Writing -------------------------------------------------------------------------------------


def take(handler: Handler) -> None:
    """Keep a part, or a chunk of the session."""
    if "content-range" in handler.asked.headers:
        take_chunk(handler)
    else:
        take_part(handler)


def take_part(handler: Handler) -> None:
    """As S3 does."""
    body = handler.asked.body
    md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
    if handler.asked.headers.get("content-md5") != md5:
        refused(400, "BadDigest")(handler)
        return
    with handler.weather.lock:
        handler.weather.puts[handler.path] = body
    handler.say(200, {"ETag": f'"{hashlib.md5(body).hexdigest()}"', "Content-Length": "0"})


def take_chunk(handler: Handler, most: int | None = None) -> None:
    """As GCS does; at most ``most`` bytes of the chunk are kept."""
    weather, asked = handler.weather, handler.asked
    found = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+)", asked.headers["content-range"])
    assert found
    size = int(found[3])
    with weather.lock:
        if found[1] is not None:
            start = int(found[1])
            assert len(asked.body) == int(found[2]) + 1 - start
            if start != len(weather.session):
                handler.say(400, {"Content-Length": "0"})
                return
            weather.session += asked.body[:most]
        weather.finished = len(weather.session) == size
        have = len(weather.session)
    if have == size:
        handler.say(200, {"Content-Length": "2"}, b"{}")
    else:
        headers = {"Range": f"bytes=0-{have - 1}"} if have else {}
        handler.say(308, {"Content-Length": "0", **headers})


def taken_in_part(most: int) -> Sky:
    """A chunk of which only the begin is kept, while the answer is an error."""

    def sky(handler: Handler) -> None:
        with handler.weather.lock:
            handler.weather.session += handler.asked.body[:most]
        handler.say(503, {"Content-Length": "0"})

    return sky


def lost(handler: Handler) -> None:
    """Taken, but nobody is told."""
    with handler.weather.lock:
        if "content-range" in handler.asked.headers:
            handler.weather.session += handler.asked.body
        else:
            handler.weather.puts[handler.path] = handler.asked.body
    handler.reset()


def refused(code: int, name: str) -> Sky:
    """An error of S3."""
    return status(code, body=f"<Error><Code>{name}</Code><Message>No</Message></Error>".encode())


def hung_up(handler: Handler) -> None:
    """The connection breaks while the body is on its way."""
    handler.rfile.read(1000)
    handler.reset()


hung_up.is_early = True  # type: ignore[attr-defined]


def refused_early(handler: Handler) -> None:
    """An answer before the body was read."""
    handler.close_connection = True
    refused(403, "AccessDenied")(handler)


refused_early.is_early = True  # type: ignore[attr-defined]


def paths(asked: Iterable[Asked]) -> list[str]:
    """The paths of requests."""
    return [each.path for each in asked]
