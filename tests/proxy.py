"""A TCP proxy in front of a store: counts bytes, holds requests up, cuts lines."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Proxy:
    """Passes bytes between clients and ``target``, a ``host:port``. Knows nothing of HTTP but that
    a request's head comes in one piece."""

    def __init__(self, target: str) -> None:
        self.aim(target)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lines: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.sent = 0
        """Bytes that clients got."""
        self.requests: list[str] = []
        """The first line of each request."""
        self.holds: Callable[[str], bool] = lambda line: False
        """Whether a request with this first line is held up until `release`."""
        self.held = threading.Event()
        """Set once a request is held up."""
        self.release = threading.Event()
        self._start(self._accept)

    @property
    def endpoint(self) -> str:
        return f"http://{self.address}"

    def aim(self, target: str) -> None:
        """Pass new connections on to another place."""
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))

    def close(self) -> None:
        self.release.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            lines = list(self._lines)
        for line in lines:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target, 10)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            with self._lock:
                self._lines |= {client, server}
            self._start(self._serve, client, server)

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        upward = threading.Thread(target=self._upward, args=(client, server), daemon=True)
        upward.start()
        self._downward(server, client)
        upward.join()
        with self._lock:
            self._lines -= {client, server}
        client.close()
        server.close()

    def _upward(self, client: socket.socket, server: socket.socket) -> None:
        with _hanging_up(client, server):
            while data := client.recv(2**16):
                first = data.split(b"\r\n", 1)[0]
                if first.endswith(b" HTTP/1.1"):
                    line = first.decode("latin-1")
                    with self._lock:
                        self.requests.append(line)
                    if self.holds(line):
                        self.held.set()
                        self.release.wait(120)
                server.sendall(data)

    def _downward(self, server: socket.socket, client: socket.socket) -> None:
        with _hanging_up(client, server):
            while data := server.recv(2**16):
                with self._lock:
                    self.sent += len(data)
                client.sendall(data)


@contextmanager
def _hanging_up(*lines: socket.socket) -> Iterator[None]:
    """When one direction ends, so does the other."""
    with contextlib.suppress(OSError):
        yield
    for line in lines:
        with contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxied(target: str) -> Iterator[Proxy]:
    """A proxy to ``target``, until the block ends."""
    proxy = Proxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
