"""A web server that takes callbacks, and answers as a test wants."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.server import wait_for


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One callback as it came: its path, its headers by their lower-case names, and its body."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def event(self) -> str:
        """The name of the event, the same for each repetition."""
        return str(self.json["MessageBody"]["EventId"])


class Receiver:
    """``answer`` says for each call, counted from 0, the status; or seconds to wait before a 200;
    or None to break the connection without one."""

    def __init__(
        self,
        answer: Callable[[int], int | float | None] = lambda _: 200,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.answer = answer
        self._tls = tls
        self.calls: list[Call] = []
        self.port = 0
        self.headers: dict[str, str] = {}
        """What is sent with each answer."""
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://127.0.0.1:{self.port}/hook?token=t"

    @property
    def events(self) -> list[str]:
        return [call.event for call in self.calls]

    def wait(self, count: int) -> list[Call]:
        """Wait for so many calls in all."""
        wait_for(lambda: len(self.calls) >= count, 60)
        return self.calls

    def start(self) -> Receiver:
        """Listen, on the same port as before."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                number = len(receiver.calls)
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.calls.append(Call(path=self.path, headers=headers, body=body))
                what = receiver.answer(number)
                if what is None:
                    self.close_connection = True
                    return
                if isinstance(what, float):
                    time.sleep(what)
                try:
                    self.send_response(200 if isinstance(what, float) else what)
                    for name, value in receiver.headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                except OSError:
                    # The caller did not wait.
                    return

            do_GET = do_POST

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        if self._tls is not None:
            self._server.socket = self._tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def stop(self) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Receiver:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
