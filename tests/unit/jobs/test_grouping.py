"""Which segments are made together by one worker."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest

from reelsplit import CutMode, JobState, Output, Segment, TimeRange
from reelsplit_server.engine import seam
from tests.unit.jobs.engines import ScriptedEngine, ended, scheduling
from tests.unit.jobs.keeping import Kept, pieces

ENCODES = Output(uri_template="/v/out/{index}.mp4", cut_mode=CutMode.ENCODE)


def ranges(*wanted: tuple[float, float]) -> list[Segment]:
    return [
        Segment(
            index=index,
            requested=TimeRange(start_offset=Fraction(start), end_offset=Fraction(end)),
        )
        for index, (start, end) in enumerate(wanted)
    ]


async def groups(
    keep: Kept, segments: Sequence[Segment], slots: int = 2, **spec: Any
) -> list[list[int]]:
    """How a job's segments were shared out over workers."""
    engine = ScriptedEngine(slots, segments)
    async with scheduling(keep, engine) as scheduler:
        job = await keep.add(**({"output": ENCODES} | spec))
        scheduler.add(job)
        assert (await ended(keep, job.job_id)).state is JobState.SUCCEEDED
        record = await keep.store.get(None, job.job_id)
        assert record.published_count == len(segments)
    return [sorted(indexes) for _, indexes in engine.parties.values()]


async def test_neighbours_go_together_and_none_is_left_idle(keep: Kept) -> None:
    assert await groups(keep, pieces(10)) == [[0, 1, 2, 3], [4, 5, 6], [7], [8], [9]]


async def test_what_shares_no_decoding_goes_alone(keep: Kept) -> None:
    copies = Output(uri_template="/v/{index}.mp4", cut_mode=CutMode.AUTO)
    assert await groups(keep, pieces(10), output=copies) == [[index] for index in range(10)]


async def test_a_time_limit_counts_those_that_are_made_before(keep: Kept) -> None:
    engine = ScriptedEngine(1, pieces(4))
    async with scheduling(keep, engine) as scheduler:
        job = await keep.add(output=ENCODES, segment_timeout=10)
        scheduler.add(job)
        assert (await ended(keep, job.job_id)).state is JobState.SUCCEEDED
    assert engine.limits == [10, 20, 30, 40]


async def test_only_what_touches_goes_together(keep: Kept) -> None:
    apart = ranges((0, 1), (1, 2), (5, 6), (5.5, 7), (3, 4), (4, 5))
    assert await groups(keep, apart, slots=1) == [[0, 1], [2, 3], [4, 5]]


async def test_two_are_written_at_a_time(keep: Kept) -> None:
    deep = ranges((0, 10), (1, 11), (2, 12), (10, 13), (12, 14))
    assert await groups(keep, deep, slots=1) == [[0, 1], [2, 3, 4]]


async def test_after_a_dead_worker_each_goes_alone(
    keep: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reelsplit_server.jobs.tries._MOST_DELAY", 0.01)
    engine = ScriptedEngine(1, pieces(4))
    died: set[int] = set()

    async def script(unit: seam.Unit, on_report: seam.OnReport) -> seam.Outcome:
        if isinstance(unit, seam.Render) and unit.segment.index not in died:
            died.add(unit.segment.index)
            raise seam.WorkerDiedError("gone")
        return await engine.well(unit, on_report)

    engine.script = script
    async with scheduling(keep, engine) as scheduler:
        job = await keep.add(output=ENCODES)
        scheduler.add(job)
        assert (await ended(keep, job.job_id)).state is JobState.SUCCEEDED
    together = [sorted(indexes) for _, indexes in engine.parties.values()]
    assert together[0] == [0, 1, 2, 3]
    assert sorted(together[1:]) == [[0], [1], [2], [3]]
