"""A worker's connection to the server, for the one unit that it does."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time

from reelsplit_server.storage.errors import StorageError
from reelsplit_server.storage.grants import Refused
from reelsplit_server.work.asks import ANSWERS, SAID, Answer, Ask, Beat
from reelsplit_server.work.units import (
    Account,
    Failed,
    Opened,
    PlanDone,
    Planned,
    Progress,
    ScanDone,
    Sharing,
)

_INTERVAL = 0.1
_BEAT = 1.0
"""Seconds between two beats, at least."""


class Channel:
    """Tells and asks; progress at most ten times a second. For several threads."""

    def __init__(self, path: str, unit: str, secret: str) -> None:
        """Raises `ConnectionError` when the server is gone or has given the unit up."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(path)
        self._answers = self._socket.makefile("rb")
        self._asking = threading.Lock()
        self._sending = threading.Lock()
        self._told = self._beaten = 0.0
        try:
            self._send(json.dumps({"unit": unit, "secret": secret}).encode())
            # Nothing is done for a unit that was given up in the meantime.
            self._receive()
        except BaseException:
            self.close()
            raise

    def _send(self, line: bytes) -> None:
        with self._sending:
            self._socket.sendall(line + b"\n")

    def _receive(self) -> bytes:
        line = self._answers.readline()
        if not line:
            raise ConnectionResetError("the server has given this unit up")
        return line

    def tell(
        self,
        report: Opened | Planned | PlanDone | Sharing | ScanDone | Progress | Failed | Account,
    ) -> None:
        """Send a report."""
        self._send(SAID.dump_json(report))

    def progress(self, fraction: float, frames: int) -> None:
        """Send how far the unit is, unless that was done a moment ago."""
        now = time.monotonic()
        if now - self._told >= _INTERVAL:
            self._told = now
            self.tell(Progress(fraction=min(max(fraction, 0.0), 1.0), frames=frames))

    def beat(self) -> None:
        """Send that bytes are moving, unless that was done a moment ago. Raises nothing: that
        the server is gone shows when something is told or asked."""
        now = time.monotonic()
        if now - self._beaten >= _BEAT:
            self._beaten = now
            with contextlib.suppress(OSError, ValueError):
                self._send(SAID.dump_json(Beat()))

    def ask(self, question: Ask) -> Answer:
        """Ask the server and wait for its answer.

        Raises `StorageError` where it refuses, and `ConnectionError` when it is gone or has given
        the unit up.
        """
        with self._asking:
            self._send(SAID.dump_json(question))
            line = self._receive()
        answer = ANSWERS.validate_json(line)
        if isinstance(answer, Refused):
            raise StorageError(
                answer.reason, answer.message, answer.metadata, transient=answer.transient
            )
        return answer

    def close(self) -> None:
        """End the connection."""
        self._answers.close()
        self._socket.close()
