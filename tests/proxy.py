"""A TCP proxy in front of a server or a store: counts bytes, holds requests up, slows and cuts
lines."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.patience import PATIENCE


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
        self.delay: Callable[[], float] = lambda: 0.0
        """How many seconds the next piece of bytes waits, in either direction."""
        self._start(self._accept)

    @property
    def endpoint(self) -> str:
        return f"http://{self.address}"

    def aim(self, target: str) -> None:
        """Pass new connections on to another place."""
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))

    def cut(self) -> None:
        """Cut all lines that are open, wherever they are in what they say."""
        with self._lock:
            lines = list(self._lines)
        for line in lines:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.release.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(PATIENCE)
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
        answered = threading.Event()
        upward = threading.Thread(target=self._upward, args=(client, server, answered), daemon=True)
        upward.start()
        self._downward(server, client, answered)
        upward.join()
        with self._lock:
            self._lines -= {client, server}
        client.close()
        server.close()

    def _upward(
        self, client: socket.socket, server: socket.socket, answered: threading.Event
    ) -> None:
        with _hanging_up(client, server):
            while data := client.recv(2**16):
                held = False
                first = data.split(b"\r\n", 1)[0]
                if first.endswith(b" HTTP/1.1"):
                    line = first.decode("latin-1")
                    with self._lock:
                        self.requests.append(line)
                    if self.holds(line):
                        data = _whole(client, data)
                        self.held.set()
                        self.release.wait(120)
                        held = True
                        answered.clear()
                time.sleep(self.delay())
                server.sendall(data)
                if held:
                    # A store may leave undone what its caller hung up on meanwhile.
                    answered.wait(30)

    def _downward(
        self, server: socket.socket, client: socket.socket, answered: threading.Event
    ) -> None:
        with _hanging_up(client, server):
            while data := server.recv(2**16):
                answered.set()
                with self._lock:
                    self.sent += len(data)
                time.sleep(self.delay())
                client.sendall(data)
        answered.set()


def _whole(client: socket.socket, data: bytes) -> bytes:
    """The request that begins so, with its body."""
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        (int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"),
        0,
    )
    while len(body) < length and (more := client.recv(2**16)):
        data += more
        body += more
    return data


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
