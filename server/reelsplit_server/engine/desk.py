"""What the server does for a unit while a worker does it: opens its source, publishes its end."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from reelsplit.types.job import Report
from reelsplit.types.segment import Segment
from reelsplit.types.spec import ReportKind
from reelsplit.wire import to_message
from reelsplit_server.engine.desks import Desks
from reelsplit_server.engine.seam import (
    Analyse,
    OnReport,
    Published,
    PublishedReport,
    Publishing,
    PublishingReport,
    Render,
    Unit,
)
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
from reelsplit_server.work.asks import (
    Answer,
    Ask,
    Finished,
    Renew,
    ReportFinished,
    Sign,
    Uploaded,
)
from reelsplit_server.work.targets import Delivery, reports_of, segment_of

ResultT = TypeVar("ResultT")
_PROMPT = 1.0
"""How long a unit that has ended waits for its clearing up, in seconds; it goes on by itself."""
_MOST_PARTS = 100
"""How many parts are signed for one asking: workers ask for fewer."""
_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(slots=True, kw_only=True)
class _Post:
    """One file on its way to its place."""

    delivery: Delivery
    place: Place
    report: ReportKind | None
    """None is the segment."""
    ours: bool = False
    """Whether what lies there is what an earlier attempt published."""
    replace: bool = False
    """Whether what lies there may be replaced, be it that it is the job's own."""
    checksum: str = ""
    """Once the file is finished."""
    size: int = 0
    upload: Upload | None = None
    appeared: bool = False
    """Whether it lies at its place as a file; uploads know that themselves."""
    keeping: asyncio.Future[None] | None = None
    """That it lies there is being kept: what is kept is not taken back."""


