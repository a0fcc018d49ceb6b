"""The process pool: workers that die cost no more than their unit."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import multiprocessing.util
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from reelsplit import FixedInterval, Input, JobSpec, Output, Segment, TimeRange
from reelsplit_server.engine.local import LocalEngine
from reelsplit_server.engine.seam import (
    Account,
    Analyse,
    Failed,
    Opened,
    Outcome,
    PlanDone,
    Planned,
    Published,
    Publishing,
    RemoveError,
    Render,
    Report,
    Target,
    WorkerDiedError,
)
from reelsplit_server.work import entry
from tests.clips import make_clip
from tests.patience import PATIENCE
from tests.server import alive, workers_of
from tests.stores import local_stores
from tests.unit.engine import hostile

SECRET = "hunter2-of-the-environment"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    make_clip(path, frames=24)
    return path


@pytest.fixture
async def engine(
    others: None, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[LocalEngine]:
    monkeypatch.setenv("REELSPLIT_TOKENS", SECRET)
    made = LocalEngine(1, tmp_path, local_stores(clip.parent, tmp_path))
    await made.start()
    yield made
    await made.stop()


def _analyse(clip: Path) -> Analyse:
    return Analyse(
        job_id="0" * 32,
        spec=JobSpec(input=Input(uri=str(clip)), mode=FixedInterval(interval=1)),
        pin=None,
        folder=clip.parent / "none",
        threads=1,
        most_segments=100,
        most_pixels=10**7,
    )


async def _ignore(_report: Report) -> None: ...


async def _run(engine: LocalEngine, clip: Path) -> Outcome:
    return await asyncio.wait_for(engine.run(_analyse(clip), _ignore, timeout=60), 90)


_others: set[int] = set()


@pytest.fixture(autouse=True)
def others() -> None:
    """Other servers of this process, for other tests, have workers too."""
    _others.clear()
    _others.update(workers_of(os.getpid()))


def _workers() -> list[int]:
    return [pid for pid in workers_of(os.getpid()) if pid not in _others]


async def _until_gone(pid: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while alive(pid):
            await asyncio.sleep(0.05)


def _render(clip: Path, folder: Path) -> Render:
    """A unit that waits for our leave before it publishes."""
    return Render(
        job_id="0" * 32,
        source=Input(uri=str(clip)),
        output=Output(uri_template=f"{folder}/{{index}}.mp4"),
        segment=Segment(index=0, requested=TimeRange(start_offset=0, end_offset=1)),
        frame_rate=None,
        pin=None,
        folder=folder,
        threads=1,
        most_pixels=10**7,
        most_frames=10**6,
        scratch=folder / "scratch",
        intent=None,
    )


async def test_a_unit_tells_what_it_found_in_order(engine: LocalEngine, clip: Path) -> None:
    reports: list[Report] = []

    async def hear(report: Report) -> None:
        reports.append(report)

    outcome = await asyncio.wait_for(engine.run(_analyse(clip), hear, timeout=60), 90)
    assert isinstance(outcome, PlanDone)
    assert outcome.source.frame_count == 24
    kinds = [type(report) for report in reports]
    assert kinds[0] is Opened
    assert kinds[-2:] == [PlanDone, Account]
    assert Planned in kinds


async def test_a_unit_that_fails_says_why(engine: LocalEngine) -> None:
    outcome = await engine.run(_analyse(Path("/etc/passwd")), _ignore, timeout=60)
    assert isinstance(outcome, Failed)
    assert outcome.error.reason == "SOURCE_FORBIDDEN"
    assert not outcome.transient


async def test_outputs_are_removed_below_the_roots_only(
    engine: LocalEngine, tmp_path: Path
) -> None:
    inside, outside = tmp_path / "x", tmp_path.parent / f"{tmp_path.name}-outside"
    inside.touch()
    outside.touch()
    checksum = "sha256:" + hashlib.sha256().hexdigest()
    ours = Target(uri=str(inside), endpoint=None, checksum=checksum)
    assert await engine.remove([ours, ours]) == 1
    with pytest.raises(RemoveError, match="outside") as caught:
        await engine.remove([Target(uri=str(outside), endpoint=None, checksum=checksum)])
    assert caught.value.error.reason == "OUTPUT_FORBIDDEN"
    assert outside.exists()


async def test_what_something_else_has_replaced_is_not_removed(
    engine: LocalEngine, tmp_path: Path
) -> None:
    (tmp_path / "x").write_text("another's")
    checksum = "sha256:" + hashlib.sha256().hexdigest()
    assert (
        await engine.remove([Target(uri=str(tmp_path / "x"), endpoint=None, checksum=checksum)])
        == 0
    )
    assert (tmp_path / "x").exists()


async def test_a_segment_appears_after_it_was_reported(
    engine: LocalEngine, clip: Path, tmp_path: Path
) -> None:
    async def hear(report: Report) -> None:
        if isinstance(report, Publishing):
            assert not (tmp_path / "0.mp4").exists()

    outcome = await asyncio.wait_for(engine.run(_render(clip, tmp_path), hear, timeout=60), 90)
    assert isinstance(outcome, Published)
    assert (tmp_path / "0.mp4").exists()


async def test_a_worker_that_is_killed_fails_its_unit_and_no_other(
    engine: LocalEngine, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def kill(report: Report) -> None:
        if isinstance(report, Opened):
            await _kill_worker()

    # A real one would be done before it is killed.
    monkeypatch.setattr(entry, "execute", hostile.opens_its_source_and_waits)
    with pytest.raises(WorkerDiedError):
        await asyncio.wait_for(engine.run(_analyse(clip), kill, timeout=None), 60)
    monkeypatch.undo()
    assert isinstance(await _run(engine, clip), PlanDone)


async def test_a_worker_that_dies_when_its_segment_is_whole_costs_nothing(
    engine: LocalEngine, clip: Path, tmp_path: Path
) -> None:
    """The server itself puts the segment at its place."""

    async def kill(report: Report) -> None:
        if isinstance(report, Publishing):
            await _kill_worker()

    outcome = await asyncio.wait_for(engine.run(_render(clip, tmp_path), kill, timeout=None), 60)
    assert isinstance(outcome, Published)
    assert outcome.segment.size_bytes == (tmp_path / "0.mp4").stat().st_size
    assert isinstance(await _run(engine, clip), PlanDone)


async def _kill_worker() -> None:
    (worker,) = _workers()
    os.kill(worker, signal.SIGKILL)
    await _until_gone(worker)


async def test_a_worker_that_is_killed_while_idle_is_replaced(
    engine: LocalEngine, clip: Path
) -> None:
    (worker,) = _workers()
    os.kill(worker, signal.SIGKILL)
    await _until_gone(worker)
    async with asyncio.timeout(60):
        for _ in range(3):
            try:
                outcome = await _run(engine, clip)
                break
            except WorkerDiedError:
                # It was handed out before its death was noticed: that costs one try.
                await asyncio.sleep(0.1)
    assert isinstance(outcome, PlanDone)
    assert worker not in _workers()


@pytest.mark.parametrize("how", ["timeout", "cancel"])
async def test_a_unit_that_is_ended_publishes_nothing(
    engine: LocalEngine, clip: Path, tmp_path: Path, how: str
) -> None:
    (worker,) = _workers()
    publishing, release = asyncio.Event(), asyncio.Event()

    async def hold(report: Report) -> None:
        if isinstance(report, Publishing):
            publishing.set()
            await release.wait()

    unit, limit = _render(clip, tmp_path), 2 if how == "timeout" else None
    task = asyncio.create_task(engine.run(unit, hold, timeout=limit))
    if how == "cancel":
        await asyncio.wait_for(publishing.wait(), 60)
        task.cancel()
    else:
        await _until_gone(worker)
    release.set()
    with pytest.raises(TimeoutError if how == "timeout" else asyncio.CancelledError):
        await asyncio.wait_for(task, 60)
    assert not (tmp_path / "0.mp4").exists()
    assert isinstance(await _run(engine, clip), PlanDone)


async def test_a_fault_of_the_listener_is_raised(engine: LocalEngine, clip: Path) -> None:
    async def wrong(_report: Report) -> None:
        raise LookupError("ours")

    with pytest.raises(LookupError, match="ours"):
        await asyncio.wait_for(engine.run(_analyse(clip), wrong, timeout=None), 60)
    assert isinstance(await _run(engine, clip), PlanDone)


async def test_workers_see_nothing_of_the_servers_environment(engine: LocalEngine) -> None:
    (worker,) = _workers()
    environment = Path(f"/proc/{worker}/environ").read_bytes()
    assert SECRET.encode() not in environment
    assert b"REELSPLIT_" not in environment


async def test_workers_are_not_forked_from_the_server(engine: LocalEngine) -> None:
    """Their parent has neither gRPC nor a database loaded, and neither have they."""
    (worker,) = _workers()
    parent = _parent(worker)
    assert parent != os.getpid()
    for pid in (worker, parent):
        maps = Path(f"/proc/{pid}/maps").read_text()
        assert "cygrpc" not in maps
        assert "_sqlite3" not in maps


async def test_where_workers_come_from_may_be_killed_and_is_made_anew(
    engine: LocalEngine, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the kernel does for want of memory. The next one knows no more than the first, and the
    server itself no less meanwhile."""
    known: list[str | None] = []
    flags = multiprocessing.util._args_from_interpreter_flags  # type: ignore[attr-defined]

    def starting() -> Any:
        known.append(os.environ.get("REELSPLIT_TOKENS"))
        return flags()

    monkeypatch.setattr(multiprocessing.util, "_args_from_interpreter_flags", starting)
    (worker,) = _workers()
    before = _parent(worker)
    os.kill(before, signal.SIGKILL)
    await _until_gone(worker)
    async with asyncio.timeout(60):
        outcome = None
        while not isinstance(outcome, PlanDone):
            with contextlib.suppress(WorkerDiedError):
                outcome = await _run(engine, clip)
            await asyncio.sleep(0.1)
    (worker,) = _workers()
    assert _parent(worker) != before
    assert known == [SECRET]
    for pid in (worker, _parent(worker)):
        assert SECRET.encode() not in Path(f"/proc/{pid}/environ").read_bytes()


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def test_no_worker_outlives_its_engine(tmp_path: Path) -> None:
    engine = LocalEngine(2, tmp_path, local_stores(tmp_path))
    await engine.start()
    workers = _workers()
    assert len(workers) == 2
    await asyncio.wait_for(engine.stop(), PATIENCE)
    for worker in workers:
        await _until_gone(worker)


async def test_a_stranger_on_the_socket_is_not_heard(engine: LocalEngine, clip: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(engine._socket)
    writer.write(b'{"unit": "guess", "secret": "guess"}\n{"kind": "removed", "count": 1}\n')
    await writer.drain()
    assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
    writer.close()
    assert isinstance(await _run(engine, clip), PlanDone)
