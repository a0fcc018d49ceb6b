"""Units that share a worker: each has its own end, whatever becomes of the others."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from reelsplit import CutMode, Output, Segment, TimeRange
from reelsplit_server.engine.local import LocalEngine
from reelsplit_server.engine.seam import (
    Failed,
    Outcome,
    Party,
    Published,
    Publishing,
    Render,
    Report,
    WorkerDiedError,
)
from tests.clips import make_clip, read_numbers
from tests.server import alive, workers_of
from tests.stores import local_stores
from tests.unit.engine.units import render_of

RATE = Fraction(24)
SOON = 60


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[LocalEngine]:
    before = set(workers_of(os.getpid()))
    made = LocalEngine(1, tmp_path, local_stores(tmp_path))
    await made.start()
    engine_workers[made] = next(iter(set(workers_of(os.getpid())) - before))
    yield made
    await made.stop()


engine_workers: dict[LocalEngine, int] = {}


@pytest.fixture
def units(tmp_path: Path) -> list[Render]:
    """Three neighbours of half a second."""
    one = render_of(tmp_path, f"{tmp_path}/{{index}}.mp4")
    clip = tmp_path / "clip.mp4"
    make_clip(clip, frames=48, gop=48)
    output = Output(uri_template=f"{tmp_path}/{{index}}.mp4", cut_mode=CutMode.ENCODE)
    return [
        replace(
            one,
            output=output,
            segment=Segment(
                index=index,
                requested=TimeRange(
                    start_offset=index * 12 / RATE, end_offset=(index + 1) * 12 / RATE
                ),
            ),
            scratch=tmp_path / "job" / f"scratch{index}",
        )
        for index in range(3)
    ]


async def ignore(_report: Report) -> None: ...


def begin(
    engine: LocalEngine, units: list[Render], hear: dict[int, object] | None = None
) -> list[asyncio.Task[Outcome]]:
    party = Party(len(units))
    return [
        asyncio.create_task(
            engine.run(
                unit,
                (hear or {}).get(place, ignore),  # type: ignore[arg-type]
                timeout=None,
                party=party,
                place=place,
            )
        )
        for place, unit in enumerate(units)
    ]


async def ends(tasks: list[asyncio.Task[Outcome]]) -> list[Outcome | BaseException]:
    async with asyncio.timeout(SOON):
        return await asyncio.gather(*tasks, return_exceptions=True)


async def test_all_are_published_one_after_the_other(
    engine: LocalEngine, units: list[Render], tmp_path: Path
) -> None:
    order: list[int] = []

    def note(place: int) -> object:
        async def hear(report: Report) -> None:
            if isinstance(report, Publishing):
                order.append(place)

        return hear

    outcomes = await ends(begin(engine, units, {place: note(place) for place in range(3)}))
    assert all(isinstance(outcome, Published) for outcome in outcomes)
    assert order == [0, 1, 2]
    for index in range(3):
        assert read_numbers(tmp_path / f"{index}.mp4") == list(range(index * 12, index * 12 + 12))


async def test_one_that_cannot_be_published_fails_alone(
    engine: LocalEngine, units: list[Render], tmp_path: Path
) -> None:
    first, second, third = begin(engine, units)
    # While the first is being made, somebody else takes the second's place.
    (tmp_path / "1.mp4").write_bytes(b"another's")
    outcomes = await ends([first, second, third])
    assert isinstance(outcomes[0], Published)
    assert isinstance(outcomes[1], Failed)
    assert outcomes[1].error.reason == "OUTPUT_EXISTS"
    assert isinstance(outcomes[2], Published)
    assert (tmp_path / "1.mp4").read_bytes() == b"another's"


async def test_one_that_does_not_come_is_not_waited_for(
    engine: LocalEngine, units: list[Render], tmp_path: Path
) -> None:
    units[1] = replace(units[1], output=Output(uri_template="/elsewhere/{index}.mp4"))
    outcomes = await ends(begin(engine, units))
    assert isinstance(outcomes[1], Failed)
    assert isinstance(outcomes[0], Published)
    assert isinstance(outcomes[2], Published)
    assert read_numbers(tmp_path / "2.mp4") == list(range(24, 36))


async def test_a_source_that_fails_them_together_fails_each(
    engine: LocalEngine, units: list[Render], tmp_path: Path
) -> None:
    """What cannot be made together is made alone, and says what is wrong."""
    beyond = TimeRange(start_offset=1, end_offset=30)
    units[2] = replace(units[2], segment=Segment(index=2, requested=beyond))
    gone = TimeRange(start_offset=40, end_offset=41)
    units.append(replace(units[2], segment=Segment(index=3, requested=gone)))
    outcomes = await ends(begin(engine, units))
    assert [type(outcome) for outcome in outcomes] == [Published] * 3 + [Failed]
    assert isinstance(outcomes[3], Failed)
    assert outcomes[3].error.reason == "RANGE_OUTSIDE_SOURCE"
    assert read_numbers(tmp_path / "2.mp4") == list(range(24, 48))


async def test_what_was_published_stays_when_the_worker_dies(
    engine: LocalEngine, units: list[Render], tmp_path: Path
) -> None:
    async def kill(report: Report) -> None:
        if isinstance(report, Publishing):
            os.kill(engine_workers[engine], signal.SIGKILL)
            while alive(engine_workers[engine]):
                await asyncio.sleep(0.02)

    outcomes = await ends(begin(engine, units, {1: kill}))
    assert isinstance(outcomes[0], Published)
    # Whole when it was announced, it needs its worker no more.
    assert isinstance(outcomes[1], Published)
    assert isinstance(outcomes[2], WorkerDiedError)
    assert not (tmp_path / "2.mp4").exists()
    assert [type(each) for each in await ends(begin(engine, units[2:]))] == [Published]


async def test_stopping_all_stops_the_worker_and_the_next_finds_one(
    engine: LocalEngine, units: list[Render], tmp_path: Path
) -> None:
    reached = asyncio.Event()

    async def hold(report: Report) -> None:
        if isinstance(report, Publishing):
            reached.set()
            await asyncio.sleep(SOON)

    tasks = begin(engine, units, {0: hold})
    async with asyncio.timeout(SOON):
        await reached.wait()
    for task in tasks:
        task.cancel()
    assert all(isinstance(each, asyncio.CancelledError) for each in await ends(tasks))
    assert not list(tmp_path.glob("[0-9].mp4"))
    again = await ends(begin(engine, units))
    assert all(isinstance(outcome, Published) for outcome in again)
