"""Units that help an analysis: when they run, and that nothing hangs on them."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from reelsplit import JobState, shots
from reelsplit_server.engine import seam
from tests.patience import PATIENCE
from tests.unit.jobs.engines import SOURCE, ScriptedEngine, ended, scheduling, until
from tests.unit.jobs.keeping import Kept, pieces


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again, or had nothing to do, is begun again at once."""
    monkeypatch.setattr("reelsplit_server.jobs.tries._MOST_DELAY", 0.01)
    monkeypatch.setattr("reelsplit_server.jobs.units._PAUSE", 0.01)


class Helped:
    """An engine whose analyses share their work until they are told to end."""

    def __init__(self, engine: ScriptedEngine, *, helpers: int = 8) -> None:
        self.engine, self.helpers = engine, helpers
        self.finish = asyncio.Event()
        self.planned: list[int] = []
        """How many segments are told before the work is shared."""
        self.scanned: list[str] = []
        """The shares of the scans that ended, in order."""
        self.attempts = 0
        engine.script = self.run

    async def run(self, unit: seam.Unit, on_report: seam.OnReport) -> seam.Outcome:
        match unit:
            case seam.Analyse():
                return await self.analyse(unit, on_report)
            case seam.Scan():
                return await self.scan(unit)
            case _:
                return await self.engine.well(unit, on_report)

    async def analyse(self, unit: seam.Analyse, on_report: seam.OnReport) -> seam.Outcome:
        self.attempts += 1
        assert unit.helpers == self.engine._slots - 1
        await on_report(seam.Opened(source=SOURCE, pin="{}"))
        await on_report(seam.Sharing(share=f"share-{self.attempts}", helpers=self.helpers))
        await self.finish.wait()
        return seam.PlanDone(source=SOURCE)

    async def scan(self, unit: seam.Scan) -> seam.Outcome:
        await asyncio.sleep(0.01)
        self.scanned.append(unit.share)
        return seam.ScanDone(more=True, worked=True)

    async def scans(self, count: int) -> None:
        """Wait until so many scans have ended."""
        async with asyncio.timeout(PATIENCE):
            while len(self.scanned) < count:
                await asyncio.sleep(0.01)


async def test_idle_workers_help_until_the_plan_is_whole(keep: Kept) -> None:
    engine = ScriptedEngine(slots=3)
    helped = Helped(engine)
    async with scheduling(keep, engine) as scheduler:
        job = await keep.add(mode=shots(), output=None)
        scheduler.add(job)
        await helped.scans(10)
        # One for each slot but the lead's, whatever the lead asks for.
        assert engine.most == 3
        helped.finish.set()
        assert (await ended(keep, job.job_id)).state is JobState.SUCCEEDED
        count = len(helped.scanned)
        await asyncio.sleep(0.1)
    assert len(helped.scanned) == count
    assert engine.running == 0


async def test_without_other_slots_nobody_helps(keep: Kept) -> None:
    engine = ScriptedEngine(slots=1)
    helped = Helped(engine)
    async with scheduling(keep, engine) as scheduler:
        job = await keep.add(mode=shots(), output=None)
        scheduler.add(job)
        await until(keep, job.job_id, lambda record: record.source is not None)
        await asyncio.sleep(0.1)
        helped.finish.set()
        assert (await ended(keep, job.job_id)).state is JobState.SUCCEEDED
    assert [label for _, label in engine.begun] == ["analyse"]


async def test_helpers_and_segments_take_turns(keep: Kept) -> None:
    engine = ScriptedEngine(slots=2)
    helped = Helped(engine)
    told = asyncio.Event()

    async def analyse(unit: seam.Analyse, on_report: seam.OnReport) -> seam.Outcome:
        await on_report(seam.Opened(source=SOURCE, pin="{}"))
        await on_report(seam.Sharing(share="share", helpers=1))
        await told.wait()
        await on_report(seam.Planned(segments=pieces(4)))
        await helped.finish.wait()
        return seam.PlanDone(source=SOURCE)

    helped.analyse = analyse  # type: ignore[method-assign]
    async with scheduling(keep, engine) as scheduler:
        job = await keep.add(mode=shots())
        scheduler.add(job)
        await helped.scans(2)
        before = len(engine.begun)
        told.set()
        await until(keep, job.job_id, lambda record: record.published_count == 4)
        await helped.scans(len(helped.scanned) + 2)
        helped.finish.set()
        await ended(keep, job.job_id)
    after = [label.split()[0] for _, label in engine.begun[before:]]
    first = after.index("render")
    assert after[first : first + 4] == ["render"] * 4
    assert "scan" in after[first + 4 :]


