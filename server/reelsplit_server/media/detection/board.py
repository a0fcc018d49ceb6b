"""Where those who scan one source share out its stretches: a folder, with a lock for each stretch.

A stretch is claimed by locking a file, and the system frees the lock of a process that dies. What
was seen appears by renaming. One of them, the lead, makes the folder and takes everything in
order; when it ends, however that may be, the others see it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reelsplit_server.media.detection.effort import Scanned
from reelsplit_server.media.detection.packing import (
    pack_plan,
    pack_scanned,
    unpack_plan,
    unpack_scanned,
)
from reelsplit_server.media.detection.reel import View
from reelsplit_server.media.detection.stretches import Stretch

#: How many stretches are scanned ahead of the first one that the lead has not taken: what is seen
#: of each is some megabytes.
AHEAD = 16
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class Over(Exception):
    """There is nothing more to scan here, or the lead has gone."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One's own stretch, until it is released."""

    number: int
    file: int

    def release(self) -> None:
        """Leave it to others, unless what was seen of it is there."""
        os.close(self.file)


class Board:
    """The folder as everyone sees it."""

    def __init__(self, folder: Path, total: int) -> None:
        self._folder, self._total = folder, total

    def claim(self, head: int, *, again: bool) -> Claim | None:
        """The first stretch from `head` on that nobody has, not too far ahead; with `again`, also
        one that was begun by somebody who died over it. Raises `Over` where the folder is gone."""
        for number in range(head, min(head + AHEAD, self._total)):
            claim = self._try(number, again=again)
            if claim is not None:
                return claim
        return None

    def put(self, claim: Claim, scanned: Scanned) -> None:
        """Hand over what was seen of a claimed stretch. Raises `Over` where the folder is gone,
        and OSError where the disk is full."""
        scratch = self._folder / f"{claim.number}.part"
        try:
            with scratch.open("wb") as file:
                pack_scanned(file, scanned)
            scratch.replace(self._done(claim.number))
        except FileNotFoundError:
            raise Over from None

    def _try(self, number: int, *, again: bool) -> Claim | None:
        if self._done(number).exists():
            return None
        try:
            file = os.open(self._folder / f"{number}.claim", _FLAGS, 0o600)
        except FileNotFoundError:
            raise Over from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            begun = os.fstat(file).st_size > 0
            if self._done(number).exists() or (begun and not again):
                os.close(file)
                return None
            os.write(file, b"1")
        except BlockingIOError:
            os.close(file)
            return None
        except BaseException:
            os.close(file)
            raise
        return Claim(number, file)

    def _done(self, number: int) -> Path:
        return self._folder / f"{number}.seen"


class LeadBoard(Board):
    """The folder as the one sees it who made it."""

    def __init__(self, folder: Path, view: View, stretches: Sequence[Stretch]) -> None:
        """`folder` does not exist yet. Raises OSError."""
        super().__init__(folder, len(stretches))
        draft = folder.with_name(f"{folder.name}.part")
        draft.mkdir(mode=0o700)
        with (draft / "plan").open("wb") as file:
            pack_plan(file, view, stretches)
        # Whoever sees the folder sees that it is led.
        self._lock = os.open(draft / "lead", _FLAGS, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._head = os.open(draft / "head", _FLAGS, 0o600)
        self.move(0)
        draft.rename(folder)

    def move(self, head: int) -> None:
        """Everything before this stretch was taken; the number of all of them: it is over."""
        os.pwrite(self._head, head.to_bytes(8, "big"), 0)

    def take(self, number: int) -> Scanned | None:
        """What somebody saw of a stretch, if that is there; it is gone then. What makes no sense
        is a flaw."""
        path = self._done(number)
        try:
            with path.open("rb") as file:
                scanned = unpack_scanned(file)
        except FileNotFoundError:
            return None
        except ValueError as error:
            flaw = f"what another worker saw cannot be read ({error})"
            scanned = Scanned(pts=np.empty(0, np.int64), strips=(), flaw=flaw)
        path.unlink()
        return scanned

    def close(self) -> None:
        """End it for everyone."""
        with suppress(OSError):
            self.move(self._total)
        shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._head)
        os.close(self._lock)


class HelperBoard(Board):
    """The folder as the others see it."""

    def __init__(self, folder: Path) -> None:
        """Raises `Over` where there is none any more."""
        try:
            with (folder / "plan").open("rb") as file:
                self.view, self.stretches = unpack_plan(file)
            self._head = os.open(folder / "head", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            self._lead = os.open(folder / "lead", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except (OSError, ValueError):
            raise Over from None
        super().__init__(folder, len(self.stretches))

    def next(self, wait: float) -> Claim | None:
        """A stretch to scan; None where, for `wait` seconds, all was too far ahead of the lead.

        Raises `Over` where all are shared out already, and as `check`.
        """
        until = time.monotonic() + wait
        while True:
            head = self.check()
            claim = self.claim(head, again=False)
            if claim is not None:
                return claim
            if head + AHEAD >= self._total:
                raise Over
            if time.monotonic() >= until:
                return None
            time.sleep(0.02)

    def check(self) -> int:
        """The first stretch that the lead has not taken. Raises `Over` where there is no more."""
        head = int.from_bytes(os.pread(self._head, 8, 0), "big")
        if head >= self._total or self._left():
            raise Over
        return head

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self._head)
        os.close(self._lead)

    def _left(self) -> bool:
        """Whether there is no lead any more."""
        try:
            fcntl.flock(self._lead, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        fcntl.flock(self._lead, fcntl.LOCK_UN)
        return True


@contextmanager
def helping(folder: Path) -> Iterator[HelperBoard]:
    """The folder for as long as the block takes. Raises `Over`."""
    board = HelperBoard(folder)
    try:
        yield board
    finally:
        board.close()
