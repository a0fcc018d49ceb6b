"""Whether workers live: when each last showed a sign of it, and how much memory it holds.

A sign of life is whatever only progress brings about: a message of the worker, which its working
thread sends or its transfers do, and bytes that it has read from or written to a disk. That it
runs, or takes time of a core, is none. While the server does what a worker has asked for, the
worker need show none.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reelsplit_server import tasks
from reelsplit_server.engine.seam import End, WorkerDiedError

_EVERY = 0.25
"""Seconds between two looks at the workers."""
_PEER = struct.Struct("3i")
"""struct ucred of <sys/socket.h>: process, user, group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLimits:
    """What one worker may take; None is no limit."""

    silence: float | None = None
    """Seconds without a sign of life."""
    memory: int | None = None
    """Resident bytes."""
    file_size: int | None = None
    """Bytes of one file that it writes."""


class Vital:
    """A worker at its work, which may be several units."""

    def __init__(self, limits: WorkerLimits, clock: Callable[[], float]) -> None:
        self.lost: asyncio.Future[WorkerDiedError] = asyncio.get_running_loop().create_future()
        """Why it is to be ended, once it is."""
        self._limits = limits
        self._clock = clock
        self._pid: int | None = None
        self._waiting = 0
        self._moved: int | None = None
        self._heard = clock()

    def met(self, connection: socket.socket) -> None:
        """It has connected."""
        self._pid = peer(connection)
        self._heard = self._clock()

    @contextmanager
    def heard(self) -> Iterator[None]:
        """It has said something, and waits until the block ends."""
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1
            self._heard = self._clock()

    def memory(self) -> int:
        """The bytes that it holds; 0 where that is not known."""
        return 0 if self._pid is None else resident_bytes(self._pid) or 0

    def look(self) -> None:
        """Look how it is."""
        if self.lost.done():
            return
        if self._pid is not None:
            moved = moved_bytes(self._pid)
            if moved != self._moved:
                self._moved, self._heard = moved, self._clock()
        held = self.memory()
        most, silence = self._limits.memory, self._limits.silence
        if most is not None and held > most:
            text = f"it held {held} bytes of memory"
            self.lost.set_result(WorkerDiedError(text, end=End.OUT_OF_MEMORY, limit=most))
        elif self._waiting:
            self._heard = self._clock()
        elif silence is not None and self._clock() - self._heard > silence:
            text = f"it showed no sign of life for {silence:g} s"
            self.lost.set_result(WorkerDiedError(text, end=End.STALLED, limit=silence))


class Vitals:
    """Looks at all workers that work, a few times a second."""

    def __init__(self, limits: WorkerLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._watched: set[Vital] = set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._forever())

    async def stop(self) -> None:
        """End."""
        await tasks.end(self._task)

    def watch(self) -> Vital:
        """A worker begins with something."""
        vital = Vital(self._limits, self._clock)
        self._watched.add(vital)
        return vital

    def leave(self, vital: Vital) -> None:
        """It has ended with that."""
        self._watched.discard(vital)

    async def _forever(self) -> None:
        while True:
            for vital in list(self._watched):
                vital.look()
            await asyncio.sleep(_EVERY)


def peer(connection: socket.socket) -> int | None:
    """The process at the other end of a local connection, where the system tells that."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    pid, _, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, option, _PEER.size))
    return int(pid)


def resident_bytes(pid: int) -> int | None:
    """The memory that a process holds, where the system tells that."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return None


def moved_bytes(pid: int) -> int | None:
    """The bytes that a process has read and written so far, but for those of its sockets, where
    the system tells that."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        read, written = Path(f"/proc/{pid}/io").read_text().splitlines()[:2]
        return int(read.split()[1]) + int(written.split()[1])
    return None
