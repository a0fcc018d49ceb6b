"""A worker's connection to the server, for the one unit that it does."""

from __future__ import annotations

import json
import socket
import time

from reelsplit_server.work.units import REPORTS, Progress, Publishing, Report

_INTERVAL = 0.1


class Channel:
    """Sends reports; progress at most ten times a second."""

    def __init__(self, path: str, unit: str, secret: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(path)
        self._answers = self._socket.makefile("rb")
        self._told = 0.0
        self._send(json.dumps({"unit": unit, "secret": secret}).encode())

    def _send(self, line: bytes) -> None:
        self._socket.sendall(line + b"\n")

    def tell(self, report: Report) -> None:
        """Send a report."""
        self._send(REPORTS.dump_json(report))

    def progress(self, fraction: float, frames: int) -> None:
        """Send how far the unit is, unless that was done a moment ago."""
        now = time.monotonic()
        if now - self._told >= _INTERVAL:
            self._told = now
            self.tell(Progress(fraction=min(max(fraction, 0.0), 1.0), frames=frames))

    def may_publish(self, checksum: str) -> bool:
        """Ask the server to publish; false when it is gone or has given the unit up."""
        self.tell(Publishing(checksum=checksum))
        return self._answers.readline() == b"go\n"

    def close(self) -> None:
        """End the connection."""
        self._answers.close()
        self._socket.close()
