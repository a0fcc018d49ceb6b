"""What the server does for a unit while a worker does it: opens its source, publishes its end."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import structlog

from reelsplit.types.error import Error
from reelsplit.types.output import OverwritePolicy
from reelsplit.types.segment import Segment
from reelsplit_server.engine.seam import (
    OnReport,
    Published,
    Publishing,
    RemoveError,
    Render,
    Target,
    Unit,
)
from reelsplit_server.storage.errors import StorageError
from reelsplit_server.storage.files import disk_full
from reelsplit_server.storage.grants import (
    Part,
    PartsUpload,
    Pin,
    Placed,
    Request,
    Signed,
    SourceGrant,
)
from reelsplit_server.storage.object_store import ObjectStore, Upload
from reelsplit_server.storage.routes import FilePlace, ObjectPlace, Place
from reelsplit_server.storage.stores import Stores
from reelsplit_server.work.asks import Answer, Ask, Finished, Renew, Sign, Uploaded
from reelsplit_server.work.targets import scratch_file, target_uri

log = structlog.get_logger(__name__)
ResultT = TypeVar("ResultT")
_CLEARING = 10.0
"""How long clearing up may take when the server stops, in seconds."""


class Desks:
    """Has the threads in which stores are spoken to, and all desks."""

    def __init__(self, stores: Stores, units: int) -> None:
        """``units`` is how many units run at the same time."""
        self._stores = stores
        # Some more, so that calls that hang hold up no others.
        self._threads = ThreadPoolExecutor(2 * units + 16, thread_name_prefix="stores")
        self._clearing: set[asyncio.Task[None]] = set()

    def desk(self, unit: Unit, on_report: OnReport) -> Desk:
        """The desk of one unit."""
        return Desk(self, self._stores, unit, on_report)

    async def call(self, work: Callable[[], ResultT]) -> ResultT:
        """Do something that blocks."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def clear(self, work: asyncio.Task[None]) -> None:
        """Let something go on that nobody waits for."""
        self._clearing.add(work)
        work.add_done_callback(self._clearing.discard)

    async def remove(self, targets: Sequence[Target]) -> int:
        """Delete what a job published; see `seam.Engine.remove`."""
        count = 0
        for target in targets:
            try:
                place = self._stores.resolve(target.uri, target.endpoint, "write")
                work = functools.partial(self._stores.remove, place, target.checksum)
                count += await self.call(work)
            except StorageError as error:
                raise RemoveError(told(error)) from error
        return count

    async def abandon(self, units: Sequence[Render]) -> None:
        """Give up what an earlier server was uploading; see `seam.Engine.abandon`."""
        for unit in units:
            try:
                place = self._stores.resolve(target_uri(unit), unit.output.endpoint, "write")
                count = await self.call(functools.partial(self._stores.abort_abandoned, place))
            except StorageError as error:
                log.warning("uploads_not_aborted", job_id=unit.job_id, error=error.message)
            else:
                if count:
                    log.info("uploads_aborted", job_id=unit.job_id, unit=unit.label, count=count)

    async def close(self) -> None:
        """End when what is being cleared up is, or after some seconds."""
        if self._clearing:
            await asyncio.wait(self._clearing, timeout=_CLEARING)
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._stores.close()


