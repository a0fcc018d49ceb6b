"""The scheduler: what is worked on next, what is tried again, and how jobs end."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from reelsplit import Error, JobState, JobStateChanged, Segment, SegmentChanged, SegmentState
from reelsplit_server.engine import seam
from reelsplit_server.jobs.failures import RemoveError
from reelsplit_server.jobs.records import JobRecord
from reelsplit_server.jobs.transitions import TransitionError
from tests.patience import PATIENCE
from tests.unit.jobs.engines import SOURCE, Gate, ScriptedEngine, ended, scheduling, until
from tests.unit.jobs.keeping import Kept, kept, pieces


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is tried at once."""
    monkeypatch.setattr("reelsplit_server.jobs.tries._MOST_DELAY", 0.01)


async def _states(keep: Kept, job_id: str) -> list[SegmentState]:
    return [segment.state for segment in (await keep.store.segments(job_id))[0]]


async def _history(keep: Kept, job_id: str) -> list[tuple[int, SegmentState]]:
    """The changes of segments in order; the sequence of all events has no gap."""
    events = [item.event for item in await keep.store.events(job_id, 0, 100_000)]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    return [
        (e.event.segment.index, e.event.segment.state)
        for e in events
        if isinstance(e.event, SegmentChanged) and e.event.segment is not None
    ]


async def _published_once(keep: Kept, job_id: str, count: int) -> None:
    history = Counter(await _history(keep, job_id))
    assert {i: history[i, SegmentState.PUBLISHED] for i in range(count)} == dict.fromkeys(
        range(count), 1
    )


# --- The whole job ---------------------------------------------------------------------------


async def test_a_job_goes_from_pending_to_success(keep: Kept) -> None:
    engine = ScriptedEngine(segments=pieces(5))
    async with scheduling(keep, engine) as scheduler:
        job = await keep.add()
        scheduler.add(job)
        record = await ended(keep, job.job_id)
    assert (record.state, record.percent, record.published_count) == (JobState.SUCCEEDED, 100.0, 5)
    await _published_once(keep, job.job_id, 5)
    events = [item.event.event for item in await keep.store.events(job.job_id, 0, 100)]
    states = [event.state for event in events if isinstance(event, JobStateChanged)]
    assert states == [JobState.PENDING, JobState.RUNNING, JobState.SUCCEEDED]
    assert keep.log.last_progress(job.job_id) is None


async def test_a_job_without_output_ends_with_its_segments_planned(keep: Kept) -> None:
    engine = ScriptedEngine()
    async with scheduling(keep, engine) as scheduler:
        job = await keep.add(output=None)
        scheduler.add(job)
        assert (await ended(keep, job.job_id)).state is JobState.SUCCEEDED
    assert await _states(keep, job.job_id) == [SegmentState.PLANNED] * 2
    assert engine.begun == [(job.job_id, "analyse")]


async def test_segments_are_made_while_the_analysis_goes_on(keep: Kept) -> None:
    engine, made = ScriptedEngine(), asyncio.Event()

    async def script(unit: seam.Unit, on_report: seam.OnReport) -> seam.Outcome:
        if isinstance(unit, seam.Analyse):
            await on_report(seam.Planned(segments=pieces(1)))
            await made.wait()
            await on_report(seam.Planned(segments=pieces(1, first=1)))
            return seam.PlanDone(source=SOURCE)
        outcome = await engine.well(unit, on_report)
        made.set()
        return outcome

    engine.script = script
    async with scheduling(keep, engine) as scheduler:
        job = await keep.add()
        scheduler.add(job)
        assert (await ended(keep, job.job_id)).state is JobState.SUCCEEDED
    assert await _states(keep, job.job_id) == [SegmentState.PUBLISHED] * 2


async def test_a_source_that_fails_fails_the_job_with_its_reason(keep: Kept) -> None:
    engine = ScriptedEngine()
    error = Error(reason="SOURCE_NOT_FOUND", message="There is nothing.")

    async def script(_unit: seam.Unit, _on_report: seam.OnReport) -> seam.Outcome:
        return seam.Failed(error=error, transient=False)

    engine.script = script
    async with scheduling(keep, engine) as scheduler:
        job = await keep.add()
        scheduler.add(job)
        record = await ended(keep, job.job_id)
    assert (record.state, record.error) == (JobState.FAILED, error)
    assert len(engine.begun) == 1


