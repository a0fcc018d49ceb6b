"""Where Prometheus reads the metrics: an address and threads of their own."""

from __future__ import annotations

import socket
import threading
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app

from reelsplit_server.metrics import REGISTRY

_AT_ONCE = 8
_SILENCE = 10.0
"""Seconds that a scraper may be silent in the middle of its request."""


class _Handler(WSGIRequestHandler):
    timeout = _SILENCE

    def log_message(self, format: str, *args: Any) -> None:
        """Log no scrapes."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def __init__(self, *args: Any) -> None:
        self._room = threading.BoundedSemaphore(_AT_ONCE)
        super().__init__(*args)

    def server_bind(self) -> None:
        """As the base class does, which asks a name server for the name of the address too."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer on a thread; more at once than scrapers need are hung up on."""
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """One request, on its thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A scraper that went away is no fault of ours."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class MetricsServer:
    """Serves ``/metrics``."""

    def __init__(self, address: str) -> None:
        """``address`` is HOST:PORT. Raises `OSError` where it is taken."""
        host, _, port = address.rpartition(":")
        bare = host.strip("[]")
        server = _Server6 if ":" in bare else _Server
        application = make_wsgi_app(REGISTRY)
        try:
            self._server = make_server(bare, int(port), application, server, _Handler)
        except OSError as error:
            raise OSError(f"cannot listen on {address}: it is taken, or not ours") from error
        self.address = f"{host}:{self._server.server_port}"
        """With the real port."""
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="metrics", daemon=True
        )

    def start(self) -> None:
        """Answer scrapes."""
        self._thread.start()

    def stop(self) -> None:
        """End. Blocks for a moment."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()
