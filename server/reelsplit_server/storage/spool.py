"""Sources on the server's own disk, for servers that cannot send parts of a file."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from reelsplit_server.storage.errors import StorageError, disk_full, is_full, is_too_large
from reelsplit_server.storage.files import Counted
from reelsplit_server.storage.grants import Pin
from reelsplit_server.storage.pulse import beat

_LOOK = 0.05
_FLAGS = os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class Spool:
    """What the units of one job share of one source; ``label`` is how messages call it.

    A file is there whole or not at all, and its name says of which state of the source it is.
    """

    def __init__(self, folder: Path, url: str, label: str) -> None:
        self._folder = folder
        self._url = url
        self._label = label

    def find(self, pin: Pin) -> BinaryIO | None:
        """The source in its pinned state, open, where it lies there."""
        try:
            file = os.open(self.path(pin), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _error(error, self._label) from error
        return io.BufferedReader(Counted(file), 2**20)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Only one unit of the job at a time is in here; the others wait for what it fetches. The
        system frees the lock of a worker that dies."""
        try:
            lock = os.open(self._folder / "spool.lock", os.O_RDWR | _FLAGS, 0o600)
        except OSError as error:
            raise _error(error, self._label) from error
        try:
            # Whoever has it shows signs of life, or is ended for showing none.
            while not _taken(lock):
                beat()
                time.sleep(_LOOK)
            yield
        finally:
            os.close(lock)

    @contextmanager
    def draft(self) -> Iterator[Draft]:
        """A new file, of which nothing is left unless it is kept. Only within `locked`."""
        path = self._folder / "spool.part"
        try:
            # What a worker left that was killed is written over.
            file = os.open(path, os.O_WRONLY | os.O_TRUNC | _FLAGS, 0o600)
        except OSError as error:
            raise _error(error, self._label) from error
        try:
            yield Draft(self, path, file, self._label)
        finally:
            os.close(file)
            with suppress(FileNotFoundError):
                os.unlink(path)

    def path(self, pin: Pin) -> Path:
        """Where the source lies in its pinned state, if it does."""
        state = f"{self._url}\n{pin.size}\n{pin.tag}\n{pin.version}"
        return self._folder / f"spool-{hashlib.sha256(state.encode()).hexdigest()[:32]}"


class Draft:
    """A source that is being written; `size` in bytes so far."""

    def __init__(self, spool: Spool, path: Path, file: int, label: str) -> None:
        self.size = 0
        self._spool = spool
        self._label = label
        self._path = path
        self._file = file

    def write(self, data: bytes) -> None:
        """Append; raises ``DISK_FULL``, ``SOURCE_TOO_LARGE``."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError as error:
            raise _error(error, self._label) from error
        self.size += len(data)

    def keep(self, pin: Pin) -> BinaryIO:
        """Give it its place, and open it for reading."""
        try:
            os.replace(self._path, self._spool.path(pin))
        except OSError as error:
            raise _error(error, self._label) from error
        kept = self._spool.find(pin)
        assert kept is not None
        return kept


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _error(error: OSError, label: str) -> StorageError:
    if is_full(error):
        return disk_full()
    if is_too_large(error):
        most, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
        return StorageError(
            "SOURCE_TOO_LARGE",
            f"The server of {label} cannot send parts of it, and the whole is larger than the "
            f"{most:,} bytes that a file of this server may have. Put it on a server that answers "
            "range requests.",
            {"limit": str(most)},
        )
    return StorageError(
        "SOURCE_UNAVAILABLE",
        f"The source {label} could not be kept on the server's disk: {error.strerror}.",
        {"uri": label},
        transient=error.errno == errno.EIO,
    )