async def test_an_engine_with_a_fault_fails_the_job_and_goes_on(keep: Kept) -> None:
    engine = ScriptedEngine()

    async def script(_unit: seam.Unit, _on_report: seam.OnReport) -> seam.Outcome:
        raise RuntimeError("a fault that nobody expected")

    engine.script = script
    async with scheduling(keep, engine) as scheduler:
        job = await keep.add()
        scheduler.add(job)
        record = await ended(keep, job.job_id)
        assert record.error is not None
        assert (record.state, record.error.reason) == (JobState.FAILED, "INTERNAL")
        assert "nobody expected" not in record.error.message
        engine.script = engine.well
        other = await keep.add()
        scheduler.add(other)
        assert (await ended(keep, other.job_id)).state is JobState.SUCCEEDED


# --- Choosing --------------------------------------------------------------------------------


async def _order(keep: Kept, engine: ScriptedEngine, jobs: list[tuple[str, int]]) -> list[str]:
    """Submit jobs (principal, priority) while the engine is busy; the order of their analyses."""
    gate = Gate(engine, "analyse")
    async with scheduling(keep, engine) as scheduler:
        plug = await keep.add(principal="plug", output=None)
        scheduler.add(plug)
        await asyncio.wait_for(gate.reached.wait(), PATIENCE)
        ids = []
        for principal, priority in jobs:
            job = await keep.add(principal=principal, priority=priority)
            keep.clock.now = keep.clock.now.replace(microsecond=len(ids) + 1)
            scheduler.add(job)
            ids.append(job.job_id)
        gate.open.set()
        for job_id in ids:
            await ended(keep, job_id)
    names = dict(zip(ids, "abcdefghijklmnopqrstuvwxyz", strict=False))
    return [names[job] for job, label in engine.begun if label == "analyse" and job in names]


async def test_higher_priority_goes_first_and_age_decides_among_equals(keep: Kept) -> None:
    jobs = [("me", 0), ("me", 5), ("me", -5), ("me", 5), ("me", 100)]
    assert await _order(keep, ScriptedEngine(slots=1), jobs) == ["e", "b", "d", "a", "c"]


async def test_one_caller_with_many_jobs_does_not_keep_another_waiting(keep: Kept) -> None:
    jobs = [("many", 0)] * 8 + [("few", 0)]
    order = await _order(keep, ScriptedEngine(slots=1), jobs)
    assert order.index("i") <= 2


async def test_two_slots_are_shared_between_two_callers(keep: Kept) -> None:
    engine = ScriptedEngine(slots=2, segments=pieces(6))
    async with scheduling(keep, engine) as scheduler:
        gate = Gate(engine, "render")
        many = [await keep.add(principal="many") for _ in range(2)]
        for job in many:
            scheduler.add(job)
        await asyncio.wait_for(gate.reached.wait(), PATIENCE)
        few = await keep.add(principal="few")
        scheduler.add(few)
        gate.open.set()
        for job in [few, *many]:
            await ended(keep, job.job_id)
    last = {job_id: place for place, (job_id, _) in enumerate(engine.begun)}
    assert last[few.job_id] < max(last[job.job_id] for job in many)


async def test_jobs_wait_as_pending_until_there_is_room_to_begin_them(keep: Kept) -> None:
    engine = ScriptedEngine(slots=2, segments=pieces(4))
    async with scheduling(keep, engine) as scheduler:
        gate = Gate(engine, "render")
        jobs = [await keep.add() for _ in range(12)]
        for job in jobs:
            scheduler.add(job)
        await asyncio.wait_for(gate.reached.wait(), PATIENCE)
        await asyncio.sleep(0.2)
        records = [await keep.store.get(None, job.job_id) for job in jobs]
        running = [record for record in records if record.state is JobState.RUNNING]
        assert len(running) <= 2 * engine.slots
        gate.open.set()
        for job in jobs:
            assert (await ended(keep, job.job_id)).state is JobState.SUCCEEDED
    assert engine.most <= engine.slots


