"""Opening a source for a unit, wherever it lies."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from reelsplit_server.storage.errors import changed
from reelsplit_server.storage.files import Counted, Files
from reelsplit_server.storage.grants import FileGrant, ObjectGrant, Pin, SourceGrant
from reelsplit_server.storage.ranges import RangeReader
from reelsplit_server.storage.web import open_web

_KEPT = "source.extents"
_BUFFER = 2**16


def open_source(grant: SourceGrant, renew: Callable[[], SourceGrant]) -> tuple[BinaryIO, Pin]:
    """Open a source for reading; answers its state too, in which all of it will be read.

    ``renew`` answers a new grant when the old one has run out; it is called by the thread that
    reads. Raises `StorageError` with ``SOURCE_…``, as do reads of the file.
    """
    match grant:
        case FileGrant():
            return _open_file(grant)
        case ObjectGrant():

            def renew_object() -> ObjectGrant:
                new = renew()
                assert isinstance(new, ObjectGrant)
                return new

            reader = RangeReader(grant, renew_object)
            file: BinaryIO = io.BufferedReader(reader, _BUFFER)
            pin = grant.pin
        case _:
            file, pin = open_web(grant)
    if (ranged := _ranges(file)) is not None:
        ranged.load(Path(grant.folder, _KEPT))
    return file, pin


@contextmanager
def keeping(file: BinaryIO) -> Iterator[None]:
    """Save what is read of a remote source within the block for the job's other units, which
    need the same header and index, and find it when they open the source. Does nothing for a
    local one."""
    reader = _ranges(file)
    if reader is None:
        yield
        return
    # What is buffered would not be read from the reader again.
    position = file.tell()
    file.seek(0, os.SEEK_END)
    file.seek(position)
    with reader.keeping(Path(reader.grant.folder, _KEPT)):
        yield


def expect_whole(file: BinaryIO) -> None:
    """Tell that all of a source will be read, mostly in order: a remote one is then fetched in
    large windows from the begin on."""
    reader = _ranges(file)
    if reader is not None:
        reader.expect_whole()


def expect_part(file: BinaryIO, place: tuple[int, int | None]) -> None:
    """Tell that the bytes from one up to another will be read next, mostly in order, None for
    those up to the end: of a remote source they are fetched in large windows, and little behind
    them."""
    reader = _ranges(file)
    if reader is not None:
        reader.expect_part(*place)


def check_unchanged(file: BinaryIO, grant: SourceGrant, pin: Pin) -> None:
    """Check, at the end of a unit, that all it read was the source in one state; raises
    `StorageError`. Media libraries take a read that fails for the end of a file."""
    check_readable(file)
    if isinstance(grant, FileGrant) and _state(file) != pin:
        raise changed(grant.label)


def fetched(file: BinaryIO) -> int:
    """The bytes that were taken from where a source lies so far. Of one that was fetched whole
    before, those that were read."""
    raw = file.raw if isinstance(file, io.BufferedReader) else None
    return raw.fetched if isinstance(raw, RangeReader | Counted) else 0


def check_readable(file: BinaryIO) -> None:
    """Check that no read of a remote source has failed so far; raises `StorageError`. Before
    something is told that the end of the file, which that looks like, would make certain."""
    reader = _ranges(file)
    if reader is not None and reader.failure is not None:
        raise reader.failure


def _open_file(grant: FileGrant) -> tuple[BinaryIO, Pin]:
    file = Files([Path(root) for root in grant.roots]).open(grant.path)
    pin = _state(file)
    if grant.pin not in (None, pin):
        file.close()
        raise changed(grant.label)
    return file, pin


def _state(file: BinaryIO) -> Pin:
    found = os.fstat(file.fileno())
    return Pin(size=found.st_size, tag=f"{found.st_ino}-{found.st_mtime_ns}")


def _ranges(file: BinaryIO) -> RangeReader | None:
    raw = file.raw if isinstance(file, io.BufferedReader) else None
    return raw if isinstance(raw, RangeReader) else None
