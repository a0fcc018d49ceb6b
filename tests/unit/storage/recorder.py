"""A server that writes down what it is sent, and answers as a test tells it."""

from __future__ import annotations

import os
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, slots=True)
class Sent:
    """A request; the names of headers in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. With ``lost`` the connection is closed without one, with ``cut`` in its middle;
    with ``reset`` it breaks before one."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    lost: bool = False
    cut: bool = False
    reset: bool = False


class Recorder:
    """What it was sent so far, in ``sent``, and where it listens."""

    def __init__(self, answer: Callable[[Sent], Reply], port: int) -> None:
        self.answer = answer
        self.port = port
        self.sent: list[Sent] = []
        self.arrived = threading.Event()

    @property
    def endpoint(self) -> str:
        """Its URL without TLS."""
        return f"http://127.0.0.1:{self.port}"

    def of(self, method: str, *words: str) -> list[Sent]:
        """The requests of a method in whose path some words stand."""
        return [
            each
            for each in self.sent
            if each.method == method and all(word in each.path for word in words)
        ]


def error(status: int, code: str, more: str = "", **headers: str) -> Reply:
    """An error as S3 writes it."""
    text = f"<Error><Code>{code}</Code><Message>secret-of-the-store</Message>{more}</Error>"
    return Reply(status, text.encode(), headers)


def script(*replies: Reply) -> Callable[[Sent], Reply]:
    """Answers in turn; the last one again and again."""
    left = list(replies)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


@contextmanager
def recording(
    answer: Callable[[Sent], Reply], tls: ssl.SSLContext | None = None
) -> Iterator[Recorder]:
    """A recorder on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except (ConnectionError, ssl.SSLError):
                # The client has gone, as some tests want it to.
                self.close_connection = True

        def _take(self) -> None:
            self.close_connection = True
            headers = {name.lower(): value for name, value in self.headers.items()}
            sent = Sent(self.command, self.path, headers, self._body(headers))
            recorder.sent.append(sent)
            recorder.arrived.set()
            reply = recorder.answer(sent)
            if reply.reset:
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                os.close(self.connection.detach())
            if reply.lost or reply.reset:
                return
            self.send_response(reply.status)
            for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(reply.body[: len(reply.body) // 2] if reply.cut else reply.body)

        def _body(self, headers: Mapping[str, str]) -> bytes:
            if headers.get("transfer-encoding") != "chunked":
                return self.rfile.read(int(headers.get("content-length", 0)))
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _take

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = False

        def finish_request(self, request: Any, client_address: Any) -> None:
            if tls is None:
                return super().finish_request(request, client_address)
            # In the request's own thread; one that fails is closed by the caller.
            try:
                wrapped = tls.wrap_socket(request, server_side=True)
            except (OSError, ssl.SSLError):
                return None
            with wrapped:
                return super().finish_request(wrapped, client_address)

    server = Server(("127.0.0.1", 0), Handler)
    recorder = Recorder(answer, server.server_port)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="recorder")
    thread.start()
    try:
        yield recorder
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
