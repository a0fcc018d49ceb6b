"""What a worker tells is counted within bounds: it may tell anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from reelsplit import JobState
from reelsplit_server.engine import seam
from reelsplit_server.jobs.observed import Observed
from reelsplit_server.jobs.records import JobRecord
from reelsplit_server.metrics import REGISTRY
from tests.unit.jobs.keeping import SPEC, Clock


def _frames() -> float:
    return REGISTRY.get_sample_value("reelsplit_frames_total", {"work": "analysed"}) or 0.0


async def _ignore(_report: seam.Report) -> None: ...


@pytest.mark.parametrize(
    ("told", "counted"),
    [
        ([10, 24], 24),
        ([10**400], 2**40),
        ([-(10**400), 5], 5),
        # What goes back and forth is counted once.
        ([50, 0, 50, -50, 50], 50),
        ([2**40, -(2**40), 2**40], 2**40),
    ],
)
async def test_the_frames_of_a_try_are_bounded(told: list[int], counted: int) -> None:
    job_id = "0" * 32
    record = JobRecord(
        job_id=job_id,
        principal="me",
        state=JobState.RUNNING,
        spec=SPEC,
        create_time=Clock().now,
    )
    unit = seam.Analyse(
        job_id=job_id,
        spec=SPEC,
        pin=None,
        folder=Path("/nonexistent"),
        threads=1,
        most_segments=1,
        most_pixels=1,
    )
    before = _frames()
    with Observed(unit, record, 1) as observed:
        hear = observed.hearing(_ignore)
        for frames in told:
            await hear(seam.Progress(fraction=0.5, frames=frames))
    assert _frames() - before == counted
