"""An object behind HTTP as a file: read in ranges, only what is needed, and that once."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from reelsplit_server.storage.errors import StorageError
from reelsplit_server.storage.extents import Extent, Extents, SharedExtents
from reelsplit_server.storage.fetching import Fetcher, GaveUpError
from reelsplit_server.storage.grants import ObjectGrant
from reelsplit_server.storage.http import Http

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_MOST_RUNS = 8
_MOST_KEPT = 2**26
_TASKS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """How much is fetched at once, in bytes.

    A run of reads begins with a request of ``first``; later ones are a ``share``-th of what the
    run has read, and at most ``most``, so that what is fetched in vain when the reader jumps away
    stays small. From ``ahead`` bytes on, that is split into the window that is read and the one
    that is fetched meanwhile. ``cache`` is what is held in memory. With ``whole`` all of the
    object is expected to be read: windows are as large as the cache allows from the first on.
    """

    first: int = 2**16
    share: int = 6
    most: int = 2**23
    ahead: int = 2**19
    cache: int = 2**25
    whole: bool = False


@dataclass(slots=True)
class _Run:
    """A position that moves forward: containers are read at several in turn."""

    next: int
    read: int = 0
    missed: bool = False
    used: int = 0


@dataclass(slots=True)
class _Task:
    """A range that is fetched in the background."""

    start: int
    stop: int
    done: bool = False


class RangeReader(io.RawIOBase):
    """Reads an object in its pinned state; raises `StorageError` where it cannot.

    For one thread at a time. A read answers what is at hand, at least one byte before the end.
    ``renew`` answers a new grant when the old one has run out; it is called by the reading thread
    only. ``http`` belongs to the reader, which closes it.
    """

    def __init__(
        self,
        grant: ObjectGrant,
        renew: Callable[[], ObjectGrant] | None = None,
        http: Http | None = None,
        windows: Windows | None = None,
    ) -> None:
        super().__init__()
        self.grant = grant
        self.failure: StorageError | None = None
        """What a read has failed with: libraries may take that for the end of the file."""
        self._size = grant.pin.size
        self._windows = windows or Windows()
        self._fetcher = Fetcher(grant, http or Http(grant.wire), renew)
        self._extents = Extents(self._windows.cache)
        self._shared: SharedExtents | None = None
        self._pool = ThreadPoolExecutor(_TASKS, "read-ahead")
        self._tasks: list[_Task] = []
        self._runs: list[_Run] = [_Run(0)]
        self._position = 0
        self._consumed = 0
        self._last: Extent | None = None
        self._keeping = False
        self._part = 0, self._size

    @property
    def fetched(self) -> int:
        """The bytes that were fetched so far."""
        return self._fetcher.fetched

    # --- The file --------------------------------------------------------------------------

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """The position of the next read."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Set the position of the next read; nothing is fetched yet."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}.get(whence)
        if base is None or base + offset < 0:
            raise ValueError(f"no position: {offset} from {whence}")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read into a buffer; answers how many bytes, 0 at the end."""
        if self.closed:
            raise ValueError("read of a closed file")
        view = memoryview(buffer).cast("B")
        position = self._position
        wanted = min(len(view), self._size - position)
        if wanted <= 0:
            return 0
        extent = self._last
        if extent is None or not extent.start <= position < extent.stop:
            try:
                extent = self._last = self._find(position)
            except StorageError as error:
                self.failure = error
                raise
        offset = position - extent.start
        count = min(wanted, len(extent.data) - offset)
        view[:count] = extent.data[offset : offset + count]
        self._position = position + count
        run = self._runs[0]
        # Bytes that are read again tell nothing of how far a run will go.
        new = max(0, position + count - max(run.next, position))
        run.next = max(run.next, position + count)
        if run.missed:
            run.read += new
        self._consumed += count
        return count

    def close(self) -> None:
        """End all that is under way, and give up connections and memory."""
        if not self.closed:
            super().close()
            self._fetcher.close()
            self._pool.shutdown(cancel_futures=True)
            self._last = None
            if self._shared is not None:
                self._shared.close()
                self._shared = None

    # --- What is known beforehand ----------------------------------------------------------

    def expect_whole(self) -> None:
        """All of the object will be read, mostly in order: it is fetched in large windows."""
        self.expect_part(0, None)

    def expect_part(self, start: int, stop: int | None) -> None:
        """The bytes [start, stop) will be read next, mostly in order: they are fetched in large
        windows, and what lies around them in small ones. None is the end of the object."""
        self._part = start, self._size if stop is None else stop
        self._windows = replace(self._windows, whole=True)

    # --- What units share ------------------------------------------------------------------

    @contextmanager
    def keeping(self, path: Path) -> Iterator[None]:
        """Save what is read within the block, at most 64 MiB, for readers that `load` it."""
        self._last = None
        self._keeping = True
        try:
            yield
        finally:
            self._keeping = False
            # Without the file the others fetch for themselves.
            with suppress(OSError):
                SharedExtents.save(path, self.grant.pin, self._extents.pinned())
            self._extents.release()

    def load(self, path: Path) -> None:
        """Use what another reader kept of the same state; to be called before the first read."""
        assert self._last is None
        assert self._shared is None
        self._shared = SharedExtents.load(path, self.grant.pin)

    # --- Finding and fetching --------------------------------------------------------------

    def _find(self, position: int) -> Extent:
        self._tasks = [task for task in self._tasks if not task.done]
        run = self._follow(position)
        extent = self._extents.at(position) or self._from_shared(position)
        if extent is None:
            extent = self._missing(position, run)
        if self._keeping:
            self._extents.pin(extent, _MOST_KEPT)
        self._read_ahead(position, run)
        return extent

    def _follow(self, position: int) -> _Run:
        """The run that a read belongs to, put first."""
        first = self._windows.first
        near = (
            run
            for run in self._runs
            if run.next - first <= position <= run.next + max(first, self._window(run))
        )
        run = next(near, None) or _Run(position)
        others = [each for each in self._runs if each is not run]
        self._runs = [run, *others[: _MOST_RUNS - 1]]
        run.used = self._consumed
        return run

    def _window(self, run: _Run) -> int:
        windows = self._windows
        alive = sum(self._consumed - each.used < windows.cache // 4 for each in self._runs)
        if windows.whole:
            if not self._part[0] <= run.next < self._part[1]:
                return windows.first
            # Two of them, and what was read a moment ago, are in memory together.
            return max(windows.first, windows.cache * 3 // (8 * max(1, alive)))
        most = min(windows.most, windows.cache // (4 * max(1, alive)))
        share = windows.share * (2 if run.read >= windows.ahead else 1)
        return max(windows.first, min(most, run.read // share))

    def _end(self, position: int) -> int:
        """Where the expected part ends that a position lies in, or else the object."""
        start, stop = self._part
        return stop if start <= position < stop else self._size

    def _from_shared(self, position: int) -> Extent | None:
        extent = self._shared.at(position) if self._shared is not None else None
        if extent is not None:
            self._extents.add(extent)
        return extent

    def _missing(self, position: int, run: _Run) -> Extent:
        """The extent around a position, from the network."""
        task = next((each for each in self._tasks if each.start <= position < each.stop), None)
        if task is not None:
            with self._extents.arrived:
                self._extents.arrived.wait_for(
                    lambda: task.done or self._extents.stop_at(position) is not None
                )
            found = self._extents.at(position)
            if found is not None:
                return found
            self._tasks.remove(task)
        # Another stream's place is often a little before that of the first.
        start = position if run.missed else self._back(position)
        run.missed = True
        stop = min(position + self._window(run), self._next_known(position), self._end(position))
        found = None

        def deliver(extent: Extent) -> None:
            nonlocal found
            if extent.start <= position < extent.stop:
                found = extent
            self._extents.add(extent)

        self._fetcher.fetch(start, stop, deliver, patient=True)
        assert found is not None
        return found

    def _read_ahead(self, position: int, run: _Run) -> None:
        if run.read < self._windows.ahead or not run.missed:
            return
        if len(self._tasks) == _TASKS:
            return
        window = self._window(run)
        start = self._hole(position)
        # What follows the part that is expected is hardly wanted.
        if start >= self._end(position) or start - position > window:
            return
        task = _Task(start, min(start + window, self._next_known(start), self._end(start)))
        self._tasks.append(task)
        self._pool.submit(self._fetch_behind, task)

    def _fetch_behind(self, task: _Task) -> None:
        try:
            # What fails is fetched again, with patience, where it is really wanted.
            with suppress(GaveUpError, StorageError):
                self._fetcher.fetch(task.start, task.stop, self._extents.add, patient=False)
        finally:
            with self._extents.arrived:
                task.done = True
                self._extents.arrived.notify_all()

    def _known(self, position: int) -> int | None:
        """Where what is at hand, or on its way, around a position stops."""
        stop = self._extents.stop_at(position)
        if stop is None and self._shared is not None:
            stop = self._shared.stop_at(position)
        if stop is None:
            stops = (each.stop for each in self._tasks if each.start <= position < each.stop)
            stop = next(stops, None)
        return stop

    def _hole(self, position: int) -> int:
        """The first byte from a position on that is neither at hand nor on its way."""
        while position < self._size and (stop := self._known(position)) is not None:
            position = stop
        return position

    def _back(self, position: int) -> int:
        """How far before a missing byte others are missing too, up to a round number."""
        start = position - position % max(1, self._windows.first // 8)
        while start < position:
            stop = self._known(start)
            if stop is None:
                following = self._next_known(start)
                if following > position:
                    break
                stop = following
            start = stop
        return start

    def _next_known(self, position: int) -> int:
        """Where the next bytes start that are at hand or on their way, or the end."""
        starts = [self._size, *(each.start for each in self._tasks if each.start > position)]
        for held in (self._extents, self._shared):
            start = held.start_after(position) if held is not None else None
            if start is not None:
                starts.append(start)
        return min(starts)