class Desk:
    """Serves one unit. A refusal is a `StorageError`; a worker that asks for what it cannot have
    gets a `ValueError`."""

    def __init__(self, desks: Desks, unit: Unit, on_report: OnReport) -> None:
        self._desks = desks
        self._stores = desks.stores
        self._unit = unit
        self._on_report = on_report
        self._source: Place | None = None
        self._posts: dict[ReportKind | None, _Post] = {}
        self._post: _Post | None = None
        """The one that was finished last."""
        self._segment: Segment | None = None
        self._busy: asyncio.Future[Any] | None = None
        self.finishing = False
        """Whether something is appearing at its place right now."""
        self.given_up = False
        """Whether the unit was stopped, so that nothing of it may appear any more."""
        self.published: Published | None = None
        """The end of a unit that makes a segment, once that lies at its place."""

    async def open(self) -> SourceGrant:
        """Look at source and targets, before a worker begins."""
        unit = self._unit
        self._source = self._stores.resolve(unit.source.uri or "", unit.source.endpoint, "read")
        if isinstance(unit, Render):
            await self._aim(None, segment_of(unit), self._source)
        if isinstance(unit, Analyse):
            for kind, delivery in reports_of(unit).items():
                await self._aim(kind, delivery, self._source)
        return await self._grant()

    async def _aim(self, kind: ReportKind | None, delivery: Delivery, source: Place) -> None:
        place = self._stores.resolve(delivery.uri, delivery.endpoint, "write")
        await self._desks.cleared(place)
        post = self._posts[kind] = _Post(delivery=delivery, place=place, report=kind)

        def check() -> bool:
            if delivery.intent is not None:
                # An attempt came so far that it may have left an upload, if it ended badly enough.
                self._desks.abort_abandoned(place)
            return self._stores.check_target(
                source, place, replace=delivery.replace, intent=delivery.intent
            )

        post.ours = await self._call(place, check)
        # What lies there from an attempt whose end the server did not see is replaced.
        post.replace = post.ours or delivery.replace

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
            case ReportFinished():
                return await self._report_finished(ask)
            case Sign(parts=parts):
                return Signed(requests=await self._signed(parts))
            case Uploaded(etags=etags):
                return await self._uploaded(etags)

    async def close(self) -> None:
        """The worker is gone: clear up what it left in the store. Returns soon; what a store
        holds up goes on by itself."""
        post = self._post
        if post is None:
            # A thread that looks at a target still holds that, and leaves nothing there.
            post = next(reversed(self._posts.values()), None)
        if post is None or self.published is not None:
            return
        if self._busy is not None or post.upload is not None or post.appeared:
            task = self._desks.clear(post.place, functools.partial(self._clear, post))
            await asyncio.wait([task], timeout=_PROMPT)

    async def _clear(self, post: _Post) -> None:
        if self._busy is not None:
            # A thread that was given up goes on; only when it has ended it is known what it did.
            await asyncio.wait([self._busy])
        if post.keeping is not None:
            await asyncio.wait([post.keeping])
            if not post.keeping.cancelled() and post.keeping.exception() is None:
                return
        if post.upload is not None:
            store, upload = self._uploading(post)
            work = functools.partial(store.abort, upload)
            await self._desks.quietly("upload_not_aborted", post.place, work)
        if post.appeared:
            # Nothing lists it.
            take = functools.partial(self._stores.remove, post.place, post.checksum)
            await self._desks.quietly("output_not_taken_back", post.place, take)

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
        post = self._posts.get(None)
        if post is None or self._segment is not None:
            raise ValueError("a segment is finished once, and by its own unit")
        self._segment = _checked(dataclasses.replace(segment, uri=post.delivery.uri))
        self._post, post.checksum = post, segment.checksum
        # Kept before anything can be seen, so that a crash between the two is understood.
        await self._on_report(Publishing(checksum=segment.checksum))
        return await self._send(post)

    async def _report_finished(self, ask: ReportFinished) -> Answer | None:
        post = self._posts.get(ask.report)
        if post is None or post.checksum:
            raise ValueError("a report is finished once, and by its own unit")
        if not _CHECKSUM.fullmatch(ask.checksum) or not 0 <= ask.size_bytes < 2**63:
            raise ValueError("the report has no checksum or size")
        self._post, post.checksum, post.size = post, ask.checksum, ask.size_bytes
        if post.ours and post.checksum == post.delivery.intent:
            # An earlier attempt has published the same bytes.
            return await self._keep(post)
        await self._on_report(PublishingReport(report=ask.report, checksum=ask.checksum))
        return await self._send(post)

    async def _send(self, post: _Post) -> Answer | None:
        if self.given_up:
            return None
        scratch, target = post.delivery.scratch, post.place
        if isinstance(target, ObjectPlace):

            def begin() -> Upload:
                # Kept by the thread itself: nobody else may be there any more to keep it.
                post.upload = self._stores.begin(
                    scratch, target, post.checksum, replace=post.replace
                )
                return post.upload

            return (await self._call(target, begin)).grant
        assert isinstance(target, FilePlace)

        def place() -> None:
            self._stores.place_file(scratch, target, replace=post.replace)
            post.appeared = True

        return await self._finish(post, place)

    async def _signed(self, parts: Sequence[Part]) -> Sequence[Request]:
        store, upload = self._uploading(self._post)
        if not isinstance(upload.grant, PartsUpload) or len(parts) > _MOST_PARTS:
            raise ValueError(f"this upload has no {len(parts)} parts to be signed together")
        assert self._post is not None
        return await self._call(self._post.place, functools.partial(store.sign, upload, parts))

    async def _uploaded(self, etags: Sequence[str]) -> Answer:
        post = self._post
        store, upload = self._uploading(post)
        assert post is not None

        def finish() -> None:
            # Were ours taken back afterwards, the job that lists these bytes would miss them.
            checksum = upload.target.checksum
            upload.stays = post.delivery.replace and self._stores.holds(post.place, checksum)
            store.finish(upload, etags)

        return await self._finish(post, finish)

    async def _finish(self, post: _Post, work: Callable[[], None]) -> Answer:
        self.finishing = True
        try:
            await self._call(post.place, work)
            if post.report is not None:
                return await self._keep(post)
        finally:
            self.finishing = False
        assert self._segment is not None
        self.published = Published(segment=self._segment)
        return Placed()

    async def _keep(self, post: _Post) -> Answer:
        """Have it kept that a report lies at its place."""
        assert post.report is not None
        report = Report(
            kind=post.report,
            uri=post.delivery.uri,
            size_bytes=post.size,
            checksum=post.checksum,
        )
        post.keeping = asyncio.ensure_future(self._on_report(PublishedReport(report=report)))
        # Looked at, since nobody else does when the unit is stopped.
        post.keeping.add_done_callback(lambda kept: kept.cancelled() or kept.exception())
        await asyncio.shield(post.keeping)
        # Now it is the job's, whatever becomes of the unit.
        self._post, post.upload, post.appeared = None, None, False
        return Placed()

    def _uploading(self, post: _Post | None) -> tuple[ObjectStore, Upload]:
        if post is None or post.upload is None or not isinstance(post.place, ObjectPlace):
            raise ValueError("nothing is being uploaded")
        return self._stores.store_of(post.place), post.upload


def _checked(segment: Segment) -> Segment:
    """A segment that can be kept: what a worker tells may be anything."""
    if not _CHECKSUM.fullmatch(segment.checksum):
        raise ValueError("the segment has no checksum")
    cut = segment.cut
    counts = (segment.size_bytes, *((cut.copied_frames, cut.encoded_frames) if cut else ()))
    if not all(0 <= count < 2**63 for count in counts):
        raise ValueError("the segment has a size or frames that cannot be")
    try:
        to_message(segment).SerializeToString()
    except Exception as error:
        raise ValueError(f"the segment cannot be kept: {error}"[:200]) from error
    return segment
