"""Interruptions: the first asks for an orderly end, the second ends at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from reelsplit.cli.failures import ExitCode

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class Interrupts:
    """Takes SIGINT, SIGTERM and SIGHUP for as long as it is entered."""

    def __init__(self) -> None:
        # No threading.Event: its lock may be held just where the handler runs.
        self._happened = False
        self._before: dict[int, Any] = {}
        self.at_once: list[Callable[[], object]] = []
        """Called on the second signal, before the process ends without any further cleaning."""

    def __enter__(self) -> Interrupts:
        for name in _NAMES:
            number = getattr(signal, name, None)
            if number is None or threading.current_thread() is not threading.main_thread():
                continue
            if name == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN:
                continue  # Run by nohup.
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def interrupt(self) -> None:
        """As if a first signal had come."""
        self._happened = True

    def happened(self) -> bool:
        """Whether there was one."""
        return self._happened

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self._happened:
            self._happened = True
            return
        for action in self.at_once:
            action()
        if sys.stderr.isatty():
            os.write(2, b"\x1b[?25h\n")  # Bars hide the cursor.
        os._exit(ExitCode.INTERRUPTED)
