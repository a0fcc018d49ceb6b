"""Workers that hostile media has taken over: they cost their own unit, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from reelsplit import Output, OverwritePolicy, TimeRange
from reelsplit_server.engine.local import LocalEngine
from reelsplit_server.engine.seam import (
    Account,
    Failed,
    Published,
    Render,
    Report,
    WorkerDiedError,
)
from reelsplit_server.work import entry
from tests.services import Service
from tests.unit.engine import hostile
from tests.unit.engine.stores import Bucket, stores_of
from tests.unit.engine.units import render_of


@pytest.fixture
async def engine(tmp_path: Path, seaweed: Service) -> AsyncIterator[LocalEngine]:
    folder = tmp_path / "data"
    folder.mkdir()
    made = LocalEngine(1, folder, stores_of(seaweed, tmp_path))
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def unit(tmp_path: Path) -> Render:
    return render_of(tmp_path, f"{tmp_path}/out/{{index}}.mp4")


async def _ignore(_report: Report) -> None: ...


async def _good(engine: LocalEngine, unit: Render, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine works as before, in the same slot."""
    monkeypatch.undo()
    outcome = await asyncio.wait_for(engine.run(unit, _ignore, timeout=None), 90)
    assert isinstance(outcome, Published), outcome


@pytest.mark.parametrize(
    "worker",
    [
        hostile.plans_in_place_of_a_segment,
        hostile.finishes_nothing,
        hostile.finishes_a_link,
        hostile.finishes_what_cannot_be_kept,
        hostile.finishes_without_a_checksum,
        hostile.finishes_with_less_than_nothing,
        hostile.finishes_with_frames_that_cannot_be,
        hostile.asks_out_of_turn,
        hostile.talks_without_end,
        hostile.hangs_up_and_lives_on,
        hostile.leaves_its_line_to_another,
    ],
)
async def test_a_worker_that_does_not_do_as_told_has_failed(
    engine: LocalEngine, unit: Render, worker: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entry, "execute", worker)
    with pytest.raises(WorkerDiedError):
        await asyncio.wait_for(engine.run(unit, _ignore, timeout=None), 90)
    target = unit.folder.parent / "out" / "0.mp4"
    assert not target.exists()
    assert not target.is_symlink()
    if unit.scratch.exists():
        for left in unit.scratch.iterdir():
            left.unlink()
    await _good(engine, unit, monkeypatch)


async def test_what_lies_there_stays_when_a_worker_claims_to_have_made_the_same(
    engine: LocalEngine, unit: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = unit.folder.parent / "out" / "0.mp4"
    target.parent.mkdir()
    target.touch()
    empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    monkeypatch.setattr(entry, "execute", hostile.finishes_nothing)
    segment = unit.segment.__class__(
        index=0, requested=TimeRange(start_offset=0, end_offset=1), checksum=empty
    )
    output = Output(
        uri_template=f"{unit.folder.parent}/out/{{index}}.mp4",
        overwrite_policy=OverwritePolicy.REPLACE,
    )
    lying = hostile.replace(unit, output=output, segment=segment)
    with pytest.raises(WorkerDiedError):
        await asyncio.wait_for(engine.run(lying, _ignore, timeout=None), 90)
    assert target.exists()


async def test_a_segment_is_published_once(
    engine: LocalEngine, unit: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entry, "execute", hostile.finishes_twice)
    outcome = await asyncio.wait_for(engine.run(unit, _ignore, timeout=None), 90)
    assert isinstance(outcome, Published)
    assert (unit.folder.parent / "out" / "0.mp4").read_bytes() == b"made up"


@pytest.mark.parametrize(
    "worker",
    [
        hostile.asks_for_a_million_parts,
        hostile.asks_for_a_part_that_cannot_be,
        hostile.tells_of_parts_that_are_not_there,
    ],
)
async def test_an_upload_that_goes_wrong_is_given_up(
    engine: LocalEngine,
    unit: Render,
    worker: object,
    seaweed: Service,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    bucket = Bucket(seaweed)
    key = f"{request.node.callspec.id}/0.mp4"
    output = Output(uri_template=f"s3://{bucket.name}/{key}")
    far = hostile.replace(unit, output=output)
    monkeypatch.setattr(entry, "execute", worker)
    if worker is hostile.tells_of_parts_that_are_not_there:
        outcome = await asyncio.wait_for(engine.run(far, _ignore, timeout=None), 90)
        assert isinstance(outcome, Failed)
        assert outcome.error.reason == "OUTPUT_UNAVAILABLE"
        assert len(outcome.error.message) <= 2000
    else:
        with pytest.raises(WorkerDiedError):
            await asyncio.wait_for(engine.run(far, _ignore, timeout=None), 90)
    assert bucket.uploads(key) == bucket.keys(key) == []
    await _good(engine, far, monkeypatch)
    assert bucket.keys(key) == [key]


async def test_a_unit_accounts_for_itself_once(
    engine: LocalEngine, unit: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Report] = []

    async def hear(report: Report) -> None:
        heard.append(report)

    monkeypatch.setattr(entry, "execute", hostile.accounts_without_end)
    outcome = await asyncio.wait_for(engine.run(unit, hear, timeout=None), 90)
    assert isinstance(outcome, Failed)
    assert [type(report) for report in heard] == [Failed, Account]


async def test_others_have_their_turn_while_a_worker_talks(
    engine: LocalEngine, unit: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns, most, heard = 0, 0, 0

    async def hear(_report: Report) -> None:
        nonlocal turns, most, heard
        heard += 1
        turns += 1
        most = max(most, turns)

    async def other() -> None:
        nonlocal turns
        while True:
            turns = 0
            await asyncio.sleep(0)

    monkeypatch.setattr(entry, "execute", hostile.talks_without_a_pause)
    task = asyncio.create_task(other())
    outcome = await asyncio.wait_for(engine.run(unit, hear, timeout=None), 200)
    task.cancel()
    assert isinstance(outcome, Failed)
    assert heard == 20_001
    assert most <= 3
