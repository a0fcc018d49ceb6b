"""Workers that hang, take too much or crash: noticed, ended, replaced, and told by name."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from reelsplit_server.engine.local import LocalEngine
from reelsplit_server.engine.seam import (
    End,
    Failed,
    Outcome,
    Progress,
    Published,
    Render,
    Report,
    WorkerDiedError,
)
from reelsplit_server.engine.vitals import WorkerLimits
from reelsplit_server.work import entry
from tests.patience import PATIENCE
from tests.server import alive, workers_of
from tests.stores import local_stores
from tests.unit.engine import hostile
from tests.unit.engine.units import render_of

SILENCE = 3.0
"""Long enough for a worker that works, on a busy machine."""


@asynccontextmanager
async def _engine(tmp_path: Path, **limits: Any) -> AsyncIterator[LocalEngine]:
    made = LocalEngine(1, tmp_path, local_stores(tmp_path), WorkerLimits(**limits))
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


@pytest.fixture
def unit(tmp_path: Path) -> Render:
    return render_of(tmp_path, f"{tmp_path}/out/{{index}}.mp4")


@pytest.fixture
def workers() -> Callable[[], set[int]]:
    """The workers that a test has started itself."""
    others = set(workers_of(os.getpid()))
    return lambda: set(workers_of(os.getpid())) - others


async def _hear(_report: Report) -> None: ...


async def _run(engine: LocalEngine, unit: Render) -> Outcome:
    return await asyncio.wait_for(engine.run(unit, _hear, timeout=None), PATIENCE)


def _let_be(engine: LocalEngine) -> None:
    """From now on workers may be silent: one that works is, where others keep it from its core."""
    engine._vitals._limits = WorkerLimits()


async def _gone(pids: set[int]) -> None:
    async with asyncio.timeout(PATIENCE):
        while any(alive(pid) for pid in pids):
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "how",
    [
        hostile.stands_still,
        hostile.stands_still_before_it_begins,
        hostile.turns_in_circles,
    ],
)
async def test_a_worker_that_hangs_is_ended_and_another_takes_its_place(
    tmp_path: Path,
    unit: Render,
    workers: Callable[[], set[int]],
    monkeypatch: pytest.MonkeyPatch,
    how: Callable[..., None],
) -> None:
    async with _engine(tmp_path, silence=SILENCE) as engine:
        before = workers()
        monkeypatch.setattr(entry, "execute", how)
        with pytest.raises(WorkerDiedError, match="no sign of life for 3 s") as caught:
            await _run(engine, unit)
        assert (caught.value.end, caught.value.limit) == (End.STALLED, SILENCE)
        monkeypatch.undo()
        _let_be(engine)
        assert isinstance(await _run(engine, unit), Published)
        await _gone(before)
        assert len(workers()) == 1


async def test_a_worker_that_is_stopped_while_it_is_idle_holds_nothing_up(
    tmp_path: Path, unit: Render, workers: Callable[[], set[int]]
) -> None:
    """It does not even notice that it is given something."""
    async with _engine(tmp_path, silence=SILENCE) as engine:
        (worker,) = workers()
        os.kill(worker, signal.SIGSTOP)
        with pytest.raises(WorkerDiedError) as caught:
            await _run(engine, unit)
        assert caught.value.end is End.STALLED
        _let_be(engine)
        assert isinstance(await _run(engine, unit), Published)
        await _gone({worker})


@pytest.mark.parametrize("how", [hostile.reads_and_reads, hostile.beats])
async def test_what_takes_long_and_moves_is_let_be(
    tmp_path: Path, unit: Render, monkeypatch: pytest.MonkeyPatch, how: Callable[..., None]
) -> None:
    async with _engine(tmp_path, silence=SILENCE) as engine:
        monkeypatch.setattr(entry, "execute", how)
        outcome = await _run(engine, unit)
    assert isinstance(outcome, Failed)
    assert outcome.error.message == "done"


async def test_a_worker_that_waits_for_the_server_does_not_hang(
    tmp_path: Path, unit: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database may take long."""

    async def slow(report: Report) -> None:
        if isinstance(report, Progress):
            await asyncio.sleep(1.5 * SILENCE)

    async with _engine(tmp_path, silence=SILENCE) as engine:
        monkeypatch.setattr(entry, "execute", hostile.tells_something_and_waits)
        outcome = await asyncio.wait_for(engine.run(unit, slow, timeout=None), PATIENCE)
    assert isinstance(outcome, Failed)


async def test_a_worker_that_takes_too_much_memory_is_ended(
    tmp_path: Path,
    unit: Render,
    workers: Callable[[], set[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    most = 700 * 2**20
    async with _engine(tmp_path, memory=most) as engine:
        before = workers()
        monkeypatch.setattr(entry, "execute", hostile.eats_memory)
        with pytest.raises(WorkerDiedError, match="bytes of memory") as caught:
            await _run(engine, unit)
        assert (caught.value.end, caught.value.limit) == (End.OUT_OF_MEMORY, most)
        monkeypatch.undo()
        assert isinstance(await _run(engine, unit), Published)
        await _gone(before)


async def test_what_killed_a_worker_is_told(
    tmp_path: Path, unit: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with _engine(tmp_path) as engine:
        monkeypatch.setattr(entry, "execute", hostile.crashes)
        with pytest.raises(WorkerDiedError, match="killed by SIGSEGV") as caught:
            await _run(engine, unit)
        assert (caught.value.end, caught.value.signal) == (End.DIED, "SIGSEGV")
        monkeypatch.undo()
        assert isinstance(await _run(engine, unit), Published)


async def test_a_file_has_a_largest_size(
    tmp_path: Path, unit: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with _engine(tmp_path, file_size=2**22) as engine:
        monkeypatch.setattr(entry, "execute", hostile.writes_without_end)
        outcome = await _run(engine, unit)
    assert isinstance(outcome, Failed)
    assert outcome.error.reason == "EFBIG"
    assert (unit.folder / "large").stat().st_size <= 2**22


async def test_a_segment_that_would_be_too_large_is_refused_by_name(
    tmp_path: Path, unit: Render
) -> None:
    async with _engine(tmp_path, file_size=2**10) as engine:
        outcome = await _run(engine, unit)
    assert isinstance(outcome, Failed)
    assert (outcome.error.reason, outcome.error.metadata["limit"]) == ("OUTPUT_TOO_LARGE", "1024")
    assert not outcome.transient
    assert not (tmp_path / "out").exists()


async def test_workers_leave_no_core_and_are_the_first_to_go(
    tmp_path: Path, unit: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with _engine(tmp_path) as engine:
        monkeypatch.setattr(entry, "execute", hostile.tells_its_limits)
        outcome = await _run(engine, unit)
    assert isinstance(outcome, Failed)
    told = outcome.error.message
    assert re.search(r"Max core file size +0 +0 ", told)
    assert re.search(r"Max open files +1024 +1024 ", told)
    assert told.endswith("500\n")


async def test_a_worker_is_replaced_before_what_it_leaks_adds_up(
    tmp_path: Path,
    unit: Render,
    workers: Callable[[], set[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("reelsplit_server.engine.processes._MOST_DONE", 2)
    async with _engine(tmp_path) as engine:
        monkeypatch.setattr(entry, "execute", hostile.tells_something_and_waits)
        seen = []
        for _ in range(4):
            await _run(engine, unit)
            await asyncio.wait(engine._releasing)
            seen.append(workers())
        assert seen[0] != seen[1] == seen[2] != seen[3]
        assert all(len(each) == 1 for each in seen)
