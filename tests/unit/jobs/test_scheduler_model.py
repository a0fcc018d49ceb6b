"""A scheduler over units that end in random ways, with jobs that are cancelled and servers that are
killed: what must hold in the end, whatever came in between."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from reelsplit import Error, JobState, SegmentChanged, SegmentState
from reelsplit_server.engine import seam
from reelsplit_server.jobs import tries
from reelsplit_server.jobs.records import JobRecord
from reelsplit_server.jobs.scheduler import Scheduler
from reelsplit_server.jobs.transitions import ENDED, TransitionError
from tests.unit.jobs.engines import PIN, SOURCE, ScriptedEngine, ended, scheduling
from tests.unit.jobs.keeping import Kept, kept, pieces

TRIES = 3
PRINCIPALS = ("red", "blue", "green")


class Weather:
    """What becomes of units, by chance."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.engine = ScriptedEngine(slots=dice.choice([1, 2, 3]))
        self.engine.script = self.run
        self.published: Counter[tuple[str, int]] = Counter()
        """How often a segment appeared at its place."""
        self.final: set[str] = set()
        """The jobs with a unit that failed for good."""
        self.dead = asyncio.Event()
        """Set when the server is killed: its workers do nothing any more."""

    async def run(self, unit: seam.Unit, on_report: seam.OnReport) -> seam.Outcome:
        await self._pause()
        match unit:
            case seam.Analyse():
                return await self._analyse(unit, on_report)
            case seam.Render(segment=segment):
                if (bad := await self._bad(unit, late=True)) is not None:
                    return bad
                await on_report(seam.Progress(fraction=0.5, frames=12))
                await on_report(seam.Publishing(checksum="sha256:" + "0" * 64))
                await self._alive()
                self.published[unit.job_id, segment.index] += 1
                return seam.Published(segment=dataclasses.replace(segment, uri="/v/out"))
        raise AssertionError(unit)

    async def _analyse(self, unit: seam.Analyse, on_report: seam.OnReport) -> seam.Outcome:
        count = int(unit.spec.labels["segments"])
        await on_report(seam.Opened(source=SOURCE, pin=PIN))
        for index in range(count):
            if (bad := await self._bad(unit, late=False)) is not None:
                return bad
            await on_report(seam.Planned(segments=pieces(1, first=index)))
        await self._pause()
        return seam.PlanDone(source=SOURCE)

    async def _bad(self, unit: seam.Unit, *, late: bool) -> seam.Outcome | None:
        await self._pause()
        match self.dice.choices(
            ["well", "transient", "final", "dies", "hangs"], [20, 2, 0.3, 2, 0.5 * late]
        ):
            case ["transient"]:
                return seam.Failed(error=Error(reason="SOURCE_UNAVAILABLE"), transient=True)
            case ["final"]:
                self.final.add(unit.job_id)
                return seam.Failed(error=Error(reason="SOURCE_DAMAGED"), transient=False)
            case ["dies"]:
                raise seam.WorkerDiedError("killed")
            case ["hangs"]:
                await asyncio.Event().wait()
        return None

    async def _pause(self) -> None:
        await asyncio.sleep(self.dice.choice([0, 0, 0.001, 0.005]))
        await self._alive()

    async def _alive(self) -> None:
        if self.dead.is_set():
            await asyncio.Event().wait()


