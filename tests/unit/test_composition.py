"""What is done behind each commit, and beside the calls."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from reelsplit import JobEvent, JobState, JobStateChanged, Segment, SegmentChanged, SegmentState
from reelsplit_server import composition, tasks
from reelsplit_server.jobs.census import Census
from reelsplit_server.jobs.records import StoredEvent
from tests.patience import PATIENCE

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _stored(sequence: int, happened: Any) -> StoredEvent:
    event = JobEvent(job_id="j", sequence=sequence, event_time=NOW, event=happened)
    return StoredEvent(position=sequence, principal="me", event=event, data=b"")


def test_what_cannot_be_counted_is_told_all_the_same() -> None:
    """A worker may tell numbers that no counter takes."""
    wrong = Segment(job_id="j", state=SegmentState.PUBLISHED, size_bytes=-1)
    happened = [
        _stored(1, SegmentChanged(segment=wrong)),
        _stored(2, JobStateChanged(previous_state=JobState.RUNNING, state=JobState.SUCCEEDED)),
    ]
    watchers: list[StoredEvent] = []
    prober: list[StoredEvent] = []
    events: Any = SimpleNamespace(commit=watchers.extend)
    hears: Any = SimpleNamespace(committed=prober.extend)
    bell = asyncio.Event()
    with capture_logs() as logs:
        composition.tell(happened, events, hears, bell, Census(lambda: NOW))
    assert watchers == prober == happened
    assert bell.is_set()
    assert [line["event"] for line in logs] == ["census_failed"]


async def test_a_sweep_that_meets_a_fault_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composition, "_SWEEP", 0.0)
    looks, swept, forgotten = iter([RuntimeError("a fault"), ["gone"], []]), asyncio.Event(), []

    async def sweep() -> list[str]:
        match next(looks, []):
            case Exception() as error:
                raise error
            case found:
                return found

    async def sweep_tokens() -> int:
        return 0

    async def sweep_assets() -> None:
        swept.set()

    store: Any = SimpleNamespace(sweep=sweep, sweep_tokens=sweep_tokens)
    assets: Any = SimpleNamespace(sweep=sweep_assets)
    events: Any = SimpleNamespace(deleted=forgotten.append)
    with capture_logs() as logs:
        sweeper = asyncio.create_task(composition._sweep(store, assets, events))
        await asyncio.wait_for(swept.wait(), PATIENCE)
        await tasks.end(sweeper)
    assert [line["event"] for line in logs][:2] == ["sweep_failed", "jobs_forgotten"]
    assert forgotten == ["gone"]
