"""A web server for tests that says exactly what a test wants, byte by byte, on a real socket."""

from __future__ import annotations

import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from reelsplit_server.storage.grants import Pin, Request, Web, WebGrant, Wire
from reelsplit_server.storage.location import parse
from reelsplit_server.storage.routes import Routes, WebPlace

Answer = Callable[["Asked", "Sender"], bool | None]
"""Answers one request by sending bytes; with False the connection is closed behind it."""


@dataclass(frozen=True)
class Asked:
    """A request as it came; header names in lower case."""

    number: int
    method: str
    target: str
    headers: Mapping[str, str]

    @property
    def range(self) -> tuple[int, int | None] | None:
        """The first and last byte that are asked for."""
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", ""))
        return (int(found[1]), int(found[2]) if found[2] else None) if found else None


class Sender:
    """Sends to who asked."""

    def __init__(self, site: Site, connection: socket.socket) -> None:
        self._site = site
        self._connection = connection

    def __call__(self, data: bytes) -> None:
        """Count some bytes, and send them: a reader that has them may ask for the count at once."""
        self._site.count(len(data))
        self._connection.sendall(data)

    def reset(self) -> None:
        """Let the connection end with a reset when it is closed."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Site:
    """Listens until it is closed, with a thread for each connection; counts what comes in."""

    def __init__(
        self,
        answer: Answer,
        *,
        address: str = "127.0.0.2",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        self.accepted = 0
        self.received = 0
        self.sent = 0
        self._tls = tls
        self._lock = threading.Lock()
        self._ended = threading.Condition(self._lock)
        self._closed = threading.Event()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.create_server((address, port), family=family)
        self.address = address
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    def url(self, path: str = "/film.mp4", host: str = "") -> str:
        """The address of a path here, under a name where one is given."""
        named = host or (f"[{self.address}]" if ":" in self.address else self.address)
        return f"{'https' if self._tls else 'http'}://{named}:{self.port}{path}"

    def close(self) -> None:
        """End all connections and threads."""
        self._closed.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Site:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def wait(self, seconds: float) -> bool:
        """Sleep until the site is closed; true when it is."""
        return self._closed.wait(seconds)

    def count(self, size: int) -> None:
        """Count bytes that are sent."""
        with self._lock:
            self.sent += size

    def is_left(self) -> bool:
        """Wait until all connections have ended; false where one stays."""
        with self._ended:
            return self._ended.wait_for(lambda: not self._open, 30)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.accepted += 1
                self._open.add(connection)
                if self._closed.is_set():
                    connection.close()
                    return
            self._start(self._serve, connection)

    def _serve(self, raw: socket.socket) -> None:
        connection = raw
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(raw, server_side=True)
                with self._lock:
                    self._open.discard(raw)
                    self._open.add(connection)
            while True:
                asked = self._read(connection)
                if asked is None or self.answer(asked, Sender(self, connection)) is False:
                    return
        except OSError:
            return
        finally:
            with self._lock:
                self._open.discard(raw)
                self._open.discard(connection)
                self._ended.notify_all()
            connection.close()

    def _read(self, connection: socket.socket) -> Asked | None:
        head = b""
        while b"\r\n\r\n" not in head:
            data = connection.recv(65536)
            if not data:
                return None
            head += data
            with self._lock:
                self.received += len(data)
        first, *lines = head.decode("latin-1").split("\r\n\r\n")[0].split("\r\n")
        method, target, _ = first.split(" ")
        pairs = [line.partition(":") for line in lines]
        with self._lock:
            asked = Asked(
                len(self.asked), method, target, {n.lower(): v.strip() for n, _, v in pairs}
            )
            self.asked.append(asked)
        return asked


def head(status: int, headers: Mapping[str, str] | None = None) -> bytes:
    """The beginning of an answer."""
    lines = [f"HTTP/1.1 {status} Whatever"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def whole(status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> bytes:
    """An answer with a body of a known length."""
    return head(status, {"Content-Length": str(len(body)), **(headers or {})}) + body


def file_answer(
    data: bytes, headers: Mapping[str, str] | None = None, *, ranges: bool = True
) -> Answer:
    """Serves a file, in ranges or whole."""
    kept = {"ETag": '"one"'} if headers is None else headers

    def answer(asked: Asked, send: Sender) -> None:
        if not ranges or asked.range is None:
            send(whole(200, kept, data))
            return
        first, last = asked.range
        if first >= len(data):
            send(whole(416, {"Content-Range": f"bytes */{len(data)}"}))
            return
        part = data[first : len(data) if last is None else last + 1]
        place = f"bytes {first}-{first + len(part) - 1}/{len(data)}"
        send(whole(206, {**kept, "Content-Range": place}, part))

    return answer


def redirect(to: str, status: int = 302) -> Answer:
    """Sends every request elsewhere."""

    def answer(asked: Asked, send: Sender) -> None:
        send(whole(status, {"Location": to}, b"elsewhere"))

    return answer


def grant_for(
    uri: str,
    folder: Path,
    *,
    hosts: tuple[str, ...] = ("*",),
    networks: tuple[str, ...] = ("127.0.0.2/32",),
    most_spool: int = 2**24,
    headers: Mapping[str, str] | None = None,
    pin: Pin | None = None,
    wire: Wire | None = None,
) -> WebGrant:
    """The grant that a caller's URI leads to, by the way that it takes in the server."""
    place = Routes(hosts=hosts).resolve(parse(uri), "read")
    assert isinstance(place, WebPlace)
    return WebGrant(
        label=place.label,
        request=Request(url=place.url, headers=headers or {}),
        wire=wire or Wire(timeout=30, patience=30),
        web=Web(hosts=hosts, networks=networks, most_spool=most_spool),
        folder=str(folder),
        pin=pin,
    )