async def _cancel_some(
    keep: Kept, scheduler: Scheduler, jobs: list[JobRecord], dice: random.Random
) -> set[str]:
    asked = set()
    for job in dice.sample(jobs, dice.randint(0, len(jobs) // 3)):
        await asyncio.sleep(dice.choice([0, 0.005, 0.03]))
        for _ in range(100):
            record = await keep.store.get(None, job.job_id)
            if record.ended:
                break
            try:
                await scheduler.cancel(record)
            except TransitionError:
                await asyncio.sleep(0.01)
            else:
                asked.add(job.job_id)
    return asked


async def _live(folder: Path, dice: random.Random) -> None:
    lives, jobs, cancelled = dice.randint(1, 3), list[JobRecord](), set[str]()
    published: Counter[tuple[str, int]] = Counter()
    for life in range(lives):
        async with kept(folder / str(life)) as keep:
            weather = Weather(dice)
            async with scheduling(keep, weather.engine, tries=TRIES) as scheduler:
                for _ in range(dice.randint(1, 4)):
                    record = await keep.add(
                        principal=dice.choice(PRINCIPALS),
                        priority=dice.choice([1, 5]),
                        segment_timeout=0.5,
                        fail_fast=dice.random() < 0.2,
                        labels={"segments": str(dice.randint(0, 5))},
                    )
                    scheduler.add(record)
                    jobs.append(record)
                cancelled |= await _cancel_some(keep, scheduler, jobs, dice)
                if life + 1 < lives:
                    # Killed: the next has what was committed by then, and no more.
                    await asyncio.sleep(dice.choice([0, 0.01, 0.05]))
                    weather.dead.set()
                    await keep.database.write(
                        lambda _, life=life: shutil.copytree(  # type: ignore[misc]
                            folder / str(life), folder / str(life + 1)
                        )
                    )
                else:
                    await asyncio.gather(*(ended(keep, job.job_id) for job in jobs))
            published += weather.published
            _tried_no_more_than_allowed(weather)
            if life + 1 == lives:
                # Of a server that was killed what failed for good need not have been kept.
                for job in jobs:
                    await _ended_right(keep, job.job_id, cancelled, weather.final)
                    await _published_once(keep, job.job_id, published, lives)


def _tried_no_more_than_allowed(weather: Weather) -> None:
    """By one server: the next begins to count anew."""
    for (job_id, label), count in Counter(weather.engine.begun).items():
        assert count <= TRIES, f"{label} of {job_id} was tried {count} times"


async def _ended_right(keep: Kept, job_id: str, cancelled: set[str], final: set[str]) -> None:
    record = await keep.store.get(None, job_id)
    segments, _ = await keep.store.segments(job_id)
    states = Counter(segment.state for segment in segments)
    assert record.state in ENDED
    assert not states[SegmentState.RUNNING]
    assert record.published_count == states[SegmentState.PUBLISHED]
    assert record.failed_count == states[SegmentState.FAILED]
    match record.state:
        case JobState.SUCCEEDED:
            assert record.plan_complete
            assert len(segments) == int(record.spec.labels["segments"])
            assert set(states) <= {SegmentState.PUBLISHED}
            assert job_id not in final
        case JobState.FAILED:
            assert record.error is not None
            assert states[SegmentState.FAILED] or not record.plan_complete
        case JobState.CANCELLED:
            assert job_id in cancelled
    assert record.percent == 100 or record.state is not JobState.SUCCEEDED


async def _published_once(
    keep: Kept, job_id: str, published: Counter[tuple[str, int]], lives: int
) -> None:
    told = Counter(
        item.event.event.segment.index
        for item in await keep.store.events(job_id, 0, 100_000)
        if isinstance(item.event.event, SegmentChanged)
        and item.event.event.segment is not None
        and item.event.event.segment.state is SegmentState.PUBLISHED
    )
    for index, count in told.items():
        assert count == 1, f"segment {index} was told to be published {count} times"
        # Once more for each server that was killed before it could keep that.
        assert 1 <= published[job_id, index] <= lives
    if lives == 1:
        unheard = [i for (j, i), _ in published.items() if j == job_id and i not in told]
        assert not unheard, f"segments {unheard} lie there, and nothing lists them"


@settings(max_examples=15, phases=[Phase.reuse, Phase.generate])
@given(seed=st.integers(0, 2**32))
def test_every_job_ends_right_whatever_becomes_of_its_units(
    empty: Path, tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("lives")
    shutil.copytree(empty, folder / "0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tries, "_MOST_DELAY", 0.01)
        asyncio.run(_live(folder, random.Random(seed)))
    shutil.rmtree(folder)


@settings(max_examples=6)
@given(lengths=st.lists(st.integers(1, 8), min_size=2, max_size=4))
def test_callers_take_turns_however_long_their_jobs_are(
    empty: Path, tmp_path_factory: pytest.TempPathFactory, lengths: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("turns")
    shutil.copytree(empty, folder / "0")

    async def work() -> list[str]:
        async with kept(folder / "0") as keep:
            engine = ScriptedEngine(slots=1)

            async def script(unit: seam.Unit, on_report: seam.OnReport) -> seam.Outcome:
                engine.segments = pieces(counts[unit.job_id])
                await asyncio.sleep(0.002)
                return await engine.well(unit, on_report)

            engine.script = script
            jobs = [await keep.add(principal=f"p{n}") for n in range(len(lengths))]
            counts = {job.job_id: length for job, length in zip(jobs, lengths, strict=True)}
            async with scheduling(keep, engine) as scheduler:
                for job in jobs:
                    scheduler.add(job)
                await asyncio.gather(*(ended(keep, job.job_id) for job in jobs))
            owners = {job.job_id: job.principal for job in jobs}
            return [owners[job_id] for job_id, _ in engine.begun]

    begun = asyncio.run(work())
    shutil.rmtree(folder)
    total = {f"p{n}": length + 1 for n, length in enumerate(lengths)}
    done: Counter[str] = Counter()
    for principal in begun:
        done[principal] += 1
        left = [done[name] for name, units_in_all in total.items() if done[name] < units_in_all]
        assert not left or done[principal] - min(left) <= 2, f"{principal} had too many: {begun}"
