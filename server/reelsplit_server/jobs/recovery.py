"""What an earlier server left: put back, cleared up behind, and read again."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable
from typing import Any

from reelsplit.types.job import JobState
from reelsplit.types.segment import Segment, SegmentState
from reelsplit_server.engine import seam
from reelsplit_server.jobs.ending import Ending
from reelsplit_server.jobs.orders import Orders
from reelsplit_server.jobs.patience import Patience
from reelsplit_server.jobs.records import JobRecord
from reelsplit_server.jobs.store import Store

_CLEARING = 5.0
"""Seconds for which the end of a job waits that an earlier server was stopping, until it is cleared
up behind that."""


class Recovery:
    """Brings jobs to where they can go on, or end."""

    def __init__(
        self,
        store: Store,
        engine: seam.Engine,
        orders: Orders,
        ending: Ending,
        patience: Patience,
    ) -> None:
        self._store = store
        self._engine = engine
        self._orders = orders
        self._ending = ending
        self._patience = patience

    async def put_back(self, record: JobRecord) -> asyncio.Future[Any]:
        """Put back what an earlier server was making; answers what is done when nothing of that
        lies in the stores any more."""
        cleared: list[Awaitable[object]] = []
        if record.spec.reports is not None and not record.plan_complete:
            intents = await self._store.report_intents(record.job_id)
            # What is listed stays.
            listed = {report.checksum for report in record.reports}
            left = {kind: mark for kind, mark in intents.items() if mark not in listed}
            cleared.append(self._engine.abandon([self._orders.analysis(record, intents=left)]))
        for segment, intent in await self._store.left(record.job_id):
            unit = self._orders.unit(record, segment, intent=intent)
            cleared.append(self._engine.abandon([unit]))
            if segment.state is SegmentState.RUNNING:
                await self._store.change_segment(segment, SegmentState.PLANNED)
        return asyncio.gather(*cleared)

    async def cancelled(self, record: JobRecord, cleared: asyncio.Future[Any]) -> None:
        """End a job that an earlier server was stopping. Not before it is cleared up behind it:
        were this server killed in between, the next would look for nothing of a job that ended."""
        await asyncio.wait([cleared], timeout=_CLEARING)
        await self._ending.kept(record, JobState.CANCELLED)

    async def planned(self, record: JobRecord) -> list[Segment]:
        """The segments of a job that are to be made."""
        planned: list[Segment] = []
        while record.segment_count:
            after = planned[-1].index if planned else -1
            look = functools.partial(
                self._store.segments, record.job_id, states=[SegmentState.PLANNED], after=after
            )
            page, total = await self._patience.kept(look)
            planned += page
            if not page or len(planned) >= total:
                break
        return planned
