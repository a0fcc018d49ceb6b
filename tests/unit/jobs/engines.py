"""An engine that does units as a script says, and the scheduler around it."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from fractions import Fraction
from pathlib import Path

from reelsplit import Segment, SourceInfo
from reelsplit_server.engine import seam
from reelsplit_server.jobs.orders import Limits
from reelsplit_server.jobs.records import JobRecord
from reelsplit_server.jobs.scheduler import Scheduler
from tests.patience import PATIENCE
from tests.unit.jobs.keeping import Kept, pieces

Script = Callable[[seam.Unit, seam.OnReport], Awaitable[seam.Outcome]]
PIN = '{"size":1,"tag":"t"}'
SOURCE = SourceInfo(container="mp4", duration=Fraction(10))


class ScriptedEngine:
    """Runs ``script``, or does every unit at once and well."""

    def __init__(self, slots: int = 2, segments: Sequence[Segment] = ()) -> None:
        self._slots = slots
        self.on_choosing: Callable[[], None] = lambda: None
        """Called whenever the scheduler looks for a free slot."""
        self.segments = list(segments or pieces(2))
        self.script: Script = self.well
        self.begun: list[tuple[str, str]] = []
        """The job and label of each unit, in the order in which they were begun."""
        self.parties: dict[int, tuple[seam.Party, list[int]]] = {}
        """The segments that were begun together."""
        self.limits: list[float | None] = []
        """The time limit of each segment's unit."""
        self.published: list[tuple[str, int]] = []
        self.on_removing: Callable[[Sequence[seam.Target]], int] = len
        self.abandoned: list[tuple[str, int, str | None]] = []
        """Behind which segments it was cleared up, and what they were about to publish."""
        self.clearing: Callable[[], Awaitable[object]] = lambda: asyncio.sleep(0)
        """What clearing up takes."""
        self.left: list[seam.Unit] = []
        """The other units behind which it was cleared up."""
        self.running = 0
        self.most = 0

    @property
    def slots(self) -> int:
        self.on_choosing()
        return self._slots

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def run(
        self,
        unit: seam.Unit,
        on_report: seam.OnReport,
        *,
        timeout: float | None,
        party: seam.Party | None = None,
        place: int = 0,
    ) -> seam.Outcome:
        self.begun.append((unit.job_id, unit.label))
        if isinstance(unit, seam.Render) and party is not None:
            parties = self.parties.setdefault(id(party), (party, []))
            parties[1].append(unit.segment.index)
            self.limits.append(timeout)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            async with asyncio.timeout(timeout):
                return await self.script(unit, on_report)
        finally:
            self.running -= 1

    async def remove(self, targets: Sequence[seam.Target]) -> int:
        return self.on_removing(targets)

    def abandon(self, units: Sequence[seam.Unit]) -> Awaitable[object]:
        for unit in units:
            if isinstance(unit, seam.Render):
                self.abandoned.append((unit.job_id, unit.segment.index, unit.intent))
            else:
                self.left.append(unit)
        return asyncio.gather(self.clearing())

    async def well(self, unit: seam.Unit, on_report: seam.OnReport) -> seam.Outcome:
        """Do a unit as a worker does."""
        match unit:
            case seam.Analyse():
                await on_report(seam.Opened(source=SOURCE, pin=PIN))
                await on_report(seam.Planned(segments=self.segments))
                return seam.PlanDone(source=SOURCE)
            case seam.Render(segment=segment):
                await on_report(seam.Progress(fraction=0.5, frames=12))
                await on_report(seam.Publishing(checksum="sha256:" + "0" * 64))
                self.published.append((unit.job_id, segment.index))
                uri = f"/v/out/{segment.index}.mp4"
                return seam.Published(segment=dataclasses.replace(segment, uri=uri))


class Gate:
    """Holds units whose label is among ``labels`` until it is opened."""

    def __init__(self, engine: ScriptedEngine, *labels: str) -> None:
        self._engine, self._labels = engine, labels
        self.open = asyncio.Event()
        self.reached = asyncio.Event()
        engine.script = self.run

    async def run(self, unit: seam.Unit, on_report: seam.OnReport) -> seam.Outcome:
        if unit.label.startswith(self._labels):
            self.reached.set()
            await self.open.wait()
        return await self._engine.well(unit, on_report)


@asynccontextmanager
async def scheduling(
    keep: Kept, engine: ScriptedEngine, *, tries: int = 3, grace: float = 0, **bounds: int
) -> AsyncIterator[Scheduler]:
    """A scheduler at work, until the block ends; ``bounds`` are those of `Scheduler`."""
    limits = Limits(
        scratch=Path("/nonexistent"),
        cores=4,
        tries=tries,
        most_segments=1000,
        most_pixels=10**6,
        most_frames=10**6,
    )
    scheduler = Scheduler(keep.store, keep.log, engine, limits, **bounds)
    await scheduler.start()
    try:
        yield scheduler
    finally:
        await asyncio.wait_for(scheduler.stop(grace), PATIENCE)


async def until(keep: Kept, job_id: str, done: Callable[[JobRecord], bool]) -> JobRecord:
    """Wait until a job is as wanted."""
    follower = keep.log.follow_job(job_id)
    try:
        async with asyncio.timeout(PATIENCE):
            while not done(record := await keep.store.get(None, job_id)):
                await follower.woken(1)
            return record
    finally:
        keep.log.leave(follower)


async def ended(keep: Kept, job_id: str) -> JobRecord:
    return await until(keep, job_id, lambda record: record.ended)
