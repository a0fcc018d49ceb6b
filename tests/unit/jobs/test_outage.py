"""A database that cannot be written for a while: jobs wait, and lose nothing."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from reelsplit import JobState, SegmentChanged, SegmentState
from reelsplit_server.engine import seam
from reelsplit_server.jobs.database import StoreUnavailableError
from reelsplit_server.jobs.outage import Outage
from reelsplit_server.jobs.records import JobRecord
from tests.patience import PATIENCE
from tests.unit.jobs.engines import ScriptedEngine, ended, scheduling, until
from tests.unit.jobs.keeping import Kept, kept, pieces


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A locked database is given up soon, and tried again soon."""
    pragmas = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=50")
    monkeypatch.setattr("reelsplit_server.jobs.backend._PRAGMAS", pragmas)
    monkeypatch.setattr("reelsplit_server.jobs.patience._LONGEST", 0.3)
    monkeypatch.setattr("reelsplit_server.jobs.tries._MOST_DELAY", 0.01)
    monkeypatch.setattr("reelsplit_server.jobs.outage._EVERY", 0.05)


@pytest.fixture
async def keep(tmp_path: Path, impatient: None) -> object:
    async with kept(tmp_path) as made:
        yield made


class Lock:
    """Held by another process, as far as SQLite can tell."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)

    def take(self) -> None:
        self._connection.execute("PRAGMA busy_timeout=20000")
        self._connection.execute("BEGIN IMMEDIATE")

    def free(self) -> None:
        self._connection.execute("ROLLBACK")

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def lock(keep: Kept) -> Iterator[Lock]:
    with _lock(keep.path) as made:
        yield made


@contextmanager
def _lock(path: Path) -> Iterator[Lock]:
    made = Lock(path)
    try:
        yield made
    finally:
        made.close()


async def _refused(keep: Kept) -> None:
    with pytest.raises(StoreUnavailableError):
        await keep.add()


async def _once(keep: Kept, job_id: str, count: int) -> None:
    told = [item.event.event for item in await keep.store.events(job_id, 0, 1000)]
    published = Counter(
        event.segment.index
        for event in told
        if isinstance(event, SegmentChanged)
        and event.segment is not None
        and event.segment.state is SegmentState.PUBLISHED
    )
    assert published == Counter(range(count))
    sequences = await keep.sequences(job_id)
    assert sequences == list(range(1, len(sequences) + 1))


REPORTS = [seam.Opened, seam.Planned, seam.Progress, seam.Publishing, seam.Published]


@pytest.mark.parametrize("moment", REPORTS, ids=lambda report: report.__name__)
async def test_a_job_waits_until_the_database_can_be_written(
    keep: Kept, lock: Lock, moment: type[seam.Report]
) -> None:
    """Whatever it was about to keep; and nothing is done again for that."""
    engine, locked = ScriptedEngine(slots=1, segments=pieces(2)), asyncio.Event()

    async def script(unit: seam.Unit, on_report: seam.OnReport) -> seam.Outcome:
        async def hear(report: seam.Report) -> None:
            look(report)
            await on_report(report)

        def look(report: seam.Report) -> None:
            if isinstance(report, moment) and not locked.is_set():
                lock.take()
                locked.set()

        outcome = await engine.well(unit, hear)
        look(outcome)
        return outcome

    engine.script = script
    async with scheduling(keep, engine) as scheduler:
        job = await keep.add()
        scheduler.add(job)
        await asyncio.wait_for(locked.wait(), PATIENCE)
        await _refused(keep)
        await asyncio.sleep(1)
        assert not (await keep.store.get(None, job.job_id)).ended
        lock.free()
        assert (await ended(keep, job.job_id)).state is JobState.SUCCEEDED
    assert len(engine.begun) == len(set(engine.begun)) == 3
    await _once(keep, job.job_id, 2)


async def test_a_server_ends_while_its_database_is_locked_and_the_next_goes_on(
    tmp_path: Path,
) -> None:
    engine, made = ScriptedEngine(slots=1, segments=pieces(2)), asyncio.Event()
    async with kept(tmp_path) as keep:
        with _lock(keep.path) as lock:

            async def script(unit: seam.Unit, on_report: seam.OnReport) -> seam.Outcome:
                outcome = await engine.well(unit, on_report)
                if unit.label == "render 1":
                    lock.take()
                    made.set()
                return outcome

            engine.script = script
            async with scheduling(keep, engine) as scheduler:
                job = await keep.add()
                scheduler.add(job)
                await asyncio.wait_for(made.wait(), PATIENCE)
                await _refused(keep)
            states = [s.state for s in (await keep.store.segments(job.job_id))[0]]
            assert states == [SegmentState.PUBLISHED, SegmentState.RUNNING]
            lock.free()
    again = ScriptedEngine(segments=pieces(2))
    async with kept(tmp_path) as keep, scheduling(keep, again):
        assert (await ended(keep, job.job_id)).state is JobState.SUCCEEDED
        await _once(keep, job.job_id, 2)
    assert again.abandoned == [(job.job_id, 1, "sha256:" + "0" * 64)]
    assert again.begun == [(job.job_id, "render 1")]


@pytest.mark.parametrize("fails", [False, True])
async def test_a_cancel_that_cannot_be_kept_leaves_the_job_as_it_was(
    keep: Kept, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """It ends all the same, though its last unit did while that was tried."""
    engine, rendering, go = ScriptedEngine(segments=pieces(1)), asyncio.Event(), asyncio.Event()

    async def script(unit: seam.Unit, on_report: seam.OnReport) -> seam.Outcome:
        outcome = await engine.well(unit, on_report)
        if isinstance(unit, seam.Render):
            rendering.set()
            await go.wait()
            if fails:
                raise RuntimeError("a fault")
        return outcome

    change = keep.store.change_job

    async def refuse(job_id: str, state: JobState, **values: Any) -> JobRecord:
        if state is not JobState.CANCELLING:
            return await change(job_id, state, **values)
        go.set()
        async with asyncio.timeout(PATIENCE):
            while any(task.get_name() == "render" for task in asyncio.all_tasks()):
                await asyncio.sleep(0.01)
        raise StoreUnavailableError("locked")

    monkeypatch.setattr(keep.store, "change_job", refuse)
    engine.script = script
    async with scheduling(keep, engine) as scheduler:
        job = await keep.add()
        scheduler.add(job)
        await asyncio.wait_for(rendering.wait(), PATIENCE)
        record = await until(keep, job.job_id, lambda record: record.plan_complete)
        (unit,) = scheduler._work
        unit.set_name("render")
        with pytest.raises(StoreUnavailableError):
            await scheduler.cancel(record)
        record = await ended(keep, job.job_id)
    assert record.state is (JobState.FAILED if fails else JobState.SUCCEEDED)


async def test_a_job_that_fails_meanwhile_fails_when_that_can_be_kept(
    keep: Kept, lock: Lock
) -> None:
    engine, failed = ScriptedEngine(slots=1, segments=pieces(3)), asyncio.Event()

    async def script(unit: seam.Unit, on_report: seam.OnReport) -> seam.Outcome:
        if isinstance(unit, seam.Analyse):
            return await engine.well(unit, on_report)
        lock.take()
        failed.set()
        raise RuntimeError("a fault")

    engine.script = script
    async with scheduling(keep, engine) as scheduler:
        job = await keep.add(fail_fast=True)
        scheduler.add(job)
        await asyncio.wait_for(failed.wait(), PATIENCE)
        await _refused(keep)
        assert not (await keep.store.get(None, job.job_id)).ended
        lock.free()
        assert (await ended(keep, job.job_id)).state is JobState.FAILED


async def test_an_outage_is_told_once_and_so_is_its_end(keep: Kept, lock: Lock) -> None:
    told: asyncio.Queue[bool] = asyncio.Queue()
    outage = Outage(keep.database, told.put)
    outage.start()
    lock.take()
    await _refused(keep)
    assert await asyncio.wait_for(told.get(), PATIENCE) is False
    await asyncio.sleep(0.5)
    assert told.empty()
    lock.free()
    assert await asyncio.wait_for(told.get(), PATIENCE) is True
    await outage.stop()
    assert told.empty()
    await keep.add()


async def test_what_could_not_be_told_of_an_outage_is_told_again(keep: Kept, lock: Lock) -> None:
    told: asyncio.Queue[bool] = asyncio.Queue()
    faults = [False, True]

    async def hear(takes: bool) -> None:
        if takes in faults:
            faults.remove(takes)
            raise RuntimeError("a fault")
        await told.put(takes)

    outage = Outage(keep.database, hear)
    outage.start()
    lock.take()
    await _refused(keep)
    assert await asyncio.wait_for(told.get(), PATIENCE) is False
    lock.free()
    assert await asyncio.wait_for(told.get(), PATIENCE) is True
    await outage.stop()
    assert faults == []