async def _running(
    keep: Kept, monkeypatch: pytest.MonkeyPatch, count: int, **bounds: int
) -> list[str]:
    """The principals of the jobs that run of twelve, four of each caller, where the units of all
    have to be tried again much later; so many are waited for."""
    monkeypatch.setattr("reelsplit_server.jobs.tries._MOST_DELAY", 60.0)

    async def script(unit: seam.Unit, on_report: seam.OnReport) -> seam.Outcome:
        error = Error(reason="SOURCE_UNAVAILABLE", message="Not now.")
        return seam.Failed(error=error, transient=True)

    engine = ScriptedEngine(slots=2)
    engine.script = script
    async with scheduling(keep, engine, tries=99, **bounds) as scheduler:
        jobs = [await keep.add(principal=f"p{n % 3}") for n in range(12)]
        for job in jobs:
            scheduler.add(job)

        async def running() -> list[JobRecord]:
            records = [await keep.store.get(None, job.job_id) for job in jobs]
            return [record for record in records if record.state is JobState.RUNNING]

        async with asyncio.timeout(PATIENCE):
            while len(await running()) < count:
                await asyncio.sleep(0.02)
        # In which one too many would begin.
        await asyncio.sleep(0.2)
        begun = await running()
        # Room is given to others when they end.
        for record in begun:
            await scheduler.cancel(record)
        async with asyncio.timeout(PATIENCE):
            while len(await keep.store.unfinished()) < count:
                await asyncio.sleep(0.02)
    return sorted(record.principal for record in begun)