async def test_another_callers_job_does_not_wait_for_helpers(keep: Kept) -> None:
    engine = ScriptedEngine(slots=2)
    helped = Helped(engine)
    async with scheduling(keep, engine) as scheduler:
        mine = await keep.add(mode=shots(), output=None)
        scheduler.add(mine)
        await helped.scans(2)
        other = await keep.add(principal="other", mode=shots(), output=None)
        before = len(engine.begun)
        scheduler.add(other)
        await until(keep, other.job_id, lambda record: record.source is not None)
        begun = engine.begun[before:]
        assert (other.job_id, "analyse") in begun[:2]
        helped.finish.set()
        for job in (mine, other):
            assert (await ended(keep, job.job_id)).state is JobState.SUCCEEDED


async def test_a_helper_that_dies_is_tried_again_and_then_done_without(keep: Kept) -> None:
    engine = ScriptedEngine(slots=2)
    helped = Helped(engine)
    tries = Counter[str]()

    async def scan(unit: seam.Scan) -> seam.Outcome:
        tries[unit.share] += 1
        raise seam.WorkerDiedError("killed")

    helped.scan = scan  # type: ignore[method-assign]
    async with scheduling(keep, engine, tries=3) as scheduler:
        job = await keep.add(mode=shots(), output=None)
        scheduler.add(job)
        async with asyncio.timeout(PATIENCE):
            while tries["share-1"] < 3:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert tries["share-1"] == 3
        helped.finish.set()
        assert (await ended(keep, job.job_id)).state is JobState.SUCCEEDED


async def test_one_death_now_and_then_costs_no_helper(keep: Kept) -> None:
    engine = ScriptedEngine(slots=2)
    helped = Helped(engine)
    begun = 0

    async def scan(unit: seam.Scan) -> seam.Outcome:
        nonlocal begun
        begun += 1
        if begun % 2:
            raise seam.WorkerDiedError("killed")
        helped.scanned.append(unit.share)
        return seam.ScanDone(more=True, worked=True)

    helped.scan = scan  # type: ignore[method-assign]
    async with scheduling(keep, engine, tries=2) as scheduler:
        job = await keep.add(mode=shots(), output=None)
        scheduler.add(job)
        await helped.scans(4)
        helped.finish.set()
        assert (await ended(keep, job.job_id)).state is JobState.SUCCEEDED


async def test_a_lead_that_dies_begins_anew_with_other_helpers(keep: Kept) -> None:
    engine = ScriptedEngine(slots=2)
    helped = Helped(engine)
    analyse = helped.analyse
    died = asyncio.Event()

    async def dying(unit: seam.Analyse, on_report: seam.OnReport) -> seam.Outcome:
        if helped.attempts:
            return await analyse(unit, on_report)
        helped.attempts = 1
        await on_report(seam.Opened(source=SOURCE, pin="{}"))
        await on_report(seam.Sharing(share="share-1", helpers=1))
        await helped.scans(2)
        died.set()
        raise seam.WorkerDiedError("killed")

    helped.analyse = dying  # type: ignore[method-assign]
    async with scheduling(keep, engine) as scheduler:
        job = await keep.add(mode=shots(), output=None)
        scheduler.add(job)
        await asyncio.wait_for(died.wait(), PATIENCE)
        async with asyncio.timeout(PATIENCE):
            while "share-2" not in helped.scanned:
                await asyncio.sleep(0.01)
        helped.finish.set()
        assert (await ended(keep, job.job_id)).state is JobState.SUCCEEDED
    # Whoever helped the first one does not come back once the second leads.
    assert "share-1" not in helped.scanned[helped.scanned.index("share-2") :]


async def test_a_cancelled_job_has_no_helpers(keep: Kept) -> None:
    engine = ScriptedEngine(slots=3)
    helped = Helped(engine)
    stopped = 0

    async def scan(unit: seam.Scan) -> seam.Outcome:
        nonlocal stopped
        helped.scanned.append(unit.share)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            stopped += 1
            raise
        raise AssertionError

    helped.scan = scan  # type: ignore[method-assign]
    async with scheduling(keep, engine) as scheduler:
        job = await keep.add(mode=shots(), output=None)
        scheduler.add(job)
        await helped.scans(2)
        record = await scheduler.cancel(await keep.store.get(None, job.job_id))
        assert record.state is JobState.CANCELLED
        assert (stopped, engine.running) == (2, 0)


async def test_a_helper_with_nothing_to_do_comes_back_later(keep: Kept) -> None:
    engine = ScriptedEngine(slots=2)
    helped = Helped(engine)

    async def scan(unit: seam.Scan) -> seam.Outcome:
        helped.scanned.append(unit.share)
        if len(helped.scanned) == 3:
            return seam.ScanDone(more=False, worked=True)
        return seam.ScanDone(more=True, worked=False)

    helped.scan = scan  # type: ignore[method-assign]
    async with scheduling(keep, engine) as scheduler:
        job = await keep.add(mode=shots(), output=None)
        scheduler.add(job)
        await helped.scans(3)
        await asyncio.sleep(0.1)
        assert len(helped.scanned) == 3
        helped.finish.set()
        assert (await ended(keep, job.job_id)).state is JobState.SUCCEEDED