class Desk:
    """Serves one unit. A refusal is a `StorageError`."""

    def __init__(self, desks: Desks, stores: Stores, unit: Unit, on_report: OnReport) -> None:
        self._desks = desks
        self._stores = stores
        self._unit = unit
        self._on_report = on_report
        self._source: Place | None = None
        self._target: Place | None = None
        self._replace = False
        self._segment: Segment | None = None
        self._upload: Upload | None = None
        self._busy: asyncio.Future[Any] | None = None
        self._finishing = False
        self.given_up = False
        """Whether the unit was stopped, so that nothing of it may appear any more."""
        self.published: Published | None = None
        """The end of a unit that makes a segment, once that lies at its place."""

    async def open(self) -> SourceGrant:
        """Look at source and target, before a worker begins."""
        unit = self._unit
        self._source = self._stores.resolve(unit.source.uri or "", unit.source.endpoint, "read")
        if isinstance(unit, Render):
            uri = target_uri(unit)
            self._target = self._stores.resolve(uri, unit.output.endpoint, "write")
            replace = unit.output.overwrite_policy is OverwritePolicy.REPLACE
            check = functools.partial(
                self._stores.check_target,
                self._source,
                self._target,
                replace=replace,
                intent=unit.intent,
            )
            # What lies there from an attempt whose end the server did not see is replaced.
            self._replace = await self._call(check) or replace
        return await self._grant()

    async def answer(self, ask: Ask) -> Answer:
        """Do what the worker asks for."""
        match ask:
            case Renew():
                return await self._grant()
            case Finished(segment=segment):
                return await self._finished(segment)
            case Sign(parts=parts):
                return Signed(requests=await self._signed(parts))
            case Uploaded(etags=etags):
                return await self._uploaded(etags)

    @property
    def finishing(self) -> bool:
        """Whether the segment is appearing at its place right now."""
        return self._finishing and self.published is None

    async def close(self) -> None:
        """The worker is gone: clear up what it left in the store. When this is cancelled, that
        goes on by itself."""
        if self._busy is None and self._upload is None:
            return
        task = asyncio.create_task(self._clear())
        self._desks.clear(task)
        await asyncio.shield(task)

    async def _clear(self) -> None:
        if self._busy is not None:
            # A thread that was given up goes on; only when it has ended it is known what it did.
            await asyncio.wait([self._busy])
        if self.published is not None:
            return
        with contextlib.suppress(StorageError):
            if self._upload is not None:
                store, upload = self._uploading()
                await self._desks.call(functools.partial(store.abort, upload))
            if self._finishing and self._target is not None and self._segment is not None:
                # It may have appeared, and no segment lists it.
                work = functools.partial(self._stores.remove, self._target, self._segment.checksum)
                await self._desks.call(work)

    async def _call(self, work: Callable[[], ResultT]) -> ResultT:
        busy = asyncio.ensure_future(self._desks.call(work))
        self._busy = busy
        try:
            # When the unit is stopped the thread goes on, and `_clear` waits for it.
            return await asyncio.shield(busy)
        finally:
            if busy.done():
                self._busy = None

    async def _grant(self) -> SourceGrant:
        assert self._source is not None
        pin = Pin.of(self._unit.pin)
        work = functools.partial(self._stores.source, self._source, pin, self._unit.folder)
        return await self._call(work)

    async def _finished(self, segment: Segment) -> Answer:
        unit, target = self._unit, self._target
        assert isinstance(unit, Render)
        assert target is not None
        if self._segment is not None:
            raise ValueError("a unit finishes once")
        self._segment = dataclasses.replace(segment, uri=target_uri(unit))
        # Kept before anything can be seen, so that a crash between the two is understood.
        await self._on_report(Publishing(checksum=segment.checksum))
        if self.given_up:
            raise ConnectionResetError("the unit was given up in the meantime")
        scratch = scratch_file(unit)
        if isinstance(target, FilePlace):
            self._finishing = True
            try:
                await self._call(functools.partial(self._place, scratch, target))
            except StorageError:
                self._finishing = False
                raise
            return self._placed()
        assert isinstance(target, ObjectPlace)
        upload = await self._call(functools.partial(self._begin, scratch, target, segment.checksum))
        return upload.grant

    def _place(self, scratch: Path, target: FilePlace) -> None:
        try:
            self._stores.place_file(scratch, target, replace=self._replace)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise disk_full() from error
            raise

    def _begin(self, scratch: Path, target: ObjectPlace, checksum: str) -> Upload:
        # Kept by the thread itself: nobody else may be there any more to keep it.
        upload = self._stores.begin(scratch, target, checksum, replace=self._replace)
        self._upload = upload
        return upload

    async def _signed(self, parts: Sequence[Part]) -> Sequence[Request]:
        store, upload = self._uploading()
        if not isinstance(upload.grant, PartsUpload):
            raise ValueError("this upload has no parts")
        return await self._call(functools.partial(store.sign, upload, parts))

    async def _uploaded(self, etags: Sequence[str]) -> Answer:
        store, upload = self._uploading()
        self._finishing = True
        await self._call(functools.partial(store.finish, upload, etags))
        return self._placed()

    def _uploading(self) -> tuple[ObjectStore, Upload]:
        if self._upload is None or not isinstance(self._target, ObjectPlace):
            raise ValueError("nothing is being uploaded")
        return self._stores.store_of(self._target), self._upload

    def _placed(self) -> Placed:
        assert self._segment is not None
        self.published = Published(segment=self._segment)
        return Placed()


def told(error: StorageError) -> Error:
    """A failure of a store in the words of the contract."""
    return Error(reason=error.reason, message=error.message, metadata=dict(error.metadata))