async def test_only_so_many_jobs_run_at_once(keep: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await _running(keep, monkeypatch, 5, most_running=5) == ["p0", "p0", "p1", "p1", "p2"]


async def test_only_so_many_jobs_of_one_caller_run_at_once(
    keep: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await _running(keep, monkeypatch, 3, most_running_of_one=1) == ["p0", "p1", "p2"]


async def test_a_lone_job_may_use_all_slots_and_all_cores(keep: Kept) -> None:
    engine, threads = ScriptedEngine(slots=4, segments=pieces(8)), set[tuple[str, int]]()
    all_used = asyncio.Event()

    async def script(unit: seam.Unit, on_report: seam.OnReport) -> seam.Outcome:
        threads.add((unit.label.split()[0], unit.threads))
        if unit.label.startswith("render"):
            if engine.most == 4:
                all_used.set()
            # However long each takes to begin.
            await asyncio.wait_for(all_used.wait(), PATIENCE)
        return await engine.well(unit, on_report)

    engine.script = script
    async with scheduling(keep, engine) as scheduler:
        job = await keep.add()
        scheduler.add(job)
        await ended(keep, job.job_id)
    assert engine.most == 4
    assert ("analyse", 4) in threads
    assert ("render", 1) in threads


# --- Trying again ----------------------------------------------------------------------------


async def test_what_may_pass_another_time_is_tried_again(keep: Kept) -> None:
    engine, tries = ScriptedEngine(), Counter[str]()

    async def script(unit: seam.Unit, on_report: seam.OnReport) -> seam.Outcome:
        tries[unit.label] += 1
        if tries[unit.label] < 3:
            error = Error(reason="SOURCE_UNAVAILABLE", message="Not now.")
            return seam.Failed(error=error, transient=True)
        return await engine.well(unit, on_report)

    engine.script = script
    async with scheduling(keep, engine) as scheduler:
        job = await keep.add()
        scheduler.add(job)
        assert (await ended(keep, job.job_id)).state is JobState.SUCCEEDED
    assert tries == {"analyse": 3, "render 0": 3, "render 1": 3}
    await _published_once(keep, job.job_id, 2)


async def test_an_analysis_that_is_repeated_plans_nothing_twice(keep: Kept) -> None:
    engine, died = ScriptedEngine(segments=pieces(4)), []

    async def script(unit: seam.Unit, on_report: seam.OnReport) -> seam.Outcome:
        if isinstance(unit, seam.Analyse) and not died:
            died.append(unit)
            await on_report(seam.Planned(segments=pieces(2)))
            raise seam.WorkerDiedError("killed")
        return await engine.well(unit, on_report)

    engine.script = script
    async with scheduling(keep, engine) as scheduler:
        job = await keep.add()
        scheduler.add(job)
        assert (await ended(keep, job.job_id)).state is JobState.SUCCEEDED
    await _published_once(keep, job.job_id, 4)
    assert len([label for _, label in engine.begun if label.startswith("render")]) == 4


@pytest.mark.parametrize("label", ["analyse", "render 1"])
async def test_a_unit_that_kills_its_workers_is_given_up(keep: Kept, label: str) -> None:
    engine = ScriptedEngine(segments=pieces(3))

    async def script(unit: seam.Unit, on_report: seam.OnReport) -> seam.Outcome:
        if unit.label == label:
            raise seam.WorkerDiedError("killed")
        return await engine.well(unit, on_report)

    engine.script = script
    async with scheduling(keep, engine, tries=3) as scheduler:
        job = await keep.add()
        scheduler.add(job)
        record = await ended(keep, job.job_id)
    assert record.state is JobState.FAILED
    assert engine.begun.count((job.job_id, label)) == 3
    error = record.error
    if label != "analyse":
        assert error is not None
        assert (error.reason, error.metadata["indexes"]) == ("SEGMENTS_FAILED", "1")
        assert (error.metadata["failed"], error.metadata["total"]) == ("1", "3")
        error = (await keep.store.segment(job.job_id, 1))[0].error
        assert record.published_count == 2
    assert error is not None
    assert (error.reason, error.metadata) == ("WORKER_DIED", {"tries": "3"})


async def test_what_cannot_pass_is_tried_once(keep: Kept) -> None:
    engine = ScriptedEngine(segments=pieces(3))

    async def script(unit: seam.Unit, on_report: seam.OnReport) -> seam.Outcome:
        if unit.label == "render 1":
            error = Error(reason="OUTPUT_EXISTS", message="It is there.")
            return seam.Failed(error=error, transient=False)
        return await engine.well(unit, on_report)

    engine.script = script
    async with scheduling(keep, engine) as scheduler:
        job = await keep.add()
        scheduler.add(job)
        record = await ended(keep, job.job_id)
    assert engine.begun.count((job.job_id, "render 1")) == 1
    assert record.error is not None
    assert record.error.reason == "SEGMENTS_FAILED"
    assert await _states(keep, job.job_id) == [
        SegmentState.PUBLISHED,
        SegmentState.FAILED,
        SegmentState.PUBLISHED,
    ]


# --- Failing fast, timeouts, cancelling ------------------------------------------------------


async def test_fail_fast_stops_at_the_first_segment_that_fails(keep: Kept) -> None:
    engine, held = ScriptedEngine(slots=2, segments=pieces(6)), asyncio.Event()

    async def script(unit: seam.Unit, on_report: seam.OnReport) -> seam.Outcome:
        if unit.label == "render 1":
            await held.wait()
            error = Error(reason="ENCODER_REFUSED", message="No.")
            return seam.Failed(error=error, transient=False)
        if unit.label == "render 0":
            held.set()
            await asyncio.Event().wait()
        return await engine.well(unit, on_report)

    engine.script = script
    async with scheduling(keep, engine) as scheduler:
        job = await keep.add(fail_fast=True)
        scheduler.add(job)
        record = await ended(keep, job.job_id)
    assert record.state is JobState.FAILED
    assert record.failed_count == 6
    segments, _ = await keep.store.segments(job.job_id)
    reasons = [segment.error.reason for segment in segments if segment.error]
    assert reasons == ["SKIPPED_AFTER_FAILURE", "ENCODER_REFUSED"] + ["SKIPPED_AFTER_FAILURE"] * 4
    assert segments[0].error is not None
    assert segments[0].error.metadata == {"segment_index": "1"}


async def test_fail_fast_also_heeds_what_the_plan_refuses(keep: Kept) -> None:
    engine = ScriptedEngine(segments=pieces(3, wrong=[2]))
    Gate(engine, "render")
    async with scheduling(keep, engine) as scheduler:
        job = await keep.add(fail_fast=True)
        scheduler.add(job)
        record = await ended(keep, job.job_id)
    assert (record.state, record.failed_count) == (JobState.FAILED, 3)


async def test_without_fail_fast_what_the_plan_refuses_stops_no_other(keep: Kept) -> None:
    engine = ScriptedEngine(segments=pieces(3, wrong=[0]))
    async with scheduling(keep, engine) as scheduler:
        job = await keep.add()
        scheduler.add(job)
        record = await ended(keep, job.job_id)
    assert (record.state, record.failed_count) == (JobState.FAILED, 1)
    assert record.published_count == 2


async def test_cancelling_puts_segments_back_and_ends_cancelled(keep: Kept) -> None:
    engine = ScriptedEngine(slots=2, segments=pieces(4))
    gate = Gate(engine, "render")
    async with scheduling(keep, engine) as scheduler:
        job = await keep.add()
        scheduler.add(job)
        await asyncio.wait_for(gate.reached.wait(), PATIENCE)
        record = await scheduler.cancel(await keep.store.get(None, job.job_id))
        assert engine.running == 0
    assert record.state is JobState.CANCELLED
    assert record.expire_time is not None
    assert await _states(keep, job.job_id) == [SegmentState.PLANNED] * 4
    events = [item.event.event for item in await keep.store.events(job.job_id, 0, 100)]
    states = [event.state for event in events if isinstance(event, JobStateChanged)]
    assert states[-2:] == [JobState.CANCELLING, JobState.CANCELLED]


async def test_a_waiting_job_is_cancelled_at_once(keep: Kept) -> None:
    engine = ScriptedEngine(slots=1)
    gate = Gate(engine, "analyse")
    async with scheduling(keep, engine) as scheduler:
        busy, waiting = await keep.add(), await keep.add()
        scheduler.add(busy)
        await asyncio.wait_for(gate.reached.wait(), PATIENCE)
        scheduler.add(waiting)
        assert (await scheduler.cancel(waiting)).state is JobState.CANCELLED
        gate.open.set()
        await ended(keep, busy.job_id)
    assert (waiting.job_id, "analyse") not in engine.begun


async def test_a_segment_that_is_being_published_when_its_job_is_cancelled_is_listed(
    keep: Kept,
) -> None:
    engine = ScriptedEngine(slots=1, segments=pieces(2))
    publishing, finish = asyncio.Event(), asyncio.Event()

    async def script(unit: seam.Unit, on_report: seam.OnReport) -> seam.Outcome:
        if isinstance(unit, seam.Render):
            await on_report(seam.Publishing(checksum="sha256:" + "1" * 64))
            publishing.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                # It appears just then, and the engine says so.
                await finish.wait()
            return seam.Published(segment=unit.segment)
        return await engine.well(unit, on_report)

    engine.script = script
    async with scheduling(keep, engine) as scheduler:
        job = await keep.add()
        scheduler.add(job)
        await asyncio.wait_for(publishing.wait(), PATIENCE)
        record = await keep.store.get(None, job.job_id)
        cancelling = asyncio.create_task(scheduler.cancel(record))
        await until(keep, job.job_id, lambda r: r.state is JobState.CANCELLING)
        finish.set()
        assert (await cancelling).state is JobState.CANCELLED
    assert await _states(keep, job.job_id) == [SegmentState.PUBLISHED, SegmentState.PLANNED]


@pytest.fixture
def keeping(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Holds the first attempt at segment 0 after it is published: that it does, and that it may
    go on."""
    reached, go_on = threading.Event(), threading.Event()
    remove = shutil.rmtree

    def rmtree(path: Path, **options: Any) -> None:
        if path.name == "0-1":
            reached.set()
            assert go_on.wait(PATIENCE)
        remove(path, **options)

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    yield reached, go_on
    go_on.set()


async def test_a_segment_is_listed_that_was_published_just_before_its_job_was_cancelled(
    keep: Kept, keeping: tuple[threading.Event, threading.Event]
) -> None:
    reached, go_on = keeping
    engine = ScriptedEngine(slots=1, segments=pieces(1))
    async with scheduling(keep, engine) as scheduler:
        job = await keep.add()
        scheduler.add(job)
        assert await asyncio.to_thread(reached.wait, PATIENCE)
        record = await keep.store.get(None, job.job_id)
        cancelling = asyncio.create_task(scheduler.cancel(record))
        await until(keep, job.job_id, lambda r: r.state is JobState.CANCELLING)
        go_on.set()
        assert (await cancelling).state is JobState.CANCELLED
    assert await _states(keep, job.job_id) == [SegmentState.PUBLISHED]


async def test_the_next_unit_begins_before_all_of_a_published_one_is_kept(
    keep: Kept, keeping: tuple[threading.Event, threading.Event]
) -> None:
    reached, go_on = keeping
    engine = ScriptedEngine(slots=1, segments=pieces(2))
    async with scheduling(keep, engine) as scheduler:
        job = await keep.add()
        scheduler.add(job)
        assert await asyncio.to_thread(reached.wait, PATIENCE)
        await until(keep, job.job_id, lambda r: r.published_count == 1)
        assert await _states(keep, job.job_id) == [SegmentState.RUNNING, SegmentState.PUBLISHED]
        go_on.set()
        assert (await ended(keep, job.job_id)).state is JobState.SUCCEEDED
    assert engine.most == 1


async def test_a_segment_that_begins_while_its_job_is_stopped_does_not_stay_running(
    keep: Kept,
) -> None:
    """The write that begins it is not taken back by a caller that goes away."""
    engine = ScriptedEngine(slots=2, segments=pieces(3))
    first, second = asyncio.Event(), asyncio.Event()
    go, blocked = threading.Event(), list[asyncio.Task[bool]]()

    async def script(unit: seam.Unit, on_report: seam.OnReport) -> seam.Outcome:
        if unit.label == "render 0":
            first.set()
            await asyncio.Event().wait()
        if unit.label == "render 1":
            await first.wait()
            second.set()
        return await engine.well(unit, on_report)

    def hold_the_writer_up() -> None:
        if second.is_set() and not blocked:
            blocked.append(asyncio.create_task(keep.database.write(lambda _: go.wait(PATIENCE))))
            # The third segment's beginning waits behind it when the job's time is over.
            asyncio.get_running_loop().call_later(2.5, go.set)

    engine.script, engine.on_choosing = script, hold_the_writer_up
    async with scheduling(keep, engine) as scheduler:
        keep.clock.now = datetime.now(UTC)
        job = await keep.add(timeout=2)
        scheduler.add(job)
        assert (await ended(keep, job.job_id)).state is JobState.FAILED
    assert blocked
    states = await _states(keep, job.job_id)
    assert states == [SegmentState.PLANNED, SegmentState.PUBLISHED, SegmentState.PLANNED]


async def test_a_job_that_takes_too_long_fails(keep: Kept) -> None:
    engine = ScriptedEngine()
    Gate(engine, "render 1")
    async with scheduling(keep, engine) as scheduler:
        keep.clock.now = datetime.now(UTC)
        job = await keep.add(timeout=0.3)
        scheduler.add(job)
        record = await ended(keep, job.job_id)
    assert record.error is not None
    assert (record.state, record.error.reason) == (JobState.FAILED, "DEADLINE_EXCEEDED")
    assert SegmentState.RUNNING not in await _states(keep, job.job_id)


async def test_a_segment_that_takes_too_long_fails_alone(keep: Kept) -> None:
    engine = ScriptedEngine(segments=pieces(3))
    Gate(engine, "render 1")
    async with scheduling(keep, engine) as scheduler:
        job = await keep.add(segment_timeout=2)
        scheduler.add(job)
        record = await ended(keep, job.job_id)
    assert (record.published_count, record.failed_count) == (2, 1)
    error = (await keep.store.segment(job.job_id, 1))[0].error
    assert error is not None
    assert error.reason == "DEADLINE_EXCEEDED"
    # Once more, since the machine may have been busy.
    assert engine.begun.count((job.job_id, "render 1")) == 2


# --- Restarts --------------------------------------------------------------------------------


async def test_after_a_stop_in_the_middle_the_job_goes_on_and_nothing_is_done_twice(
    tmp_path: Path,
) -> None:
    engine = ScriptedEngine(slots=1, segments=pieces(4))
    gate = Gate(engine, "render 2")
    async with kept(tmp_path) as keep:
        async with scheduling(keep, engine) as scheduler:
            job, waiting = await keep.add(), await keep.add()
            scheduler.add(job)
            await asyncio.wait_for(gate.reached.wait(), PATIENCE)
            scheduler.add(waiting)
        published = SegmentState.PUBLISHED
        planned = SegmentState.PLANNED
        assert await _states(keep, job.job_id) == [published, published, planned, planned]
        assert (await keep.store.get(None, job.job_id)).state is JobState.RUNNING
        percent = (await keep.store.get(None, job.job_id)).percent
        assert percent > 0
    again = ScriptedEngine(slots=1, segments=pieces(4))
    async with kept(tmp_path) as keep, scheduling(keep, again):
        assert (await ended(keep, job.job_id)).state is JobState.SUCCEEDED
        assert (await ended(keep, waiting.job_id)).state is JobState.SUCCEEDED
        await _published_once(keep, job.job_id, 4)
        history = await _history(keep, job.job_id)
    assert again.begun[:2] == [(job.job_id, "render 2"), (job.job_id, "render 3")]
    assert history.count((2, SegmentState.PLANNED)) == 2


async def test_a_killed_server_puts_running_segments_back(tmp_path: Path) -> None:
    async with kept(tmp_path) as keep:
        job = await keep.add()
        await keep.store.change_job(job.job_id, JobState.RUNNING)
        await keep.store.plan(job.job_id, pieces(2))
        segment, _ = await keep.store.segment(job.job_id, 1)
        await keep.store.change_segment(segment, SegmentState.RUNNING)
    engine = ScriptedEngine()
    async with kept(tmp_path) as keep, scheduling(keep, engine):
        assert (await ended(keep, job.job_id)).state is JobState.SUCCEEDED
        await _published_once(keep, job.job_id, 2)
        assert (await keep.store.segment(job.job_id, 1))[0].attempt == 2


async def test_a_job_that_was_being_cancelled_ends_cancelled_after_a_restart(
    tmp_path: Path,
) -> None:
    async with kept(tmp_path) as keep:
        job = await keep.add()
        await keep.store.change_job(job.job_id, JobState.RUNNING)
        await keep.store.plan(job.job_id, pieces(1))
        segment, _ = await keep.store.segment(job.job_id, 0)
        await keep.store.change_segment(segment, SegmentState.RUNNING)
        await keep.store.change_job(job.job_id, JobState.CANCELLING)
    engine = ScriptedEngine()
    async with kept(tmp_path) as keep, scheduling(keep, engine):
        assert (await ended(keep, job.job_id)).state is JobState.CANCELLED
        assert await _states(keep, job.job_id) == [SegmentState.PLANNED]
    assert engine.begun == []


async def test_fail_fast_holds_over_a_restart(tmp_path: Path) -> None:
    async with kept(tmp_path) as keep:
        job = await keep.add(fail_fast=True)
        await keep.store.change_job(job.job_id, JobState.RUNNING)
        await keep.store.plan(job.job_id, pieces(3, wrong=[1]))
        await keep.store.plan_complete(job.job_id, SOURCE, ())
    engine = ScriptedEngine()
    Gate(engine, "render")
    async with kept(tmp_path) as keep, scheduling(keep, engine):
        assert (await ended(keep, job.job_id)).state is JobState.FAILED
        assert await _states(keep, job.job_id) == [SegmentState.FAILED] * 3


async def test_what_an_earlier_attempt_was_about_to_publish_is_handed_on(tmp_path: Path) -> None:
    async with kept(tmp_path) as keep:
        job = await keep.add()
        await keep.store.change_job(job.job_id, JobState.RUNNING)
        await keep.store.plan(job.job_id, pieces(1))
        segment, _ = await keep.store.segment(job.job_id, 0)
        await keep.store.change_segment(segment, SegmentState.RUNNING)
        await keep.store.intend(job.job_id, 0, "sha256:mine")
    engine, intents = ScriptedEngine(segments=pieces(1)), []

    async def script(unit: seam.Unit, on_report: seam.OnReport) -> seam.Outcome:
        if isinstance(unit, seam.Render):
            intents.append(unit.intent)
        return await engine.well(unit, on_report)

    engine.script = script
    async with kept(tmp_path) as keep, scheduling(keep, engine):
        await ended(keep, job.job_id)
    assert intents == ["sha256:mine"]


async def test_stopping_lets_units_end_within_the_grace(tmp_path: Path) -> None:
    engine = ScriptedEngine(slots=1, segments=pieces(2))
    gate = Gate(engine, "render 0")
    async with kept(tmp_path) as keep:
        async with scheduling(keep, engine, grace=60) as scheduler:
            job = await keep.add()
            scheduler.add(job)
            await asyncio.wait_for(gate.reached.wait(), PATIENCE)
            asyncio.get_running_loop().call_later(0.1, gate.open.set)
        states = await _states(keep, job.job_id)
        assert states == [SegmentState.PUBLISHED, SegmentState.PLANNED]


# --- Retries and removal ---------------------------------------------------------------------


async def test_a_retried_job_makes_only_what_failed(keep: Kept) -> None:
    engine, broken = ScriptedEngine(segments=pieces(3)), [True]

    async def script(unit: seam.Unit, on_report: seam.OnReport) -> seam.Outcome:
        if unit.label == "render 1" and broken:
            error = Error(reason="DISK_FULL", message="No space.")
            return seam.Failed(error=error, transient=False)
        return await engine.well(unit, on_report)

    engine.script = script
    async with scheduling(keep, engine) as scheduler:
        job = await keep.add()
        scheduler.add(job)
        assert (await ended(keep, job.job_id)).state is JobState.FAILED
        broken.clear()
        scheduler.add(await keep.store.retry(job.job_id, "again"))
        record = await ended(keep, job.job_id)
    assert (record.state, record.attempt) == (JobState.SUCCEEDED, 2)
    await _published_once(keep, job.job_id, 3)
    assert [label for _, label in engine.begun].count("analyse") == 1


async def test_a_job_is_cancelled_while_a_segment_waits_to_be_tried_again(
    keep: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reelsplit_server.jobs.tries._MOST_DELAY", 1.0)
    engine = ScriptedEngine(segments=pieces(2))

    async def script(unit: seam.Unit, on_report: seam.OnReport) -> seam.Outcome:
        if unit.label == "render 1":
            raise seam.WorkerDiedError("killed")
        return await engine.well(unit, on_report)

    engine.script = script
    async with scheduling(keep, engine) as scheduler:
        job = await keep.add()
        scheduler.add(job)
        record = await until(keep, job.job_id, lambda record: record.published_count == 1)
        async with asyncio.timeout(PATIENCE):
            while not any(active.again for active in scheduler._jobs.values()):
                await asyncio.sleep(0.01)
        ended_so = await scheduler.cancel(record)
        assert ended_so.state is JobState.CANCELLED
        begun = len(engine.begun)
        # When it would have been tried again.
        await asyncio.sleep(1.5)
    assert len(engine.begun) == begun
    assert await _states(keep, job.job_id) == [SegmentState.PUBLISHED, SegmentState.PLANNED]
    with pytest.raises(TransitionError):
        await scheduler.cancel(record)


async def test_outputs_are_removed_by_the_engine(keep: Kept) -> None:
    engine = ScriptedEngine()
    segments = [Segment(index=n, uri=f"/v/{n}", checksum="sha256:") for n in range(2)]
    async with scheduling(keep, engine) as scheduler:
        await keep.add()
        outputs = [(segment, None) for segment in segments]
        assert await scheduler.remove(outputs) == 2

        def refuse(targets: Sequence[seam.Target]) -> int:
            assert [target.uri for target in targets] == ["/v/0", "/v/1"]
            raise RemoveError(Error(reason="OUTPUT_FORBIDDEN", message="No."))

        engine.on_removing = refuse
        with pytest.raises(RemoveError):
            await scheduler.remove(outputs)


async def test_a_source_that_changed_ends_the_job(keep: Kept) -> None:
    engine = ScriptedEngine(slots=1, segments=pieces(3))
    gone = Error(reason="SOURCE_CHANGED", message="Changed.")

    async def script(unit: seam.Unit, on_report: seam.OnReport) -> seam.Outcome:
        if unit.label == "render 1":
            return seam.Failed(error=gone, transient=False)
        return await engine.well(unit, on_report)

    engine.script = script
    async with scheduling(keep, engine) as scheduler:
        job = await keep.add()
        scheduler.add(job)
        record = await ended(keep, job.job_id)
    assert (record.state, record.error) == (JobState.FAILED, gone)
    assert engine.published == [(job.job_id, 0)]


async def test_all_units_of_a_job_get_the_state_of_the_source_that_was_seen_first(
    tmp_path: Path,
) -> None:
    engine, pins = ScriptedEngine(segments=pieces(2)), []

    async def script(unit: seam.Unit, on_report: seam.OnReport) -> seam.Outcome:
        pins.append((unit.label, unit.pin))
        return await engine.well(unit, on_report)

    engine.script = script
    async with kept(tmp_path) as keep:
        job = await keep.add()
        await keep.store.change_job(job.job_id, JobState.RUNNING)
        await keep.store.source_opened(job.job_id, SOURCE, "first")
    async with kept(tmp_path) as keep, scheduling(keep, engine):
        await ended(keep, job.job_id)
    assert pins == [("analyse", "first"), ("render 0", "first"), ("render 1", "first")]


@pytest.mark.parametrize("cancelling", [False, True])
async def test_what_a_server_that_is_gone_left_is_cleared_up_at_start(
    tmp_path: Path, cancelling: bool
) -> None:
    async with kept(tmp_path) as keep:
        job = await keep.add()
        await keep.store.change_job(job.job_id, JobState.RUNNING)
        await keep.store.plan(job.job_id, pieces(2))
        segment, _ = await keep.store.segment(job.job_id, 1)
        await keep.store.change_segment(segment, SegmentState.RUNNING)
        await keep.store.intend(job.job_id, 1, "sha256:mine")
        if cancelling:
            await keep.store.change_job(job.job_id, JobState.CANCELLING)
    engine = ScriptedEngine(segments=pieces(2))
    async with kept(tmp_path) as keep, scheduling(keep, engine):
        await ended(keep, job.job_id)
    assert engine.abandoned == [(job.job_id, 1, "sha256:mine")]


async def test_a_worker_plans_no_more_segments_than_it_may(keep: Kept) -> None:
    engine, told = ScriptedEngine(), list[Exception]()

    async def script(unit: seam.Unit, on_report: seam.OnReport) -> seam.Outcome:
        assert isinstance(unit, seam.Analyse)
        try:
            await on_report(seam.Planned(segments=pieces(1, first=unit.most_segments)))
        except ValueError as error:
            # What an engine takes for a worker that does not do as told.
            told.append(error)
        raise seam.WorkerDiedError("thrown out")

    engine.script = script
    async with scheduling(keep, engine, tries=1) as scheduler:
        job = await keep.add()
        scheduler.add(job)
        record = await ended(keep, job.job_id)
    assert told
    assert record.segment_count == 0
