"""The meter: percent that never goes back, and a time left that a steady run keeps to."""

from __future__ import annotations

import math
from dataclasses import dataclass

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
    for _ in range(10):
        meter.planned(10)
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


@dataclass(frozen=True)
class _Encoder:
    """A steady worker, as x264 was measured: frames come out only when it holds so many, those
    that it holds at the end come all at once, and what was made is read again."""

    frames_per_second: float = 40.0
    held: int = 50
    check: float = 0.03
    """How long it is read again, against how long it was made."""
    wobble: float = 0.0
    """By which part it is slower and faster than it is in all, as the machine has time for it."""

    def segment(self, start: float, seconds: float) -> tuple[list[tuple[float, int]], float]:
        """When so many frames were out, and when the segment is published."""
        count, pace = round(seconds * 24), 1 / self.frames_per_second
        held, begin = min(self.held, count), start + 0.1
        # Taking frames in costs little.
        out = [(begin + 0.1 * pace * frame, 0) for frame in range(held)]
        full = out[-1][0] if out else begin
        out += [(full + frame * pace, frame) for frame in range(1, count - held + 1)]
        out = [(now + self._late(now - begin, seconds), frame) for now, frame in out]
        done = out[-1][0] + held * pace / 1.5
        out.append((done, count))
        return out, done + (done - begin) * self.check

    def _late(self, now: float, seconds: float) -> float:
        """By how many seconds it is behind after so many."""
        # No two segments are slow at the same time.
        turn, phase = 2 * math.pi / 12, seconds
        return self.wobble / turn * (math.sin(turn * now + phase) - math.sin(phase))


@pytest.mark.parametrize(
    ("lengths", "workers"),
    [
        ([120], 1),
        ([120], 2),
        ([60, 60], 2),
        ([30] * 3, 2),
        ([60, 20, 10], 2),
        ([10, 20, 60], 2),
        ([5] * 40, 2),
        ([12] * 10, 1),
        ([40] * 9, 4),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "encoder",
    [_Encoder(), _Encoder(held=0, check=0.035), _Encoder(20, held=30), _Encoder(wobble=0.25)],
)
def test_the_time_left_of_a_steady_encode_is_right_within_a_quarter(
    lengths: list[float], workers: int, encoder: _Encoder
) -> None:
    """Over its last four fifths. Half a second is forgiven, where next to nothing is left."""
    meter = _meter(detects=False)
    meter.source(120)
    for seconds in lengths:
        meter.planned(seconds)
    meter.plan_complete = True
    free, happening = [0.0] * workers, []
    for index, seconds in enumerate(lengths):
        worker = free.index(min(free))
        frames, end = encoder.segment(free[worker], seconds)
        happening.append((free[worker], index, -1))
        happening += [(now, index, count) for now, count in frames]
        happening.append((end, index, -2))
        free[worker] = end
    whole = max(free)
    for now, index, count in sorted(happening):
        seconds = lengths[index]
        match count:
            case -1:
                meter.begun(index, seconds)
            case -2:
                meter.ended(now, index, seconds, round(seconds * 24), counts=True)
            case _:
                meter.made(now, index, count / (seconds * 24), count)
        if whole / 5 <= now < whole:
            left = meter.progress(RECORD).time_left
            assert left is not None
            real = whole - now
            assert abs(float(left) - real) <= real / 4 + 0.5, f"at {now:.1f} s"


def test_a_last_segment_whose_upload_takes_long_leaves_no_time() -> None:
    meter = _meter()
    meter.source(10)
    meter.planned(10)
    meter.plan_complete = True
    meter.begun(0, 10)
    for tenth in range(10):
        meter.made(1 + tenth / 10, 0, tenth / 10, tenth * 24)
        meter.progress(RECORD)
    meter.ended(60, 0, 10, 240, counts=True)
    assert meter.progress(RECORD).time_left == 0
