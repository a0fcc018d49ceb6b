"""The meter: percent that never goes back, and a time left that a steady run keeps to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelsplit import JobPhase, JobState
from reelsplit_server.jobs.progress import Meter, Rate
from reelsplit_server.jobs.records import JobRecord
from tests.unit.jobs.keeping import SPEC, Clock

RECORD = JobRecord(
    job_id="0" * 32, principal="me", state=JobState.RUNNING, spec=SPEC, create_time=Clock().now
)


def _meter(**values: object) -> Meter:
    given_values: dict[str, object] = {"floor": 0.0, "detects": True, "renders": True}
    return Meter(**{**given_values, **values})  # type: ignore[arg-type]


def test_nothing_is_told_of_a_job_that_is_not_known_yet() -> None:
    progress = _meter().progress(RECORD)
    assert (progress.percent, progress.phase, progress.time_left) == (0, JobPhase.ANALYSING, None)


def test_a_retry_does_not_begin_below_what_was_told() -> None:
    assert _meter(floor=61.5).progress(RECORD).percent == 61.5


def test_all_that_is_done_is_still_below_one_hundred() -> None:
    meter = _meter()
    meter.source(10)
    meter.planned(10)
    meter.plan_complete = True
    meter.begun(0, 10)
    meter.ended(1, 0, 10, 240, counts=True)
    progress = meter.progress(RECORD)
    assert 99 < progress.percent < 100
    assert (progress.phase, progress.analysed_fraction) == (JobPhase.CUTTING, 1.0)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["analysed", "planned", "begun", "made", "ended", "put_back", "done"]),
            st.integers(0, 3),
            st.floats(0, 1),
        ),
        max_size=60,
    )
)
def test_percent_never_goes_back_and_stays_below_one_hundred(
    steps: list[tuple[str, int, float]],
) -> None:
    meter, last, now = _meter(), 0.0, 0.0
    meter.source(20)
    for step, index, fraction in steps:
        now += 0.1
        match step:
            case "analysed":
                meter.analysed(now, fraction, int(fraction * 500))
            case "planned":
                meter.planned(fraction * 10)
            case "begun":
                meter.begun(index, 5.0)
            case "made":
                meter.made(now, index, fraction, int(fraction * 100))
            case "ended" | "put_back":
                meter.ended(now, index, 5.0, 100, counts=step == "ended")
            case "done":
                meter.plan_complete = True
        progress = meter.progress(RECORD)
        assert last <= progress.percent < 100
        assert progress.time_left is None or progress.time_left >= 0
        assert progress.frames_per_second >= 0
        last = progress.percent


@pytest.mark.parametrize(("detects", "length"), [(False, 100), (True, 100)])
def test_a_steady_run_tells_the_time_that_is_left(detects: bool, length: int) -> None:
    """One segment after another, ten seconds of the source in a second."""
    meter = _meter(detects=detects)
    meter.source(length)
    meter.planned(length)
    meter.plan_complete = True
    now = 0.0
    for index in range(10):
        meter.begun(index, 10)
        for tenth in range(1, 11):
            now += 0.1
            meter.made(now, index, tenth / 10, tenth * 24)
            if now > 2 and tenth < 10:
                left = meter.progress(RECORD).time_left
                assert left is not None
                assert float(left) == pytest.approx(10 - now, abs=0.2)
        meter.ended(now, index, 10, 240, counts=True)
    progress = meter.progress(RECORD)
    assert progress.frames_per_second == pytest.approx(240, rel=0.1)
    assert progress.running == ()


def test_running_segments_are_listed_with_their_rates() -> None:
    meter = _meter()
    meter.begun(4, 5)
    meter.begun(2, 5)
    meter.made(1, 4, 0.2, 10)
    meter.made(2, 4, 0.4, 20)
    running = meter.progress(RECORD).running
    assert [(item.index, item.fraction) for item in running] == [(2, 0.0), (4, 0.4)]
    assert running[1].frames_per_second == pytest.approx(10)


def test_a_segment_that_was_put_back_is_not_counted() -> None:
    meter = _meter()
    meter.source(10)
    meter.planned(10)
    meter.plan_complete = True
    before = meter.progress(RECORD).percent
    meter.begun(0, 10)
    meter.ended(1, 0, 10, 100, counts=False)
    assert meter.progress(RECORD).percent == before


def test_a_rate_forgets_what_is_long_gone_and_takes_a_new_beginning() -> None:
    rate = Rate()
    assert rate.per_second == 0
    for second in range(100):
        rate.add(second, second * (1 if second < 50 else 10))
    assert rate.per_second == pytest.approx(10)
    rate.add(100, 0)
    assert rate.per_second == 0
    rate.add(101, 7)
    assert rate.per_second == pytest.approx(7)
