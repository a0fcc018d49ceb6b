"""Processes that cannot be started: that costs tries, and never the place of a worker."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from pebble import ProcessPool

from reelsplit_server.engine.local import LocalEngine
from reelsplit_server.engine.seam import Failed, Outcome, Render, Report, WorkerDiedError
from reelsplit_server.work import entry
from reelsplit_server.work.process import WorkerProcess
from tests.patience import PATIENCE
from tests.server import alive, workers_of
from tests.stores import local_stores
from tests.unit.engine import hostile
from tests.unit.engine.units import render_of


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[LocalEngine]:
    made = LocalEngine(1, tmp_path, local_stores(tmp_path))
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Render:
    """A unit that a worker ends at once."""
    monkeypatch.setattr(entry, "execute", hostile.tells_something_and_waits)
    return render_of(tmp_path, f"{tmp_path}/out/{{index}}.mp4")


async def _hear(_report: Report) -> None: ...


async def _run(engine: LocalEngine, unit: Render) -> Outcome:
    async with asyncio.timeout(PATIENCE):
        outcome = await engine.run(unit, _hear, timeout=None)
        while engine._releasing:
            await asyncio.wait(engine._releasing)
    # Nobody is left who could say anything, and nobody is looked at.
    assert engine._runs == {}
    assert engine._vitals._watched == set()
    return outcome


def _fail(monkeypatch: pytest.MonkeyPatch, times: int) -> Callable[[], int]:
    """The system has no process for a while; answers how often it will say so."""
    left, start = [times], WorkerProcess.start

    def refuse(process: WorkerProcess) -> None:
        if left[0]:
            left[0] -= 1
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        start(process)

    monkeypatch.setattr(WorkerProcess, "start", refuse)
    return lambda: left[0]


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_a_replacement_that_cannot_be_started_is_started_later(
    engine: LocalEngine, unit: Render, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    monkeypatch.setattr("reelsplit_server.engine.processes._MOST_DONE", 1)
    left = _fail(monkeypatch, times)
    assert isinstance(await _run(engine, unit), Failed)
    assert left() == times - 1
    for _ in range(times - 1):
        with pytest.raises(WorkerDiedError, match="no process could be started"):
            await _run(engine, unit)
    assert isinstance(await _run(engine, unit), Failed)
    assert left() == 0


async def test_one_that_died_while_it_was_idle_is_replaced_later(
    engine: LocalEngine, unit: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pool,) = engine._processes._pools
    (worker,) = pool._pool_manager.worker_manager.workers
    loops = _loops()
    os.kill(worker, signal.SIGKILL)
    async with asyncio.timeout(PATIENCE):
        while pool.active:
            await asyncio.sleep(0.01)
    _fail(monkeypatch, 1)
    with pytest.raises(WorkerDiedError, match="no process could be started"):
        await _run(engine, unit)
    assert isinstance(await _run(engine, unit), Failed)
    # Nothing is left of the pool that broke.
    assert len(engine._processes._pools) == 1
    assert _loops() == loops


def _loops() -> int:
    """The threads of all pools in this process."""
    return sum("_loop" in thread.name for thread in threading.enumerate())


async def test_one_that_breaks_when_it_is_given_something_is_replaced(
    engine: LocalEngine, unit: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = ProcessPool.schedule

    def broken(pool: ProcessPool, work: Any, *given: Any, **named: Any) -> Any:
        if work is not entry.ready:
            pool._context.status = pool._context.status.ERROR
        return schedule(pool, work, *given, **named)

    monkeypatch.setattr(ProcessPool, "schedule", broken)
    with pytest.raises(WorkerDiedError, match="before it began"):
        await _run(engine, unit)
    monkeypatch.setattr(ProcessPool, "schedule", schedule)
    assert isinstance(await _run(engine, unit), Failed)


async def test_processes_are_started_beside_the_loop(
    engine: LocalEngine, unit: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they are forked from may have died, and takes seconds to be made anew."""
    monkeypatch.setattr("reelsplit_server.engine.processes._MOST_DONE", 1)
    start, seen = WorkerProcess.start, []

    def watched(process: WorkerProcess) -> None:
        seen.append(threading.current_thread())
        start(process)

    monkeypatch.setattr(WorkerProcess, "start", watched)
    await _run(engine, unit)
    await _run(engine, unit)
    assert len(seen) == 2
    assert threading.main_thread() not in seen


async def test_what_is_being_started_when_the_engine_ends_does_not_outlive_it(
    tmp_path: Path, unit: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = set(workers_of(os.getpid()))
    engine = LocalEngine(1, tmp_path, local_stores(tmp_path))
    await engine.start()
    monkeypatch.setattr("reelsplit_server.engine.processes._MOST_DONE", 1)
    start, begun, go = WorkerProcess.start, threading.Event(), threading.Event()

    def slow(process: WorkerProcess) -> None:
        begun.set()
        assert go.wait(PATIENCE)
        start(process)

    monkeypatch.setattr(WorkerProcess, "start", slow)
    async with asyncio.timeout(PATIENCE):
        await engine.run(unit, _hear, timeout=None)
        await asyncio.to_thread(begun.wait)
        stopping = asyncio.create_task(engine.stop())
        await asyncio.sleep(0)
        go.set()
        await stopping
        while any(alive(pid) for pid in set(workers_of(os.getpid())) - others):
            await asyncio.sleep(0.01)
