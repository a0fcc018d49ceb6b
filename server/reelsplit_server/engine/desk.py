"""What the server does for a unit while a worker does it: opens its source, publishes its end."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from reelsplit.types.segment import Segment
from reelsplit.wire import to_message
from reelsplit_server.engine.desks import Desks, replaces
from reelsplit_server.engine.seam import OnReport, Published, Publishing, Render, Unit
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
from reelsplit_server.work.asks import Answer, Ask, Finished, Renew, Sign, Uploaded
from reelsplit_server.work.targets import scratch_file, target_uri

ResultT = TypeVar("ResultT")
_PROMPT = 1.0
"""How long a unit that has ended waits for its clearing up, in seconds; it goes on by itself."""
_MOST_PARTS = 100
"""How many parts are signed for one asking: workers ask for fewer."""
_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}")


class Desk:
    """Serves one unit. A refusal is a `StorageError`; a worker that asks for what it cannot have
    gets a `ValueError`."""

    def __init__(self, desks: Desks, unit: Unit, on_report: OnReport) -> None:
        self._desks = desks
        self._stores = desks.stores
        self._unit = unit
        self._on_report = on_report
        self._source: Place | None = None
        self._target: Place | None = None
        self._replace = False
        self._segment: Segment | None = None
        self._upload: Upload | None = None
        self._appeared = False
        """Whether the segment lies at its place as a file; uploads know that themselves."""
        self._busy: asyncio.Future[Any] | None = None
        self.finishing = False
        """Whether the segment is appearing at its place right now."""
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
            target = self._stores.resolve(uri, unit.output.endpoint, "write")
            await self._desks.cleared(target)
            self._target = target
            check = functools.partial(self._check, unit, self._source, target)
            self._replace = await self._call(target, check)
        return await self._grant()

    def _check(self, unit: Render, source: Place, target: Place) -> bool:
        if unit.intent is not None:
            # An attempt came so far that it may have left an upload, if it ended badly enough.
            self._desks.abort_abandoned(target)
        replace = replaces(unit)
        ours = self._stores.check_target(source, target, replace=replace, intent=unit.intent)
        # What lies there from an attempt whose end the server did not see is replaced.
        return ours or replace

    async def answer(self, ask: Ask) -> Answer | None:
        """Do what the worker asks for. None when the unit was given up."""
        if self.given_up:
            return None
        if isinstance(ask, Renew):
            return await self._grant()
        if self.published is not None:
            raise ValueError("the unit is done")
        match ask:
            case Finished(segment=segment):
                return await self._finished(segment)
            case Sign(parts=parts):
                return Signed(requests=await self._signed(parts))
            case Uploaded(etags=etags):
                return await self._uploaded(etags)

    async def close(self) -> None:
        """The worker is gone: clear up what it left in the store. Returns soon; what a store
        holds up goes on by itself."""
        if self._target is None or self.published is not None:
            return
        if self._busy is not None or self._upload is not None or self._appeared:
            task = self._desks.clear(self._target, functools.partial(self._clear, self._target))
            await asyncio.wait([task], timeout=_PROMPT)

    async def _clear(self, target: Place) -> None:
        if self._busy is not None:
            # A thread that was given up goes on; only when it has ended it is known what it did.
            await asyncio.wait([self._busy])
        if self._upload is not None:
            store, upload = self._uploading()
            work = functools.partial(store.abort, upload)
            await self._desks.quietly("upload_not_aborted", target, work)
        if self._appeared and self._segment is not None:
            # No segment lists it.
            take = functools.partial(self._stores.remove, target, self._segment.checksum)
            await self._desks.quietly("output_not_taken_back", target, take)

    async def _call(self, place: Place, work: Callable[[], ResultT]) -> ResultT:
        busy = asyncio.ensure_future(self._desks.call(place, work))
        # Looked at, since nobody else does when the unit is stopped.
        busy.add_done_callback(lambda busy: busy.cancelled() or busy.exception())
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
        return await self._call(self._source, work)

    async def _finished(self, segment: Segment) -> Answer | None:
        unit, target = self._unit, self._target
        if not isinstance(unit, Render) or target is None or self._segment is not None:
            raise ValueError("a segment is finished once, and by its own unit")
        self._segment = _checked(dataclasses.replace(segment, uri=target_uri(unit)))
        # Kept before anything can be seen, so that a crash between the two is understood.
        await self._on_report(Publishing(checksum=segment.checksum))
        if self.given_up:
            return None
        scratch = scratch_file(unit)
        if isinstance(target, ObjectPlace):

            def begin() -> Upload:
                # Kept by the thread itself: nobody else may be there any more to keep it.
                self._upload = self._stores.begin(
                    scratch, target, segment.checksum, replace=self._replace
                )
                return self._upload

            return (await self._call(target, begin)).grant
        assert isinstance(target, FilePlace)

        def place() -> None:
            self._stores.place_file(scratch, target, replace=self._replace)
            self._appeared = True

        return await self._finish(target, place)

    async def _signed(self, parts: Sequence[Part]) -> Sequence[Request]:
        store, upload = self._uploading()
        if not isinstance(upload.grant, PartsUpload) or len(parts) > _MOST_PARTS:
            raise ValueError(f"this upload has no {len(parts)} parts to be signed together")
        assert self._target is not None
        return await self._call(self._target, functools.partial(store.sign, upload, parts))

    async def _uploaded(self, etags: Sequence[str]) -> Answer:
        unit, target = self._unit, self._target
        store, upload = self._uploading()
        assert isinstance(unit, Render)
        assert target is not None

        def finish() -> None:
            # Were ours taken back afterwards, the job that lists these bytes would miss them.
            checksum = upload.target.checksum
            upload.stays = replaces(unit) and self._stores.holds(target, checksum)
            store.finish(upload, etags)

        return await self._finish(target, finish)

    async def _finish(self, target: Place, work: Callable[[], None]) -> Answer:
        assert self._segment is not None
        self.finishing = True
        try:
            await self._call(target, work)
        finally:
            self.finishing = False
        self.published = Published(segment=self._segment)
        return Placed()

    def _uploading(self) -> tuple[ObjectStore, Upload]:
        if self._upload is None or not isinstance(self._target, ObjectPlace):
            raise ValueError("nothing is being uploaded")
        return self._stores.store_of(self._target), self._upload


def _checked(segment: Segment) -> Segment:
    """A segment that can be kept: what a worker tells may be anything."""
    if not _CHECKSUM.fullmatch(segment.checksum):
        raise ValueError("the segment has no checksum")
    try:
        to_message(segment).SerializeToString()
    except Exception as error:
        raise ValueError(f"the segment cannot be kept: {error}"[:200]) from error
    return segment
